import { HeddleError } from "./error.js";
import type { TokenList } from "./token-list.js";

/** How texts that are too long are cut. */
export interface Truncation {
  /** Most tokens, added special ones included. */
  readonly maxLength: number;
  /** Tokens that neighbouring windows share; default 0. */
  readonly stride?: number;
  /** Which text of a pair is cut; default "longestFirst". */
  readonly strategy?: "longestFirst" | "onlyFirst" | "onlySecond";
  /** The end that is cut off; default "right". */
  readonly direction?: "left" | "right";
}

/** For each text its windows; the first is what is kept, the others overflow. */
export type Windows = readonly (readonly TokenList[])[];

/**
 * Cuts one or two token lists so that they fit with `numAdded` special tokens into `maxLength`.
 *
 * @throws HeddleError "capacity" if the text that may be cut is too short to make room, "config" if stride leaves no
 *   progress or there is no second text
 * Differs from Hugging Face `tokenizers` 0.23: the windows cover the whole text; there they end after maxLength tokens.
 */
export function truncateLists(
  lists: readonly TokenList[],
  truncation: Truncation,
  numAdded: number,
): Windows {
  const { maxLength, strategy = "longestFirst" } = truncation;
  const room = maxLength - numAdded;
  if (room < 0)
    throw capacityError(`maxLength must have room for ${numAdded} added tokens`, { maxLength, numAdded });
  const total = lists.reduce((sum, list) => sum + list.length, 0);
  if (total <= room) return lists.map((list) => [list]);
  const limits = strategy === "longestFirst" ? shareRoom(lists, room) : cutOne(lists, room, strategy);
  return lists.map((list, i) => windowsOf(list, limits[i] as number, truncation));
}

function shareRoom(lists: readonly TokenList[], room: number): readonly number[] {
  const [first, second] = lists;
  if (first === undefined || second === undefined) return [room];
  const shorter = Math.min(first.length, second.length);
  let low = shorter;
  let high = shorter > room ? shorter : Math.max(shorter, room - shorter);
  if (low + high > room) {
    low = Math.floor(room / 2);
    high = low + (room % 2);
  }
  return first.length > second.length ? [high, low] : [low, high];
}

function cutOne(
  lists: readonly TokenList[],
  room: number,
  strategy: "onlyFirst" | "onlySecond",
): readonly number[] {
  const target = strategy === "onlyFirst" ? 0 : 1;
  if (lists[target] === undefined) {
    throw new HeddleError(
      "config",
      `truncate: strategy onlySecond needs a pair; got one text. Pass pair or use longestFirst.`,
      { strategy },
    );
  }
  const limits = lists.map((list) => list.length);
  const others = limits.reduce((sum, length, i) => sum + (i === target ? 0 : length), 0);
  if (others >= room) {
    throw capacityError(`strategy ${strategy} cannot make enough room`, { room, othersLength: others });
  }
  limits[target] = room - others;
  return limits;
}

function windowsOf(
  list: TokenList,
  limit: number,
  { stride = 0, direction = "right" }: Truncation,
): TokenList[] {
  if (limit >= list.length) return [list];
  if (limit === 0) return [list.slice(0, 0), list];
  if (stride >= limit) {
    throw new HeddleError(
      "config",
      `truncate: stride must be less than the tokens of a window; got stride ${stride}, window ${limit}. Lower stride or raise maxLength.`,
      { stride, window: limit },
    );
  }
  const windows: TokenList[] = [];
  for (let offset = 0; ; offset += limit - stride) {
    const isRight = direction === "right";
    const from = isRight ? offset : Math.max(0, list.length - offset - limit);
    const to = isRight ? Math.min(list.length, offset + limit) : list.length - offset;
    windows.push(list.slice(from, to));
    if (isRight ? to === list.length : from === 0) return windows;
  }
}

function capacityError(rule: string, details: Readonly<Record<string, number>>): HeddleError {
  const values = Object.entries(details).map(([name, value]) => `${name} ${value}`);
  return new HeddleError(
    "capacity",
    `truncate: ${rule}; got ${values.join(", ")}. Raise maxLength or use strategy longestFirst.`,
    details,
  );
}

/** Combines the windows of one or two texts: first the kept ones, then every other combination. */
export function combineWindows(windows: Windows): TokenList[][] {
  const [first = [], second] = windows;
  if (second === undefined) return first.map((window) => [window]);
  const [kept, ...overflow] = first;
  const others = overflow.flatMap((window) => second.map((other) => [window, other]));
  const ofKept = kept === undefined ? [] : second.map((other) => [kept, other]);
  return [...ofKept.slice(0, 1), ...others, ...ofKept.slice(1)];
}
