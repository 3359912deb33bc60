import { BLOCK_SIZE, type QuantLayout } from "../quant-format.js";

/** Codes of four neighbouring inputs of an output, as expressions: unsigned bytes of a word. */
export interface PanelCodes {
  /** Which of the thread's outputs. */
  readonly output: number;
  /** Inputs in fours inside the block. */
  readonly quad: string;
  readonly codes: string;
  readonly scale: string;
  readonly minimum: string;
}

/**
 * What a thread does with its sixteenth of a panel's block, 16 bytes of codes (8 bits: 32), under names that end in i: the panel is `bPanel`i,
 * the part `bPart`i; `block` and the functions of `scaleFunctions` are known.
 */
export interface PanelTask {
  /** Neighbouring outputs of a thread: 4 or 8. */
  readonly outputs: number;
  /** The first of them inside the panel. */
  firstOutput(i: number): string;
  /** Declares what `fetch` fills. */
  registers(i: number): string;
  fetch(i: number): string;
  groups(i: number): readonly PanelCodes[];
}

export function panelTask(layout: QuantLayout): PanelTask {
  return layout.codeBits === 8 ? byteTask(layout) : nibbleTask(layout);
}

/** The unsigned code that stands for nothing: codes of 8 bits are read with their sign flipped. */
export const zeroOf = ({ codeBits, offset }: QuantLayout) => (codeBits === 8 ? 128 + offset : offset);

/** `floatsOf`: the numbers that four codes in bytes stand for. */
export const floatsFunction = (
  layout: QuantLayout,
) => `fn floatsOf(codes: u32, scale: f32, minimum: f32) -> vec4f {
  return (vec4f(unpack4xU8(codes)) - ${zeroOf(layout)}.0) * scale + minimum;
}`;

const axis = (i: number) => "xyzw"[i] ?? "x";

/** 4 and 6 bits: part (q, g) holds outputs 4 g.. of inputs 4 q.. (low halves) and 16 + 4 q.. (high halves). */
function nibbleTask({ codeBits, groupSize, hasMin }: QuantLayout): PanelTask {
  const isSplit = groupSize < BLOCK_SIZE;
  const halves = isSplit ? [0, 1] : [0];
  const place = (half: number) => (isSplit ? `block * 2u + ${half}u` : `block / ${groupSize / BLOCK_SIZE}u`);
  const vectors = codeBits * 4;
  return {
    outputs: 4,
    firstOutput: (i) => `(bPart${i} & 3u) * 4u`,
    registers: (i) =>
      [
        `  var codes${i}: vec4<u32>;${codeBits === 6 ? ` var above${i}: vec4<u32>;` : ""}`,
        ...halves.map((h) => `  var scale${i}_${h}: vec4f;${hasMin ? ` var minimum${i}_${h}: vec4f;` : ""}`),
      ].join("\n"),
    fetch: (i) =>
      [
        `      let start${i} = (bPanel${i} * P.numBlocks + block) * ${vectors}u;`,
        `      codes${i} = codes[start${i} + bPart${i}];`,
        codeBits === 6
          ? `      above${i} = codes[start${i} + 16u + ((bPart${i} >> 2u) & 1u) * 4u + (bPart${i} & 3u)];`
          : "",
        ...halves.map((h) => {
          const at = `bPanel${i}, ${place(h)}, block, bPart${i} & 3u`;
          return `      scale${i}_${h} = scaleOf(${at});${hasMin ? ` minimum${i}_${h} = minOf(${at});` : ""}`;
        }),
      ].join("\n"),
    groups: (i) =>
      Array.from({ length: 8 }, (_, n) => {
        const [j, half] = [n >> 1, n & 1];
        const low = `((codes${i}.${axis(j)} >> ${half * 4}u) & 0x0f0f0f0fu)`;
        const high = `(((above${i}.${axis(j)} >> ((bPart${i} >> 3u) * 2u + ${half * 4}u)) & 0x03030303u) << 4u)`;
        const of = `${i}_${isSplit ? half : 0}.${axis(j)}`;
        return {
          output: j,
          quad: `(bPart${i} >> 2u) + ${half * 4}u`,
          codes: codeBits === 4 ? low : `(${low} | ${high})`,
          scale: `scale${of}`,
          minimum: hasMin ? `minimum${of}` : "0.0",
        };
      }),
  };
}

/** 8 bits: part (t, g) is outputs 8 g.. of inputs 4 t.., two by two in 16 bytes each. */
function byteTask({ groupSize, hasMin }: QuantLayout): PanelTask {
  const place = (i: number) =>
    groupSize < BLOCK_SIZE ? `block * 2u + bPart${i} / 8u` : `block / ${groupSize / BLOCK_SIZE}u`;
  return {
    outputs: 8,
    firstOutput: (i) => `(bPart${i} & 1u) * 8u`,
    registers: (i) =>
      [
        `  var codes${i}_0: vec4<u32>; var codes${i}_1: vec4<u32>;`,
        ...[0, 1].map((v) => `  var scale${i}_${v}: vec4f;${hasMin ? ` var minimum${i}_${v}: vec4f;` : ""}`),
      ].join("\n"),
    fetch: (i) =>
      [
        `      let start${i} = (bPanel${i} * P.numBlocks + block) * 32u + (bPart${i} >> 1u) * 4u + (bPart${i} & 1u);`,
        ...[0, 1].map((p) => `      codes${i}_${p} = codes[start${i} + ${p * 2}u] ^ vec4<u32>(0x80808080u);`),
        ...[0, 1].map((v) => {
          const at = `bPanel${i}, ${place(i)}, block, (bPart${i} & 1u) * 2u + ${v}u`;
          return `      scale${i}_${v} = scaleOf(${at});${hasMin ? ` minimum${i}_${v} = minOf(${at});` : ""}`;
        }),
      ].join("\n"),
    groups: (i) =>
      Array.from({ length: 8 }, (_, n) => {
        const pair = (p: number) => `((codes${i}_${p}.${axis(n >> 1)} >> ${(n & 1) * 16}u) & 0xffffu)`;
        const of = `${i}_${n >> 2}.${axis(n & 3)}`;
        return {
          output: n,
          quad: `(bPart${i} >> 1u)`,
          codes: `(${pair(0)} | (${pair(1)} << 16u))`,
          scale: `scale${of}`,
          minimum: hasMin ? `minimum${of}` : "0.0",
        };
      }),
  };
}
