import {
  type BoundRun,
  type Device,
  disposeTree,
  HeddleError,
  type Tensor,
  tensor,
  writeInto,
  zeros,
} from "@heddle/tensor";
import type { SampledToken } from "../generation/sampling/sampler.js";
import type { AheadState } from "./advance-state.js";
import { type TokenFilters, type Truncation, tokenFilters } from "./choose-tokens.js";

/** Where a sequence stands, and how it goes on. */
export interface DecodeAheadOptions {
  readonly slot: number;
  /** The last token, not fed yet. */
  readonly token: number;
  /** Its position. */
  readonly position: number;
  /** Most tokens to make. */
  readonly steps: number;
  /** 0 takes the most likely token. */
  readonly temperature: number;
  /** Number in [0, 1) for each step, by which it draws; needed above temperature 0. */
  readonly draw?: (step: number) => number;
  /** What may be drawn; default: every token. For decoders that say `truncates`. */
  readonly truncation?: Truncation;
}

/** What a step on the device works on; the state moves on in place. */
export interface AheadInputs {
  readonly state: AheadState;
  /** Slot of the sequence, i32 [1]. */
  readonly slots: Tensor;
  /** Numbers in [0, 1) by which the steps draw, f32 [R]: each takes that of the ring's row. Absent at temperature 0. */
  readonly draws?: Tensor;
  /** What is left to draw from, and the temperature f32 [1] then. */
  readonly filters?: TokenFilters & { readonly temperature: Tensor };
}

/** Results of so many steps are kept on the device. */
const ringRows = 32;
/** Steps that are read back together at most. */
const maxBlock = 8;
/** Blocks that are under way before the oldest is waited for, so that the device always has work. */
const maxBlocks = 2;
/** A block should take about so long, in milliseconds: longer ones grow no further, much longer ones shrink. */
const blockMs = 16;

/**
 * Runs steps that feed each other on the device, and yields their tokens as they are read back, some steps behind: more the
 * faster they are. A device that works on the host's own thread does a step at a time.
 *
 * Whoever stops early may have let up to 15 more steps run: they wrote to the slot behind the last token that was yielded.
 * @param bind  prepares a step on inputs that it borrows
 */
export async function* decodeAhead(
  device: Device,
  options: DecodeAheadOptions,
  bind: (inputs: AheadInputs) => BoundRun<void>,
): AsyncGenerator<SampledToken, void, undefined> {
  const { steps, temperature, draw } = options;
  const isBeside = device.readSync === undefined;
  const inputs = startingInputs(device, options);
  const underWay: Block[] = [];
  let step: BoundRun<void> | undefined;
  let made = 0;
  let size = 1;
  try {
    step = bind(inputs);
    const run = (): Block => {
      const block = { first: made, count: Math.min(size, steps - made) };
      if (inputs.draws !== undefined && draw !== undefined) uploadDraws(inputs.draws, block, draw);
      for (let i = 0; i < block.count; i++) step?.run();
      made += block.count;
      const values = inputs.state.ring.data();
      // Whoever reads the tokens may look away while the device fails: the error is theirs when they come back.
      values.catch(() => {});
      return { ...block, start: performance.now(), values };
    };
    while (made < steps || underWay.length > 0) {
      while (made < steps && underWay.length < (isBeside ? maxBlocks : 1)) underWay.push(run());
      const block = underWay.shift();
      if (block === undefined) break;
      const values = await block.values;
      if (isBeside) size = nextSize(size, performance.now() - block.start);
      for (let i = 0; i < block.count; i++) yield tokenOf(values, (block.first + i) % ringRows, temperature);
    }
  } finally {
    await Promise.allSettled(underWay.map(({ values }) => values));
    step?.dispose();
    disposeTree(inputs);
  }
}

/** Steps that are read back together. */
interface Block {
  readonly first: number;
  readonly count: number;
  readonly start: number;
  readonly values: Promise<ArrayLike<number>>;
}

function startingInputs(
  device: Device,
  { slot, token, position, temperature, truncation }: DecodeAheadOptions,
): AheadInputs {
  const one = (value: number) => tensor(device, Int32Array.of(value));
  const filters = temperature > 0 ? tokenFilters(device, [truncation]) : undefined;
  return {
    state: {
      token: one(token),
      position: one(position),
      row: one(0),
      ring: zeros(device, [ringRows, 2], { dtype: "f32" }),
    },
    slots: one(slot),
    ...(temperature > 0 ? { draws: zeros(device, [ringRows], { dtype: "f32" }) } : {}),
    ...(filters && { filters: { ...filters, temperature: tensor(device, Float32Array.of(temperature)) } }),
  };
}

/** Puts the numbers of the next steps where the steps look for them. */
function uploadDraws(
  draws: Tensor,
  { first, count }: { readonly first: number; readonly count: number },
  draw: (step: number) => number,
): void {
  const numbers = new Float32Array(ringRows);
  for (let i = 0; i < count; i++) numbers[(first + i) % ringRows] = draw(first + i);
  using fresh = tensor(draws.device, numbers);
  writeInto(draws, fresh);
}

/** Doubles while blocks are short, halves where they are long. */
function nextSize(size: number, ms: number): number {
  if (ms > 4 * blockMs) return Math.max(1, Math.floor(size / 2));
  return ms < blockMs ? Math.min(maxBlock, size * 2) : size;
}

function tokenOf(values: ArrayLike<number>, row: number, temperature: number): SampledToken {
  const [id = Number.NaN, logprob = Number.NaN] = [values[2 * row], values[2 * row + 1]];
  if (!Number.isNaN(logprob)) return { id, logprob };
  const message = `sample: logits must be numbers; got NaN on the device at temperature ${temperature}. The weights are damaged or overflow their dtype: load them as f32.`;
  throw new HeddleError("dtype", message, { temperature });
}
