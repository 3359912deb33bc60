import { each, type ProductTask, type WgslFeatures } from "@heddle/tensor/kernel";
import { BLOCK_SIZE } from "../quant-format.js";
import { roundingScale } from "./quantize-activations.wgsl.js";
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
  readonly body: string;
}

/**
 * Statements that round rows of x to int8 codes in blocks of 32, as the CPU does: `xCodes`, four to a word, and `xScales`, and
 * where they are needed `xSums`: the sums of the codes of both halves times the scale. With "rms" x is multiplied by the norm's weights and
 * `rowSquares` has the sums of squares; the row's own scale changes no code. Twin: quantize-activations.ts.
 */
export function roundRows(of: Rounding): RoundingText {
  const { rows, threads, numBlocks, norm, features, hasSums } = of;
  const size = subgroupSize(features);
  const isTogether = size >= 8;
  const sharesSquares = norm === "rms";
  const teams = threads / size;
  const body = `      for (var m = 0u; m < ${rows}u; m++) {
        var squares = 0.0;
${isTogether ? together(of) : alone(of)}
${sharesSquares ? shareSquares(size, teams) : ""}
      }
${
  sharesSquares
    ? `      workgroupBarrier();\n      if (thread < ${rows}u) {
        var total = 0.0;
        for (var t = 0u; t < ${teams}u; t++) { total += squareParts[thread * ${teams}u + t]; }
        rowSquares[thread] = total;
      }`
    : ""
}`;
  return {
    enable: size > 1 ? "enable subgroups;\ndiagnostic(off, subgroup_uniformity);" : "",
    declarations: [
      `var<workgroup> xCodes: array<u32, ${rows * numBlocks * 8}>;`,
      `var<workgroup> xScales: array<f32, ${rows * numBlocks}>;`,
      ...(hasSums ? [`var<workgroup> xSums: array<vec2f, ${rows * numBlocks}>;`] : []),
      ...(sharesSquares
        ? [
            `var<workgroup> rowSquares: array<f32, ${rows}>;`,
            `var<workgroup> squareParts: array<f32, ${rows * teams}>;`,
          ]
        : []),
    ],
    body,
  };
}

function shareSquares(size: number, teams: number): string {
  if (size === 1) return `        squareParts[m * ${teams}u + thread] = squares;`;
  return `        squares = subgroupAdd(squares);
        if (thread % ${size}u == 0u) { squareParts[m * ${teams}u + thread / ${size}u] = squares; }`;
}

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

/** Eight neighbouring threads round a block. */
function together(of: Rounding): string {
  const { threads, numBlocks, hasSums, norm, isWhole } = of;
  const sums = `          var sum = dot4I8Packed(word, 0x01010101u);
          sum += subgroupShuffleXor(sum, 1u);
          sum += subgroupShuffleXor(sum, 2u);
          let other = subgroupShuffleXor(sum, 4u);
          if ((quad & 7u) == 0u) { xSums[m * ${numBlocks}u + quad / 8u] = vec2f(scale * f32(sum), scale * f32(other)); }`;
  const round = `          let sizes = abs(v);
          var largest = max(max(sizes.x, sizes.y), max(sizes.z, sizes.w));
          largest = max(largest, subgroupShuffleXor(largest, 1u));
          largest = max(largest, subgroupShuffleXor(largest, 2u));
          largest = max(largest, subgroupShuffleXor(largest, 4u));
          ${roundingScale}
          let word = pack4xI8(vec4i(round(v * inverse)));
          xCodes[m * ${numBlocks * 8}u + quad] = word;
          if ((quad & 7u) == 0u) { xScales[m * ${numBlocks}u + quad / 8u] = scale; }
${hasSums ? sums : ""}`;
  const turns = (numBlocks * 8) / threads;
  if (!Number.isInteger(turns) || turns > maxTurns || !isWhole) {
    return `        for (var quad = thread; quad < ${numBlocks * 8}u; quad += ${threads}u) {
          ${readQuad(of, "quad")}
${round}
        }`;
  }
  // All loads of a thread before the first use, so that none waits for another.
  const hasGain = norm === "rms";
  const place = (i: number) => `thread + ${i * threads}u`;
  return `${each(turns, (i) => `        let x${i} = x_at(m, ${place(i)});${hasGain ? ` let gain${i} = gain_at(${place(i)});` : ""}`)}
${each(
  turns,
  (i) => `        { let quad = ${place(i)};
          var v = x${i};${hasGain ? ` squares += dot(v, v); v *= gain${i};` : ""}
${round}
        }`,
)}`;
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
${eight((i) => `          let w${i} = pack4xI8(vec4i(round(words[${i}] * inverse)));\n          xCodes[m * ${numBlocks * 8}u + own * 8u + ${i}u] = w${i};`)}
          xScales[m * ${numBlocks}u + own] = scale;
          ${hasSums ? sums : ""}
        }`;
}
