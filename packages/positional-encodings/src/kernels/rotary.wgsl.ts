import { sizeOf, type TensorType } from "@heddle/tensor";
import {
  type BufferUse,
  bufferAt,
  type RotationPieceFactory,
  type WgslKernelFactory,
  wgslStep,
} from "@heddle/tensor/kernel";
import type { RotaryParams } from "../rotary-params.js";

/**
 * WGSL kernel of `rotary`, a thread for each pair. Twin: `rotaryReference`.
 *
 * A pair turns by position * frequency, of which only the part of a full turn matters: the frequency in turns is a binary
 * fraction of 64 bits, and its product with a whole position wraps as whole turns do. So the angle is exact to 2^-32 of a turn
 * at every position.
 */
export const rotaryWgsl: WgslKernelFactory<RotaryParams> = ({ inputs: [x, positions], params }) => {
  if (x === undefined || (positions !== undefined && positions.dtype !== "i32")) return undefined;
  const { inverseFrequencies, attentionScale, layout, isInverse } = params;
  const [, heads = 1, seqLen = 1, width = 1] = x.shape;
  const pairs = inverseFrequencies.length;
  const rest = width - 2 * pairs;
  const size = (sizeOf(x.shape) / Math.max(width, 1)) * (pairs + rest);
  const read = (name: string, index: number, { dtype }: TensorType): BufferUse => ({
    name,
    memory: bufferAt(index),
    dtype,
    access: "read",
  });
  const output = positions === undefined ? 1 : 2;
  const position =
    positions === undefined
      ? "i32(token)"
      : `load_positions(${positions.shape.length === 2 ? "batch * P.seqLen + token" : "token"})`;
  const [first, second] = layout === "half" ? ["part", "part + P.pairs"] : ["2u * part", "2u * part + 1u"];
  const step = wgslStep({
    buffers: [
      read("x", 0, x),
      ...(positions === undefined ? [] : [read("positions", 1, positions)]),
      { name: "y", memory: bufferAt(output), dtype: x.dtype, access: "write" },
    ],
    params: { size, heads, seqLen, width, pairs, parts: pairs + rest, scale: { f32: attentionScale } },
    tables: { turns: turnWords(inverseFrequencies) },
    groups: Math.ceil(size / 256),
    body: `  let i = group * 256u + thread;
  if (i >= P.size) { return; }
  let part = i % P.parts;
  let row = i / P.parts;
  let base = row * P.width;
  if (part >= P.pairs) {
    let at = base + P.pairs + part;
    store_y(at, load_x(at));
    return;
  }
  let token = row % P.seqLen;
  let batch = row / (P.seqLen * P.heads);
  let position = ${position};
  let distance = u32(abs(position));
  let turn = distance * table_turns(2u * part) + h_mulHigh(distance, table_turns(2u * part + 1u));
  let angle = f32(bitcast<i32>(turn)) * 1.4629180792671596e-9;
  let c = h_cos(angle) * P.scale;
  let s = h_sin(angle) * select(P.scale, -P.scale, (position < 0) != ${isInverse});
  let a = load_x(base + ${first});
  let b = load_x(base + ${second});
  store_y(base + ${first}, a * c - b * s);
  store_y(base + ${second}, b * c + a * s);`,
  });
  return { steps: [step] };
};

/** The rotation of heads, for kernels that have just made them. Twin: the kernel above. */
export const rotaryPiece: RotationPieceFactory<RotaryParams> = ({ inputs: [x, positions], params }) => {
  const { inverseFrequencies, attentionScale, layout, isInverse } = params;
  const [batch = 1, , tokens = 1, width = 1] = x?.shape ?? [];
  const pairs = inverseFrequencies.length;
  if (x === undefined || positions?.dtype !== "i32" || pairs === 0 || isInverse) return undefined;
  const row = positions.shape.length === 2 ? "m" : `m % ${tokens}u`;
  return {
    rows: batch * tokens,
    tokens,
    layout,
    pairs,
    width,
    inputs: [{ name: "positions", input: 1, dtype: "i32" }],
    params: { scale: { f32: attentionScale } },
    tables: { turns: turnWords(inverseFrequencies) },
    code: (prefix) => `fn ${prefix}_turn(m: u32, pair: u32) -> vec2f {
  let position = load_${prefix}_positions(${row});
  let distance = u32(abs(position));
  let turn = distance * table_${prefix}_turns(2u * pair) + h_mulHigh(distance, table_${prefix}_turns(2u * pair + 1u));
  let angle = f32(bitcast<i32>(turn)) * 1.4629180792671596e-9;
  return vec2f(h_cos(angle), h_sin(angle) * select(1.0, -1.0, position < 0)) * P.${prefix}_scale;
}`,
  };
};

/** Two words for each frequency: its turns per token, modulo 1, as a binary fraction of 64 bits. */
function turnWords(inverseFrequencies: readonly number[]): Uint32Array {
  const words = new Uint32Array(2 * inverseFrequencies.length);
  inverseFrequencies.forEach((frequency, i) => {
    const turns = frequency / (2 * Math.PI);
    const high = (turns - Math.floor(turns)) * 2 ** 32;
    words[2 * i] = Math.floor(high);
    words[2 * i + 1] = Math.floor((high - Math.floor(high)) * 2 ** 32);
  });
  return words;
}
