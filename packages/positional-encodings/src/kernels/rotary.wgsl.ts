import { sizeOf, type TensorType } from "@heddle/tensor";
import {
  bufferAt,
  laneOf,
  type RotationPieceFactory,
  vectorLanes,
  vectorOf,
  type WgslKernelFactory,
  wgslStep,
} from "@heddle/tensor/kernel";
import type { RotaryParams } from "../rotary-params.js";

/**
 * WGSL kernel of `rotary`, a thread for each pair, or for 16 bytes of pairs. Twin: `rotaryReference`.
 *
 * A pair turns by position * frequency, of which only the part of a full turn matters: the frequency in turns is a binary
 * fraction of 64 bits, and its product with a whole position wraps as whole turns do. So the angle is exact to 2^-32 of a turn
 * at every position.
 */
export const rotaryWgsl: WgslKernelFactory<RotaryParams> = ({ inputs: [x, positions], params }) => {
  if (x === undefined || (positions !== undefined && positions.dtype !== "i32")) return undefined;
  const { inverseFrequencies, attentionScale, isInverse } = params;
  const [, heads = 1, seqLen = 1, width = 1] = x.shape;
  const form = vectorForm(x, params) ?? pairForm(x, params);
  const size = (sizeOf(x.shape) / Math.max(width, 1)) * form.parts;
  const position =
    positions === undefined
      ? "i32(token)"
      : `load_positions(${positions.shape.length === 2 ? "batch * P.seqLen + token" : "token"})`;
  const step = wgslStep({
    buffers: [
      { name: "x", memory: bufferAt(0), dtype: x.dtype, access: "read", ...form.element },
      ...(positions === undefined
        ? []
        : [{ name: "positions", memory: bufferAt(1), dtype: positions.dtype, access: "read" } as const]),
      {
        name: "y",
        memory: bufferAt(positions === undefined ? 1 : 2),
        dtype: x.dtype,
        access: form.element === undefined ? "write" : "words",
        ...form.element,
      },
    ],
    params: {
      size,
      heads,
      seqLen,
      width,
      pairs: inverseFrequencies.length,
      parts: form.parts,
      scale: { f32: attentionScale },
    },
    tables: { turns: turnWords(inverseFrequencies) },
    groups: Math.ceil(size / 256),
    declarations: `fn turnOf(position: i32, pair: u32) -> vec2f {
  let distance = u32(abs(position));
  let turn = distance * table_turns(2u * pair) + h_mulHigh(distance, table_turns(2u * pair + 1u));
  let angle = f32(bitcast<i32>(turn)) * 1.4629180792671596e-9;
  return vec2f(h_cos(angle) * P.scale, h_sin(angle) * select(P.scale, -P.scale, (position < 0) != ${isInverse}));
}`,
    body: `  let i = group * 256u + thread;
  if (i >= P.size) { return; }
  let part = i % P.parts;
  let row = i / P.parts;
  let base = row * P.width;
  let token = row % P.seqLen;
  let batch = row / (P.seqLen * P.heads);
${form.rest}
  let position = ${position};
${form.turn}`,
  });
  return { steps: [step] };
};

/** What a thread does with part `part` of the row that begins at element `base`. */
interface Form {
  readonly parts: number;
  readonly element?: { readonly element: string };
  /** Statements that copy what does not turn, and return. */
  readonly rest: string;
  readonly turn: string;
}

/** A pair, or one feature of the rest. */
function pairForm({ shape }: TensorType, { inverseFrequencies, layout }: RotaryParams): Form {
  const pairs = inverseFrequencies.length;
  const [first, second] = layout === "half" ? ["part", "part + P.pairs"] : ["2u * part", "2u * part + 1u"];
  return {
    parts: (shape[3] ?? 1) - pairs,
    rest: `  if (part >= P.pairs) {
    let at = base + P.pairs + part;
    store_y(at, load_x(at));
    return;
  }`,
    turn: `  let t = turnOf(position, part);
  let a = load_x(base + ${first});
  let b = load_x(base + ${second});
  store_y(base + ${first}, a * t.x - b * t.y);
  store_y(base + ${second}, b * t.x + a * t.y);`,
  };
}

/** 16 bytes of first features and as many of second ones, or of the rest; undefined where heads or halves are no whole vectors. */
function vectorForm(
  { dtype, shape }: TensorType,
  { inverseFrequencies, layout }: RotaryParams,
): Form | undefined {
  const width = shape[3] ?? 1;
  const pairs = inverseFrequencies.length;
  const lanes = vectorLanes(dtype);
  const turning = layout === "half" ? pairs / lanes : (2 * pairs) / lanes;
  if (width % lanes !== 0 || !Number.isInteger(turning)) return undefined;
  const skipped = layout === "half" ? turning : 0;
  const range = Array.from({ length: lanes }, (_, j) => j);
  const turn =
    layout === "half"
      ? `  let low = x[start + part];
  let high = x[start + part + ${turning}u];
${range
  .map(
    (j) => `  let t${j} = turnOf(position, part * ${lanes}u + ${j}u);
  let a${j} = ${laneOf(dtype, "low", j)};
  let b${j} = ${laneOf(dtype, "high", j)};`,
  )
  .join("\n")}
  y[start + part] = ${vectorOf(
    dtype,
    range.map((j) => `a${j} * t${j}.x - b${j} * t${j}.y`),
  )};
  y[start + part + ${turning}u] = ${vectorOf(
    dtype,
    range.map((j) => `b${j} * t${j}.x + a${j} * t${j}.y`),
  )};`
      : `  let both = x[start + part];
${range
  .filter((j) => j % 2 === 0)
  .map(
    (j) => `  let t${j} = turnOf(position, part * ${lanes / 2}u + ${j / 2}u);
  let a${j} = ${laneOf(dtype, "both", j)};
  let b${j} = ${laneOf(dtype, "both", j + 1)};`,
  )
  .join("\n")}
  y[start + part] = ${vectorOf(
    dtype,
    range.map((j) =>
      j % 2 === 0 ? `a${j} * t${j}.x - b${j} * t${j}.y` : `b${j - 1} * t${j - 1}.x + a${j - 1} * t${j - 1}.y`,
    ),
  )};`;
  return {
    parts: width / lanes - skipped,
    element: { element: "vec4u" },
    rest: `  let start = base / ${lanes}u;
  if (part >= ${turning}u) {
    let at = start + part + ${skipped}u;
    y[at] = x[at];
    return;
  }`,
    turn,
  };
}

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
