import { BLOCK_SIZE, type QuantLayout } from "../quant-format.js";

/** Which request of a thread (u) for which weight of its tile (s). */
interface Request {
  readonly u: number;
  readonly s: number;
}

/** How a thread works on 16 bytes of a panel's block (24 of six-bit codes). */
export interface Chunk {
  /** Threads that share a block of 32 inputs. */
  readonly perBlock: number;
  /** Vectors of four outputs of a thread. */
  readonly vectors: number;
  /** Threads with the same outputs are this far apart. */
  readonly period: number;
  /** Statements that name the thread's outputs (`rowQuad`) and inputs; `lane` is known. */
  readonly place: string;
  /** Declares what a request brings. */
  variables(of: Request): string;
  /** Requests codes and scales of block `block + u step`. */
  load(of: Request & { readonly weight: string; readonly step: number }): string;
  /** Makes codes ready to be multiplied. */
  codes(of: Request): string;
  /** Reads the rounded x of block `place` of its row. */
  operands(place: string): string;
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

const four = [0, 1, 2, 3] as const;
const axis = (i: number) => "xyzw"[i] ?? "x";
const isSplit = ({ groupSize }: QuantLayout) => groupSize < BLOCK_SIZE;

/** What multiplies and is added for the vectors of four outputs of a thread. */
function scaleNames({ u, s }: Request, layout: QuantLayout, vectors: number): string[] {
  const groups = isSplit(layout) ? 2 : 1;
  return Array.from({ length: groups * vectors }, (_, i) => `s${u}_${s}_${i}`);
}

function scaleVariables(of: Request, layout: QuantLayout, vectors: number): string {
  const names = scaleNames(of, layout, vectors);
  const all = layout.hasMin ? [...names, ...names.map((name) => `n${name}`)] : names;
  return all.map((name) => `  var ${name}: vec4f;`).join("\n");
}

function scaleLoads(of: Request & { readonly weight: string }, layout: QuantLayout, vectors: number): string {
  const groups = isSplit(layout) ? ["at * 2u", "at * 2u + 1u"] : [`at / ${layout.groupSize / BLOCK_SIZE}u`];
  return scaleNames(of, layout, vectors)
    .map((name, i) => {
      const place = `panel${of.s}, ${groups[Math.floor(i / vectors)]}, at, rowQuad + ${i % vectors}u`;
      const scale = `        ${name} = ${of.weight}_scaleOf(${place});`;
      return layout.hasMin ? `${scale} n${name} = ${of.weight}_minOf(${place});` : scale;
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

/** Chunk (q, g): outputs 4g.. of inputs 4q.. (low halves of bytes) and 16 + 4q.. (high halves). */
function nibbleChunk(layout: QuantLayout, codeBits: 4 | 6): Chunk {
  const shift = signShift(layout);
  const vectors = codeBits * 4;
  const isSigned = shift > 0;
  const code = (half: 0 | 1, { u, s }: Request) => {
    const c = `c${u}_${s}`;
    if (codeBits === 4) {
      if (isSigned) return half === 0 ? `((${c} ^ SIGNS) << four4) & HIGH` : `(${c} ^ SIGNS) & HIGH`;
      return half === 0 ? `${c} & LOW` : `(${c} >> four4) & LOW`;
    }
    const low = half === 0 ? `(${c} & LOW)` : `((${c} >> four4) & LOW)`;
    const whole = `(${low} | (((h${u}_${s} >> vec4u(highShift + ${half * 4}u)) & vec4u(0x03030303u)) << four4))`;
    return isSigned ? `((${whole} ^ vec4u(0x20202020u)) << vec4u(2u))` : whole;
  };
  const named = (text: string) =>
    text
      .replaceAll("SIGNS", "vec4u(0x88888888u)")
      .replaceAll("HIGH", "vec4u(0xf0f0f0f0u)")
      .replaceAll("LOW", "vec4u(0x0f0f0f0fu)")
      .replaceAll("four4", "vec4u(4u)");
  return {
    perBlock: 16,
    vectors: 1,
    period: 4,
    place: `  let rowQuad = lane % 4u;
  let q = lane / 4u;
  let isFirst = q == 0u;${codeBits === 6 ? "\n  let highShift = (q >> 1u) * 2u;" : ""}`,
    variables: (of) => `  var c${of.u}_${of.s}: vec4u;${codeBits === 6 ? ` var h${of.u}_${of.s}: vec4u;` : ""}
${scaleVariables(of, layout, 1)}`,
    load: (of) => {
      const { u, s, weight, step } = of;
      const start = `(panel${s} * P.${weight}_numBlocks + at) * ${vectors}u`;
      return `      { let at = min(block + ${u * step}u, P.${weight}_numBlocks - 1u);
        c${u}_${s} = ${weight}_codes[${start} + lane];
${codeBits === 6 ? `        h${u}_${s} = ${weight}_codes[${start} + 16u + (q & 1u) * 4u + rowQuad];` : ""}
${scaleLoads(of, layout, 1)} }`;
    },
    codes: (of) =>
      named(`        let low${of.s} = ${code(0, of)};
        let high${of.s} = ${code(1, of)};`),
    operands: (place) => `          let xLow = xCodes[${place} * 8u + q];
          let xHigh = xCodes[${place} * 8u + 4u + q];`,
    sums({ u, s, first }) {
      const dot = (part: "low" | "high", j: number) =>
        `dot4I8Packed(${part}${s}.${axis(j)}, ${part === "low" ? "xLow" : "xHigh"})`;
      const vector = (parts: readonly ("low" | "high")[]) =>
        `vec4f(vec4i(${four.map((j) => parts.map((part) => dot(part, j)).join(" + ")).join(", ")}))`;
      const [scale, scaleHigh] = scaleNames({ u, s }, layout, 1);
      if (!isSplit(layout)) return `          sum${first} += ${scale} * (${vector(["low", "high"])} * t);`;
      return `          sum${first} += (${scale} * ${vector(["low"])} + ${scaleHigh} * ${vector(["high"])}) * t;`;
    },
  };
}

/** Chunk (p, g): outputs 8g.. of inputs 2p and 2p + 1. */
function byteChunk(layout: QuantLayout): Chunk {
  return {
    perBlock: 32,
    vectors: 2,
    period: 2,
    place: `  let rowQuad = (lane % 2u) * 2u;
  let p = lane / 2u;
  let isFirst = p == 0u;`,
    variables: (of) => `  var c${of.u}_${of.s}: vec4u;\n${scaleVariables(of, layout, 2)}`,
    load: (of) => {
      const { u, s, weight, step } = of;
      return `      { let at = min(block + ${u * step}u, P.${weight}_numBlocks - 1u);
        c${u}_${s} = ${weight}_codes[(panel${s} * P.${weight}_numBlocks + at) * 32u + lane];
${scaleLoads(of, layout, 2)} }`;
    },
    codes: () => "",
    operands: (
      place,
    ) => `          let xPair = (xCodes[${place} * 8u + p / 2u] >> ((p % 2u) * 16u)) & 0xffffu;
          let xUpper = xPair << 16u;`,
    sums({ u, s, first }) {
      const names = scaleNames({ u, s }, layout, 2);
      return [0, 1]
        .map((v) => {
          const dots = four.map(
            (j) =>
              `dot4I8Packed(c${u}_${s}.${axis(v * 2 + (j >> 1))}, ${(j & 1) === 0 ? "xPair" : "xUpper"})`,
          );
          const scale = isSplit(layout) ? `select(${names[2 + v]}, ${names[v]}, p < 8u)` : names[v];
          return `          sum${first + v} += ${scale} * (vec4f(vec4i(${dots.join(", ")})) * t);`;
        })
        .join("\n");
    },
  };
}
