import { each, type ProductTask, type WgslFeatures } from "@heddle/tensor/kernel";
import { BLOCK_SIZE } from "../quant-format.js";
import { roundedCodes, roundingScale } from "./quantize-activations.wgsl.js";
import { subgroupSize } from "./subgroup-size.js";

/** Vectors of x that a thread requests together at most. */
const maxTurns = 4;

/** How a workgroup rounds all rows of x for itself. */
interface Rounding {
  readonly rows: number;
  readonly threads: number;
  readonly numBlocks: number;
  readonly norm: ProductTask["norm"];
  readonly features: WgslFeatures;
  /** Whether x fills its last block. */
  readonly isWhole: boolean;
  /** Whether sums of the codes are kept, too. */
  readonly hasSums: boolean;
}

interface RoundingText {
  readonly enable: string;
  readonly declarations: readonly string[];
  /** Loads whose results `body` waits for: worth requesting before anything slow. */
  readonly request: string;
  readonly body: string;
}

/**
 * Statements that round rows of x to int8 codes in blocks of 32, as the CPU does: `xCodes`, four to a word (words 0, 2, 4 and 6 of a block in one vector, the others in the next), and `xScales`, and
 * where they are needed `xSums`: the sums of the codes of both halves times the scale. With "rms" x is multiplied by the norm's weights and
 * `rowSquares(m)`, behind a barrier, is the sum of squares; the row's own scale changes no code. Twin: quantize-activations.ts.
 */
export function roundRows(of: Rounding): RoundingText {
  const { rows, threads, numBlocks, norm, features, hasSums } = of;
  const size = subgroupSize(features);
  const sharesSquares = norm === "rms";
  const teams = threads / size;
  const turns = requestedTurns(of, size);
  const isEarly = turns > 0 && rows === 1;
  const row = () =>
    turns > 0
      ? `${isEarly ? "" : `${requestRow(of, turns, "m")}\n`}${requested(of, turns)}`
      : size >= 8
        ? together(of)
        : alone(of);
  const body = `      for (var m = 0u; m < ${rows}u; m++) {
        var squares = 0.0;
${row()}
${sharesSquares ? shareSquares(size, teams) : ""}
      }`;
  return {
    enable: size > 1 ? "enable subgroups;\ndiagnostic(off, subgroup_uniformity);" : "",
    declarations: [
      roundedCodes,
      `var<workgroup> xCodes: array<vec4u, ${rows * numBlocks * 2}>;`,
      `var<workgroup> xScales: array<f32, ${rows * numBlocks}>;`,
      ...(hasSums ? [`var<workgroup> xSums: array<vec2f, ${rows * numBlocks}>;`] : []),
      ...(sharesSquares
        ? [
            `var<workgroup> squareParts: array<f32, ${rows * teams}>;`,
            `fn rowSquares(m: u32) -> f32 {
  var total = 0.0;
  for (var t = 0u; t < ${teams}u; t++) { total += squareParts[m * ${teams}u + t]; }
  return total;
}`,
          ]
        : []),
    ],
    request: isEarly ? requestRow(of, turns, "0u") : "",
    body,
  };
}

function shareSquares(size: number, teams: number): string {
  if (size === 1) return `        squareParts[m * ${teams}u + thread] = squares;`;
  return `        squares = subgroupAdd(squares);
        if (thread % ${size}u == 0u) { squareParts[m * ${teams}u + thread / ${size}u] = squares; }`;
}

/** Where the codes of vector `quad` of a row lie: those of a block in turns in two vectors of words, of which threads multiply by one. */
const codePlace = (quad: string) => `(${quad} >> 3u) * 2u + (${quad} & 1u)][(${quad} >> 1u) & 3u]`;

/** Reads vector `quad` of row m as v; zeros behind its end. */
function readQuad({ norm, isWhole }: Rounding, quad: string): string {
  if (isWhole) {
    const squares = norm === "rms" ? ` squares += dot(v, v); v *= gain_at(${quad});` : "";
    return `var v = x_at(m, ${quad});${squares}`;
  }
  const inside = `(${quad}) < u32(P.columns) / 4u`;
  const read = `var v = select(vec4f(), x_at(m, min(${quad}, u32(P.columns) / 4u - 1u)), ${inside});`;
  if (norm !== "rms") return read;
  return `${read} squares += dot(v, v); v *= gain_at(min(${quad}, u32(P.columns) / 4u - 1u));`;
}

/**
 * Rounds neighbouring vectors v0, .. from vector `quad` of row m on, in threads of which 8 / run have a block together: 8, 4 or 2.
 */
function roundRun({ numBlocks, hasSums }: Rounding, run: number): string {
  const sharing = 8 / run;
  const own = Array.from({ length: run }, (_, i) => i);
  const strides = [1, 2, 4].filter((stride) => stride < sharing);
  const sums = `          var sum = ${own.map((i) => `dot4I8Packed(word${i}, 0x01010101u)`).join(" + ")};
${strides
  .slice(0, -1)
  .map((stride) => `          sum += subgroupShuffleXor(sum, ${stride}u);`)
  .join("\n")}
          let other = subgroupShuffleXor(sum, ${sharing / 2}u);
          if ((quad & 7u) == 0u) { xSums[m * ${numBlocks}u + quad / 8u] = vec2f(scale * f32(sum), scale * f32(other)); }`;
  return `          let sizes = ${own.map((i) => `abs(v${i})`).reduce((all, size) => `max(${all}, ${size})`)};
          var largest = max(max(sizes.x, sizes.y), max(sizes.z, sizes.w));
${strides.map((stride) => `          largest = max(largest, subgroupShuffleXor(largest, ${stride}u));`).join("\n")}
          ${roundingScale}
${each(
  run,
  (i) => `          let word${i} = roundedCodes(v${i} * inverse);
          xCodes[m * ${numBlocks * 2}u + ${codePlace(`(quad + ${i}u)`)} = word${i};`,
)}
          if ((quad & 7u) == 0u) { xScales[m * ${numBlocks}u + quad / 8u] = scale; }
${hasSums ? sums : ""}`;
}

/** Eight neighbouring threads round a block. */
function together(of: Rounding): string {
  const { threads, numBlocks } = of;
  return `        for (var quad = thread; quad < ${numBlocks * 8}u; quad += ${threads}u) {
          ${readQuad(of, "quad")}
          let v0 = v;
${roundRun(of, 1)}
        }`;
}

/** Vectors of a row that each thread has, where it can request all of them before it rounds the first with its neighbours; else 0. */
function requestedTurns({ threads, numBlocks, isWhole }: Rounding, size: number): number {
  const turns = (numBlocks * 8) / threads;
  const isEven = Number.isInteger(turns) && turns <= maxTurns && isWhole;
  return isEven && size * runOf(turns) >= 8 ? turns : 0;
}

/** Neighbours among a thread's vectors: all, where they are half a block at most. */
const runOf = (turns: number) => (turns === 2 || turns === 4 ? turns : 1);

/** The first vector of run `turn`, and those behind it. */
const placeOf = ({ threads }: Rounding, turn: number, run: number) =>
  `thread * ${run}u + ${turn * run * threads}u`;

function requestRow(of: Rounding, turns: number, row: string): string {
  const run = runOf(turns);
  return each(turns, (i) => {
    const quad = `${placeOf(of, Math.floor(i / run), run)} + ${i % run}u`;
    const gain = of.norm === "rms" ? ` let gain${i} = gain_at(${quad});` : "";
    return `        let x${i} = x_at(${row}, ${quad});${gain}`;
  });
}

/** The same from vectors that `requestRow` requested. */
function requested(of: Rounding, turns: number): string {
  const run = runOf(turns);
  const isScaled = of.norm === "rms";
  const vector = (i: number, from: number) =>
    isScaled
      ? `          squares += dot(x${from}, x${from}); let v${i} = x${from} * gain${from};`
      : `          let v${i} = x${from};`;
  return each(
    turns / run,
    (turn) => `        { let quad = ${placeOf(of, turn, run)};
${each(run, (i) => vector(i, turn * run + i))}
${roundRun(of, run)}
        }`,
  );
}

/** A thread rounds a block. */
function alone(of: Rounding): string {
  const { threads, numBlocks, hasSums } = of;
  const eight = (line: (i: number) => string) =>
    Array.from({ length: BLOCK_SIZE / 4 }, (_, i) => line(i)).join("\n");
  const total = (from: number) =>
    [0, 1, 2, 3].map((i) => `dot4I8Packed(w${from + i}, 0x01010101u)`).join(" + ");
  const sums = `xSums[m * ${numBlocks}u + own] = vec2f(scale * f32(${total(0)}), scale * f32(${total(4)}));`;
  return `        for (var own = thread; own < ${numBlocks}u; own += ${threads}u) {
          var top = vec4f();
          var words: array<vec4f, 8>;
          for (var i = 0u; i < 8u; i++) {
            ${readQuad(of, "own * 8u + i")}
            words[i] = v;
            top = max(top, abs(v));
          }
          let largest = max(max(top.x, top.y), max(top.z, top.w));
          ${roundingScale}
${eight((i) => `          let w${i} = roundedCodes(words[${i}] * inverse);\n          xCodes[m * ${numBlocks * 2}u + own * 2u + ${i % 2}u][${i >> 1}] = w${i};`)}
          xScales[m * ${numBlocks}u + own] = scale;
          ${hasSums ? sums : ""}
        }`;
}
