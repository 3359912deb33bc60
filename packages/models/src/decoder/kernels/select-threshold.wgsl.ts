import { greatestOfRow, threads } from "./choice-parts.wgsl.js";

/** What cuts a row: its k greatest logits, or the greatest that have a share of its mass. */
export type TokenSelect = "topK" | "topP";

/** The bits of a logit that a level looks at: from `shift` up, in so many bins; those above are known from the level before. */
export const levels = [
  { shift: 22, bins: 1024 },
  { shift: 11, bins: 2048 },
  { shift: 0, bins: 2048 },
] as const;

/** A bin is a whole number of two words: a count, or a mass in steps of 2^-40, so that it does not matter who adds first. */
const levelWords = levels.map(({ bins }) => 2 * bins);
/** Words of the bins of a select. */
export const selectWords = levelWords.reduce((sum, words) => sum + words, 0);
const levelAt = (level: number) => levelWords.slice(0, level).reduce((sum, words) => sum + words, 0);

// Words that a row keeps from step to step: its greatest logit, what levels found, what stays, and masses of its stretches.
const slotWords = 8;
const slotAt = (select: number, level: number) => slotWords * (1 + select * levels.length + level);
const leastKeyAt = slotAt(2, 0);
const keptAt = leastKeyAt + 1;
const massesAt = leastKeyAt + slotWords;
export const stateWords = massesAt + 2 * threads;

/** `staysOf` tells what is left of a row: 2 stays, 1 is equal to the least logit, of which `ties` stay (below 0: all). */
export const keptFunctions = `const MASSES = ${massesAt}u;
/** Whole numbers in the order of the floats; both zeros are one. */
fn keyOf(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  if (bits == 0x80000000u) { return bits; }
  return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}
fn floatOf(key: u32) -> f32 { return bitcast<f32>(select(~key, key & 0x7fffffffu, (key >> 31u) == 1u)); }
struct Kept { key: u32, ties: f32 };
fn keptOf(row: u32) -> Kept {
  let at = row * P.stateWords + ${keptAt}u;
  return Kept(state[at], bitcast<f32>(state[at + 1u]));
}
fn staysOf(x: f32, least: f32, kept: Kept) -> u32 {
  let key = keyOf(x);
  if (key < kept.key || x < least) { return 0u; }
  return select(2u, 1u, key == kept.key && kept.ties >= 0.0);
}`;

/** A function that adds a whole number to a bin of an array. */
const adder = (name: string, array: string): string => `fn ${name}(at: u32, amount: Wide) {
  let old = atomicAdd(&${array}[at], amount.low);
  let high = amount.high + select(0u, 1u, old + amount.low < old);
  if (high != 0u) { atomicAdd(&${array}[at + 1u], high); }
}`;

/**
 * `resolve` finds the bin of the least element that stays: the lowest one that is not empty and above which there is less than the goal,
 * which the first level takes from what a row asks for.
 */
export const selectFunctions = `struct Wide { high: u32, low: u32 };
fn wideSum(a: Wide, b: Wide) -> Wide {
  let low = a.low + b.low;
  return Wide(a.high + b.high + select(0u, 1u, low < a.low), low);
}
fn wideLess(a: Wide, b: Wide) -> bool { return a.high < b.high || (a.high == b.high && a.low < b.low); }
fn wideFloat(a: Wide) -> f32 { return f32(a.high) * 4294967296.0 + f32(a.low); }
fn wideDifference(a: Wide, b: Wide) -> f32 {
  return wideFloat(Wide(a.high - b.high - select(0u, 1u, a.low < b.low), a.low - b.low));
}
/** A weight of at most 1 in steps of 2^-40. */
fn wideOf(weight: f32) -> Wide {
  let scaled = weight * 256.0;
  let high = floor(scaled);
  return Wide(u32(high), u32((scaled - high) * 4294967296.0));
}
/** The part p of a mass, p in steps of 2^-24. */
fn wideShare(mass: Wide, p: f32) -> Wide {
  if (p >= 1.0) { return mass; }
  let m = u32(p * 16777216.0);
  let low = Wide(h_mulHigh(mass.low, m), mass.low * m);
  let high = wideSum(Wide(h_mulHigh(mass.high, m), mass.high * m), Wide(0u, low.high));
  return Wide((high.high << 8u) | (high.low >> 24u), (high.low << 8u) | (low.low >> 24u));
}
struct Found { prefix: u32, above: Wide, goal: Wide };
fn foundAt(at: u32) -> Found {
  return Found(state[at], Wide(state[at + 1u], state[at + 2u]), Wide(state[at + 3u], state[at + 4u]));
}
fn keepFound(at: u32, found: Found) {
  state[at] = found.prefix;
  state[at + 1u] = found.above.high;
  state[at + 2u] = found.above.low;
  state[at + 3u] = found.goal.high;
  state[at + 4u] = found.goal.low;
}
fn countGoal(row: u32) -> Wide {
  let k = u32(load_filters(3u * row));
  return Wide(0u, select(min(k, P.width), P.width, k == 0u));
}
fn massGoal(row: u32, mass: Wide) -> Wide { return wideShare(mass, load_filters(3u * row + 1u)); }
var<workgroup> wideSums: array<Wide, ${threads}>;
var<workgroup> lowest: atomic<u32>;
var<workgroup> resolved: Found;
fn binAt(at: u32) -> Wide { return Wide(atomicLoad(&bins[at + 1u]), atomicLoad(&bins[at])); }
${adder("addToBin", "bins")}
fn resolve(thread: u32, row: u32, at: u32, count: u32, base: Found, kind: u32) -> Found {
  let each = count / ${threads}u;
  // Threads go through the bins from the highest down.
  let last = at + 2u * (count - 1u - thread * each);
  var own = Wide(0u, 0u);
  for (var i = 0u; i < each; i++) { own = wideSum(own, binAt(last - 2u * i)); }
  workgroupBarrier();
  wideSums[thread] = own;
  if (thread == 0u) { atomicStore(&lowest, 1u); }
  for (var reach = 1u; reach < ${threads}u; reach *= 2u) {
    workgroupBarrier();
    var lower = Wide(0u, 0u);
    if (thread >= reach) { lower = wideSums[thread - reach]; }
    workgroupBarrier();
    wideSums[thread] = wideSum(wideSums[thread], lower);
  }
  workgroupBarrier();
  var goal = base.goal;
  if (kind == 1u) { goal = countGoal(row); }
  if (kind == 2u) { goal = massGoal(row, wideSums[${threads - 1}]); }
  var above = base.above;
  if (thread > 0u) { above = wideSum(above, wideSums[thread - 1u]); }
  var running = above;
  for (var i = 0u; i < each; i++) {
    let bin = binAt(last - 2u * i);
    if ((bin.low | bin.high) != 0u && wideLess(running, goal)) { atomicMax(&lowest, thread * each + i + 1u); }
    running = wideSum(running, bin);
  }
  workgroupBarrier();
  let place = atomicLoad(&lowest) - 1u;
  if (thread == place / each) {
    for (var i = 0u; i < place % each; i++) { above = wideSum(above, binAt(last - 2u * i)); }
    resolved = Found(base.prefix * count + count - 1u - place, above, goal);
  }
  workgroupBarrier();
  return resolved;
}`;

/** Bins of one workgroup for the first level, where many elements share few bins. */
const ownBins = `var<workgroup> ownBins: array<atomic<u32>, ${levelWords[0]}>;
${adder("addToOwn", "ownBins")}`;

/** What the steps of a chosen sequence of selects do, given `row`, `part`, `begin`, `end` and `top`. */
export function selectorOf(selects: readonly TokenSelect[]) {
  const binsAt = (select: number, level: number) =>
    `row * P.selectWords + ${select * selectWords + levelAt(level)}u`;
  const state = (at: number) => `row * P.stateWords + ${at}u`;
  const keeps = (statement: string) => `  if (part == 0u && thread == 0u) { ${statement} }`;
  /** Statements after which `found` is what a counted level holds. */
  const resolveLevel = (select: number, level: number) => {
    const base =
      level === 0 ? "Found(0u, Wide(0u, 0u), Wide(0u, 0u))" : `foundAt(${state(slotAt(select, level - 1))})`;
    const kind = level > 0 ? 0 : selects[select] === "topK" ? 1 : 2;
    return `  let found = resolve(thread, row, ${binsAt(select, level)}, ${levels[level]?.bins}u, ${base}, ${kind}u);
${keeps(`keepFound(${state(slotAt(select, level))}, found);`)}`;
  };
  const last = levels.length - 1;
  const counting = (select: number, level: number): string => {
    const { shift, bins } = levels[level] ?? levels[0];
    const isMass = selects[select] === "topP";
    const isCut = select > 0;
    const amount = isMass ? "wideOf(exp((x - top) * cold))" : "Wide(0u, 1u)";
    const bin = `2u * ((key >> ${shift}u) & ${bins - 1}u)`;
    const isIn = level === 0 ? "true" : `(key >> ${levels[level - 1]?.shift}u) == found.prefix`;
    const each = `  for (var j = begin + thread; j < end; j += ${threads}u) {
    let x = load_logits(row * P.width + j);
    let key = keyOf(x);
    if (${isIn}${isCut ? " && key >= leastKey" : ""}) { ${level === 0 ? `addToOwn(${bin}, ${amount})` : `addToBin(${binsAt(select, level)} + ${bin}, ${amount})`}; }
  }`;
    if (level > 0) return each;
    return `  for (var i = thread; i < ${levelWords[0]}u; i += ${threads}u) { atomicStore(&ownBins[i], 0u); }
  workgroupBarrier();
${each}
  workgroupBarrier();
  for (var i = 2u * thread; i < ${levelWords[0]}u; i += ${2 * threads}u) {
    let amount = Wide(atomicLoad(&ownBins[i + 1u]), atomicLoad(&ownBins[i]));
    if ((amount.low | amount.high) != 0u) { addToBin(${binsAt(select, 0)} + i, amount); }
  }`;
  };
  return {
    /** What the last step needs nothing of. */
    declarations: `${selectFunctions}\n${ownBins}`,
    /** Finds the greatest logit of the row, or reads what an earlier step found. */
    top(isFirst: boolean): string {
      if (!isFirst) return `  let top = bitcast<f32>(state[${state(0)}]);`;
      return `${greatestOfRow}
${keeps(`state[${state(0)}] = bitcast<u32>(top);`)}`;
    },
    /** Counts a level, once the one before is known. */
    count(select: number, level: number): string {
      const before =
        level > 0 ? resolveLevel(select, level - 1) : select > 0 ? resolveLevel(select - 1, last) : "";
      // The key that the first select leaves is that of its last level.
      const least =
        select === 0
          ? ""
          : level === 0
            ? `  let leastKey = found.prefix;\n${keeps(`state[${state(leastKeyAt)}] = leastKey;`)}`
            : `  let leastKey = state[${state(leastKeyAt)}];`;
      return [before, least, "  let cold = coldOf(row);", counting(select, level)].join("\n");
    },
    /** Says what stays of the row, as `kept`. */
    get finish(): string {
      if (selects.length === 0) return `  let kept = Kept(0u, -1.0);\n${keepKept}`;
      const at = selects.length - 1;
      const ties =
        selects[at] === "topK"
          ? "-1.0"
          : "max(1.0, ceil(wideDifference(found.goal, found.above) / max(1.0, wideFloat(wideOf(exp((floatOf(found.prefix) - top) * coldOf(row)))))))";
      return `${resolveLevel(at, last)}
  let kept = Kept(found.prefix, ${ties});
${keepKept}`;
    },
  };
}

const keepKept = `  if (part == 0u && thread == 0u) {
    state[row * P.stateWords + ${keptAt}u] = kept.key;
    state[row * P.stateWords + ${keptAt + 1}u] = bitcast<u32>(kept.ties);
  }`;
