import { BLOCK_SIZE, isNested, panelCounts, type QuantLayout, SUPER_SIZE } from "../quant-format.js";
import { fourScales, vectorOf } from "./panel-buffers.wgsl.js";

/** Which block of a thread's turn (u) of which weight of its tile (s). */
interface Request {
  readonly u: number;
  readonly s: number;
}

/** How a thread works on its share of a panel's block. */
export interface Chunk {
  /** Threads that share a block of 32 inputs. */
  readonly perBlock: number;
  /** Vectors of four outputs of a thread. */
  readonly vectors: number;
  /** Vectors of codes, 16 bytes each, that it loads. */
  readonly requests: number;
  /** Threads with the same outputs are this far apart. */
  readonly period: number;
  /** Statements that name the thread's outputs (`rowQuad`) and inputs (`odd` half of a block's eight threads); `lane` is known. */
  readonly place: string;
  /** Declares the variables that a request fills. */
  variables(of: Request): string;
  /** Requests codes and scales of block `at`. */
  load(of: Request & { readonly weight: string }): string;
  /** Arranges `words`, of which the i-th is the rounded x of inputs 4 (odd + 2 i) and up. */
  readonly operands: string;
  /** Adds scaled products to sum `first` and up; `t` is the scale of x. */
  sums(of: Request & { readonly first: number }): string;
}

/** Bits by which codes are shifted up so that their sign is that of the byte: then no offset is left to subtract. */
export function signShift({ codeBits, offset }: QuantLayout): number {
  return codeBits < 8 && offset === 2 ** (codeBits - 1) ? 8 - codeBits : 0;
}

/** Whether sums of x are needed: for minima, and for offsets other than half the range. */
export function hasConstants(layout: QuantLayout): boolean {
  return layout.hasMin || (layout.offset !== 0 && signShift(layout) === 0);
}

/**
 * Sums of products begin at the bits of 2^23 + 2^22, so that those below 2^22 in size become floats by a subtraction: conversions run at a
 * quarter of its rate. Sixteen products of eight-bit numbers at most meet in one.
 */
const wholeBias = "0x4b400000";
const floats = (sums: string) => `(bitcast<vec4f>(${sums}) - vec4f(12582912.0))`;

const four = [0, 1, 2, 3] as const;
const axis = (i: number) => "xyzw"[i] ?? "x";
const isSplit = ({ groupSize }: QuantLayout) => groupSize < BLOCK_SIZE;

/** What multiplies the vectors of four outputs of a thread: for each group of the block, for each vector. */
function scaleNames({ u, s }: Request, layout: QuantLayout, vectors: number): string[] {
  const groups = isSplit(layout) ? 2 : 1;
  return Array.from({ length: groups * vectors }, (_, i) => `s${u}_${s}_${i}`);
}

/** Where four neighbouring scales come from: a name of their value and, of nested scales, of the greater one that multiplies it. */
interface ScaleSource {
  readonly name: string;
  readonly part: "scales" | "mins";
  readonly group: string;
  readonly quad: string;
}

function scaleSources(of: Request, layout: QuantLayout, vectors: number): ScaleSource[] {
  const groups = isSplit(layout) ? ["at * 2u", "at * 2u + 1u"] : [`at / ${layout.groupSize / BLOCK_SIZE}u`];
  return scaleNames(of, layout, vectors).flatMap((name, i) => {
    const place = { group: groups[Math.floor(i / vectors)] ?? "", quad: `rowQuad + ${i % vectors}u` };
    const scale = { ...place, name, part: "scales" } as const;
    return layout.hasMin ? [scale, { ...place, name: `n${name}`, part: "mins" } as const] : [scale];
  });
}

/** Scales stay as they lie until they are needed: converting them waits for them. */
function scaleVariables(of: Request, layout: QuantLayout, vectors: number): string {
  const element = vectorOf("scales", layout.scaleDType);
  return scaleSources(of, layout, vectors)
    .map(({ name }) => `  var raw_${name}: ${element};${isNested(layout) ? ` var over_${name}: vec4f;` : ""}`)
    .join("\n");
}

function scaleLoads(of: Request & { readonly weight: string }, layout: QuantLayout, vectors: number): string {
  const { s, weight } = of;
  const { numGroups, numSupers } = panelCounts(layout);
  return scaleSources(of, layout, vectors)
    .map(({ name, part, group, quad }) => {
      const own = `        raw_${name} = ${weight}_${part}[(panel${s} * ${numGroups}u + ${group}) * 4u + ${quad}];`;
      if (!isNested(layout)) return own;
      const above = `${weight}_${part === "scales" ? "superScales" : "superMins"}`;
      const superBlock = `at / ${SUPER_SIZE / BLOCK_SIZE}u`;
      return `${own} over_${name} = ${above}[(panel${s} * ${numSupers}u + ${superBlock}) * 4u + ${quad}];`;
    })
    .join("\n");
}

/** Statements that name the scales, and minima, of a block. */
export function scaleValues(of: Request, layout: QuantLayout): string {
  return scaleSources(of, layout, chunkOf(layout).vectors)
    .map(({ name }) => {
      const value = fourScales(layout, `raw_${name}`);
      return `        let ${name} = ${value}${isNested(layout) ? ` * over_${name}` : ""};`;
    })
    .join("\n");
}

/** Statements that add minima and offsets once for each block: the first of the threads that share it does. */
export function constantCode(
  layout: QuantLayout,
  { u, s, place, first }: Request & { readonly place: string; readonly first: number },
): string {
  const { vectors } = chunkOf(layout);
  const offset = signShift(layout) > 0 ? 0 : layout.offset;
  const groups = isSplit(layout) ? 2 : 1;
  const terms = Array.from({ length: groups * vectors }, (_, i) => {
    const name = `s${u}_${s}_${i}`;
    const factor = `${layout.hasMin ? `n${name}` : ""}${offset === 0 ? "" : `${layout.hasMin ? " - " : "-"}${offset}.0 * ${name}`}`;
    const half = Math.floor(i / vectors);
    const total = groups === 1 ? "(c.x + c.y)" : half === 0 ? "c.x" : "c.y";
    return `sum${first + (i % vectors)} += (${factor}) * ${total};`;
  });
  return `          if (isFirst) { let c = xSums[${place}]; ${terms.join(" ")} }`;
}

export function chunkOf(layout: QuantLayout): Chunk {
  return layout.codeBits === 8 ? byteChunk(layout) : nibbleChunk(layout, layout.codeBits);
}

/**
 * Eight threads a block, so that they request 128 neighbouring bytes at a time. Codes q hold inputs 4q.. (low halves of bytes) and
 * 16 + 4q.. (high halves); a thread has q = p and p + 2 of outputs 4g...
 */
function nibbleChunk(layout: QuantLayout, codeBits: 4 | 6): Chunk {
  const { numBlocks } = panelCounts(layout);
  const vectors = codeBits * 4;
  const isSigned = signShift(layout) > 0;
  const code = (i: 0 | 1, half: 0 | 1, { u, s }: Request) => {
    const c = `c${u}_${s}_${i}`;
    if (codeBits === 4) {
      if (isSigned) return half === 0 ? `(((${c} ^ SIGNS) << BITS) & HIGH)` : `((${c} ^ SIGNS) & HIGH)`;
      return half === 0 ? `(${c} & LOW)` : `((${c} >> BITS) & LOW)`;
    }
    const low = half === 0 ? `(${c} & LOW)` : `((${c} >> BITS) & LOW)`;
    const upper = `((h${u}_${s} >> vec4u(${i * 2 + half * 4}u)) & vec4u(0x03030303u))`;
    const whole = `(${low} | (${upper} << BITS))`;
    return isSigned ? `((${whole} ^ vec4u(0x20202020u)) << vec4u(2u))` : whole;
  };
  const named = (text: string) =>
    text
      .replaceAll("SIGNS", "vec4u(0x88888888u)")
      .replaceAll("HIGH", "vec4u(0xf0f0f0f0u)")
      .replaceAll("LOW", "vec4u(0x0f0f0f0fu)")
      .replaceAll("BITS", "vec4u(4u)");
  const hasUpper = codeBits === 6;
  return {
    perBlock: 8,
    vectors: 1,
    requests: hasUpper ? 3 : 2,
    period: 4,
    place: `  let rowQuad = lane % 4u;
  let odd = lane / 4u;
  let isFirst = odd == 0u;`,
    variables: ({ u, s }) =>
      `  var c${u}_${s}_0: vec4u; var c${u}_${s}_1: vec4u;${hasUpper ? ` var h${u}_${s}: vec4u;` : ""}
${scaleVariables({ u, s }, layout, 1)}`,
    load: (of) => {
      const { u, s, weight } = of;
      return `      { let start = (panel${s} * ${numBlocks}u + at) * ${vectors}u + lane;
        c${u}_${s}_0 = ${weight}_codes[start];
        c${u}_${s}_1 = ${weight}_codes[start + 8u];
${hasUpper ? `        h${u}_${s} = ${weight}_codes[start + 16u];` : ""}
${scaleLoads(of, layout, 1)} }`;
    },
    operands: "          let xLow = words.xy; let xHigh = words.zw;",
    sums(of) {
      const { u, s, first } = of;
      const [scale, scaleHigh] = scaleNames({ u, s }, layout, 1);
      const dots = (half: 0 | 1, into: string) =>
        ([0, 1] as const).map((i) => {
          const x = `${half === 0 ? "xLow" : "xHigh"}.${axis(i)}`;
          const products = four.map((j) => `dot4I8Packed(v.${axis(j)}, ${x})`).join(", ");
          return `            { let v = ${named(code(i, half, of))}; ${into} += vec4i(${products}); }`;
        });
      if (!isSplit(layout)) {
        return `          { var d = vec4i(${wholeBias});
${[...dots(0, "d"), ...dots(1, "d")].join("\n")}
            sum${first} += (${scale} * t) * ${floats("d")}; }`;
      }
      return `          { var d = vec4i(${wholeBias}); var e = vec4i(${wholeBias});
${[...dots(0, "d"), ...dots(1, "e")].join("\n")}
            sum${first} += (${scale} * ${floats("d")} + ${scaleHigh} * ${floats("e")}) * t; }`;
    },
  };
}

/** Eight threads a block, each with outputs 8g..: codes i hold inputs 2p and 2p + 1 of p = eighth + 4 i. */
function byteChunk(layout: QuantLayout): Chunk {
  const { numBlocks } = panelCounts(layout);
  return {
    perBlock: 8,
    vectors: 2,
    requests: 4,
    period: 2,
    place: `  let rowQuad = (lane % 2u) * 2u;
  let eighth = lane / 2u;
  let isFirst = eighth == 0u;
  let odd = lane / 4u;
  let xShift = (eighth % 2u) * 16u;`,
    variables: ({ u, s }) => `${four.map((i) => `  var c${u}_${s}_${i}: vec4u;`).join(" ")}
${scaleVariables({ u, s }, layout, 2)}`,
    load: (of) => {
      const { u, s, weight } = of;
      return `      { let start = (panel${s} * ${numBlocks}u + at) * 32u + lane;
${four.map((i) => `        c${u}_${s}_${i} = ${weight}_codes[start + ${i * 8}u];`).join("\n")}
${scaleLoads(of, layout, 2)} }`;
    },
    operands: `          let xPairs = (words >> vec4u(xShift)) & vec4u(0xffffu);
          let xUppers = xPairs << vec4u(16u);`,
    sums({ u, s, first }) {
      const names = scaleNames({ u, s }, layout, 2);
      const product = (v: number, i: number) => {
        const dots = four.map((j) => {
          const x = `${(j & 1) === 0 ? "xPairs" : "xUppers"}.${axis(i)}`;
          return `dot4I8Packed(c${u}_${s}_${i}.${axis(v * 2 + (j >> 1))}, ${x})`;
        });
        return `vec4i(${dots.join(", ")})`;
      };
      const sum = (terms: string) => floats(`(vec4i(${wholeBias}) + ${terms})`);
      return [0, 1]
        .map((v) => {
          const [low, high] = [`${product(v, 0)} + ${product(v, 1)}`, `${product(v, 2)} + ${product(v, 3)}`];
          if (!isSplit(layout))
            return `          sum${first + v} += (${names[v]} * t) * ${sum(`${low} + ${high}`)};`;
          return `          sum${first + v} += (${names[v]} * ${sum(low)} + ${names[2 + v]} * ${sum(high)}) * t;`;
        })
        .join("\n");
    },
  };
}
