import type { TensorType } from "@heddle/tensor";
import {
  type BufferUse,
  bufferAt,
  scratchAt,
  type WgslKernel,
  type WgslStep,
  wgslStep,
} from "@heddle/tensor/kernel";
import {
  greatestOfStretch,
  likeliestOfRow,
  logprobOfToken,
  reachFunctions,
  readInput,
  runInStretch,
  shared,
  storeChoice,
  stretchesOf,
  threads,
} from "./choice-parts.wgsl.js";
import {
  keptFunctions,
  levels,
  selectorOf,
  selectWords,
  stateWords,
  type TokenSelect,
} from "./select-threshold.wgsl.js";

/** Inputs of the op, in its order. */
const places = { logits: 0, draws: 1, heats: 2, filters: 3, tokens: 4, results: 5 } as const;

/** What row `row` asks for. */
const rowFunctions = `fn coldOf(row: u32) -> f32 { return 1.0 / max(load_heats(row), 1e-30); }
/** Logits below this are cut by the least share of the likeliest token. */
fn leastOf(row: u32, top: f32) -> f32 {
  let share = load_filters(3u * row + 2u);
  return select(-3.4028234e38, top + load_heats(row) * log(max(share, 1e-37)), share > 0.0);
}`;

/**
 * Draws a token of each row out of those that top-k, top-p and the least share of the likeliest leave, without sorting: the least logit
 * that stays is found by histograms of its bits from the highest down (`select-threshold`), first by counts, then by masses. What stays
 * of a stretch is added up, and a workgroup a row draws. Twin: the composition of the op.
 *
 * Buffers: logits, draws, temperatures (0 takes the likeliest), filters [O, 3], tokens, results.
 */
export function truncatedChoiceWgsl(logits: TensorType, selects: readonly TokenSelect[]): WgslKernel {
  const [rows = 0, width = 0] = logits.shape;
  const { parts: numParts, stretch } = stretchesOf(width);
  const row: BufferUse[] = [
    readInput("logits", places.logits, logits.dtype),
    readInput("heats", places.heats, "f32"),
    readInput("filters", places.filters, "f32"),
  ];
  const parts: BufferUse = {
    name: "parts",
    memory: scratchAt(0),
    dtype: "f32",
    access: "words",
    element: "vec4f",
  };
  const state: BufferUse = { name: "state", memory: scratchAt(1), dtype: "u32", access: "words" };
  const bins: BufferUse = {
    name: "bins",
    memory: scratchAt(2),
    dtype: "u32",
    access: "words",
    element: "atomic<u32>",
  };
  const binWords = selectWords * selects.length;
  const selector = selectorOf(selects);
  const params = { width, stretch, parts: numParts, stateWords, selectWords: binWords };
  const step = (options: {
    readonly buffers: readonly BufferUse[];
    readonly groups: number;
    readonly body: string;
    readonly declarations?: string;
  }): WgslStep =>
    wgslStep({
      buffers: options.buffers,
      params,
      threads,
      groups: options.groups,
      declarations: [shared, rowFunctions, keptFunctions, options.declarations ?? selector.declarations].join(
        "\n",
      ),
      body: options.body,
    });
  const all = [...row, parts, state, bins];
  const place = `  let row = group / P.parts;
  let part = group % P.parts;
  let begin = min(part * P.stretch, P.width);
  let end = min(begin + P.stretch, P.width);`;
  const counted = selects.flatMap((_, select) =>
    levels.map((_level, level) =>
      step({
        buffers: all,
        groups: rows * numParts,
        body: `${place}
${selector.top(select === 0 && level === 0)}
${selector.count(select, level)}`,
      }),
    ),
  );
  return {
    steps: [
      step({ buffers: all, groups: rows * numParts, body: `${place}\n${foundCode}` }),
      ...counted,
      step({
        buffers: all,
        groups: rows * numParts,
        body: `${place}
${selector.top(selects.length === 0)}
${selector.finish}
${massCode}`,
      }),
      step({
        buffers: [
          ...row,
          parts,
          state,
          readInput("draws", places.draws, "f32"),
          { name: "tokens", memory: bufferAt(places.tokens), dtype: "i32", access: "write" },
          { name: "results", memory: bufferAt(places.results), dtype: "f32", access: "write" },
        ],
        groups: rows,
        declarations: `${reachFunctions}\n${drawCode}`,
        body: joinCode,
      }),
    ],
    scratch: [rows * numParts * 16, rows * stateWords * 4, Math.max(4, rows * binWords * 4)],
  };
}

/** The greatest of a stretch, and the sum of its exponentials; bins begin at 0. */
const foundCode = `  for (var i = part * ${threads}u + thread; i < P.selectWords; i += P.parts * ${threads}u) {
    atomicStore(&bins[row * P.selectWords + i], 0u);
  }
${greatestOfStretch}
  var sum = 0.0;
  for (var j = begin + thread; j < end; j += ${threads}u) { sum += exp(load_logits(row * P.width + j) - top); }
  let total = addUp(thread, sum);
  if (thread == 0u) { parts[group] = vec4f(top, total, bitcast<f32>(first), 0.0); }`;

/** The mass of what stays of a stretch, without logits equal to the least one, and how many of those there are. */
const massCode = `  let least = leastOf(row, top);
  let cold = coldOf(row);
  var sum = 0.0;
  var ties = 0.0;
  for (var j = begin + thread; j < end; j += ${threads}u) {
    let x = load_logits(row * P.width + j);
    let stays = staysOf(x, least, kept);
    sum += select(0.0, exp((x - top) * cold), stays == 2u);
    ties += select(0.0, 1.0, stays == 1u);
  }
  let mass = addUp(thread, sum);
  let count = addUp(thread, ties);
  if (thread == 0u) {
    state[row * P.stateWords + MASSES + 2u * part] = bitcast<u32>(mass);
    state[row * P.stateWords + MASSES + 2u * part + 1u] = bitcast<u32>(count);
  }`;

/**
 * `drawnOf` goes from stretches to runs of a thread to logits, as the plain draw does. Of the logits equal to the least one those with the
 * highest ids stay.
 */
const drawCode = `var<workgroup> tiesBefore: array<f32, ${threads}>;
/** How many of a thread's ties stay, where \`left\` of all stay. */
fn keptTies(thread: u32, own: f32, left: f32) -> f32 {
  runningSums(thread, own);
  let after = running[${threads - 1}] - running[thread];
  workgroupBarrier();
  return clamp(left - after, 0.0, own);
}
fn drawnOf(thread: u32, row: u32, top: f32, partMass: f32, partTies: f32) -> u32 {
  let kept = keptOf(row);
  let least = leastOf(row, top);
  let cold = coldOf(row);
  let tieWeight = exp((floatOf(kept.key) - top) * cold);
  let left = keptTies(thread, partTies, kept.ties);
  let weight = partMass + left * select(0.0, tieWeight, left > 0.0);
  runningSums(thread, weight);
  if (thread == 0u) { goal = min(load_draws(row), 1.0) * running[${threads - 1}]; }
  tiesBefore[thread] = left;
  workgroupBarrier();
${runInStretch("weight")}
  let partLeft = tiesBefore[part];
  var ownMass = 0.0;
  var ownTies = 0.0;
  for (var j = mine; j < mineEnd; j++) {
    let x = load_logits(row * P.width + j);
    let stays = staysOf(x, least, kept);
    ownMass += select(0.0, exp((x - top) * cold), stays == 2u);
    ownTies += select(0.0, 1.0, stays == 1u);
  }
  let ownLeft = keptTies(thread, ownTies, partLeft);
  let ownWeight = ownMass + ownLeft * select(0.0, tieWeight, ownLeft > 0.0);
  runningSums(thread, ownWeight);
  if (thread == 0u) { goal = min(goal - below, running[${threads - 1}]); }
  workgroupBarrier();
  if (thread == firstReached(thread, ownWeight)) {
    var sum = running[thread] - ownWeight;
    var gone = ownTies - ownLeft;
    var last = mine;
    for (var j = mine; j < mineEnd; j++) {
      let x = load_logits(row * P.width + j);
      var stays = staysOf(x, least, kept);
      if (stays == 1u && gone > 0.0) { gone -= 1.0; stays = 0u; }
      let own = select(0.0, exp((x - top) * cold), stays > 0u);
      if (own > 0.0) {
        last = j;
        sum += own;
        if (sum >= goal) { break; }
      }
    }
    chosenToken = last;
  }
  workgroupBarrier();
  return chosenToken;
}`;

const joinCode = `  let row = group;
${likeliestOfRow}
  if (load_heats(row) > 0.0) {
    let masses = row * P.stateWords + MASSES + 2u * own;
    let mass = select(0.0, bitcast<f32>(state[masses]), isPart);
    let ties = select(0.0, bitcast<f32>(state[masses + 1u]), isPart);
    token = drawnOf(thread, row, top, mass, ties);
${logprobOfToken}
  }
${storeChoice}`;
