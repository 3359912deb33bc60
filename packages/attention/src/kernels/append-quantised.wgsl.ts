import type { TensorType } from "@heddle/tensor";
import {
  type BufferUse,
  bufferAt,
  groupJoin,
  type WgslKernelFactory,
  type WgslStep,
  wgslStep,
} from "@heddle/tensor/kernel";
import { type QuantisedFormat, quantisedInputs } from "../quantised-format.js";

/** Which buffer of the launch is which. */
const places = quantisedInputs([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
const valueThreads = 64;
const keyThreads = 32;

/** Statements that leave where row b has no place in the cache. */
const onlyInside = `  let slot = load_slots(b);
  let start = load_starts(b);
  if (slot < 0 || u32(slot) >= P.numSlots || start < 0 || u32(start) + P.len > P.maxSeqLen) { return; }
  let at = u32(slot) * P.heads + head;`;

/**
 * Rounds new rows into a quantised layer: values and the tail of keys first, then the groups of keys that became full. Twin: the
 * loops of the op.
 */
export const appendQuantisedWgsl: WgslKernelFactory<QuantisedFormat> = ({ inputs, params }) => ({
  steps: [tokenStep(inputs, params), groupStep(inputs, params)],
});

function sizes(inputs: readonly TensorType[]) {
  const { stores, key, value } = quantisedInputs(inputs);
  const [numSlots = 0, heads = 0, maxSeqLen = 0] = stores.value.shape;
  const [batch = 0, , len = 0, headDim = 0] = key.shape;
  const uniforms = { numSlots, heads, maxSeqLen, len, tail: stores.keyTail.shape[2] ?? 0 };
  return { batch, heads, len, headDim, valueDim: value.shape[3] ?? 0, uniforms };
}

const buffer = (
  name: string,
  index: number,
  { dtype, access }: Pick<BufferUse, "dtype" | "access">,
): BufferUse => ({ name, memory: bufferAt(index), dtype, access });
const read = { dtype: "f32", access: "read" } as const;
const write = { dtype: "f32", access: "write" } as const;
const rows = [
  buffer("slots", places.slots, { dtype: "i32", access: "read" }),
  buffer("starts", places.starts, { dtype: "i32", access: "read" }),
];

/** A workgroup a token and head: its key as it is, its value as codes with a minimum and a step of its own. */
function tokenStep(inputs: readonly TensorType[], { bits }: QuantisedFormat): WgslStep {
  const { batch, heads, len, headDim, valueDim, uniforms } = sizes(inputs);
  const perByte = 8 / bits;
  return wgslStep({
    buffers: [
      buffer("keyTail", places.stores.keyTail, write),
      buffer("codes", places.stores.value, { dtype: "u8", access: "write" }),
      buffer("scales", places.stores.valueScale, write),
      buffer("mins", places.stores.valueMin, write),
      buffer("freshKey", places.key, read),
      buffer("freshValue", places.value, read),
      ...rows,
    ],
    params: uniforms,
    threads: valueThreads,
    groups: batch * heads * len,
    declarations: [
      groupJoin("min", "min(a, b)", valueThreads),
      groupJoin("max", "max(a, b)", valueThreads),
      codeFunction,
    ].join("\n"),
    body: `  let token = group % P.len;
  let head = (group / P.len) % P.heads;
  let b = group / (P.len * P.heads);
${onlyInside}
  let position = u32(start) + token;
  for (var c = thread; c < ${headDim}u; c += ${valueThreads}u) {
    store_keyTail((at * P.tail + position % P.tail) * ${headDim}u + c, load_freshKey(group * ${headDim}u + c));
  }
  var low = h_infinity();
  var high = -h_infinity();
  for (var c = thread; c < ${valueDim}u; c += ${valueThreads}u) {
    low = min(low, load_freshValue(group * ${valueDim}u + c));
    high = max(high, load_freshValue(group * ${valueDim}u + c));
  }
  low = joined_min(thread, low);
  high = joined_max(thread, high);
  let step = (high - low) / ${2 ** bits - 1}.0;
  let row = at * P.maxSeqLen + position;
  if (thread == 0u) { store_mins(row, low); store_scales(row, step); }
  for (var byte = thread; byte < ${valueDim / perByte}u; byte += ${valueThreads}u) {
    var bits = 0u;
    for (var n = 0u; n < ${perByte}u; n++) {
      bits |= codeOf(load_freshValue(group * ${valueDim}u + byte * ${perByte}u + n), low, step) << (n * ${bits}u);
    }
    store_codes(row * ${valueDim / perByte}u + byte, bits);
  }`,
  });
}

/** To the nearest, ties to even, as `round` does. */
const codeFunction = `fn codeOf(x: f32, low: f32, step: f32) -> u32 {
  if (step == 0.0) { return 0u; }
  return u32(round((x - low) / step));
}`;

/** A workgroup for each group of keys that a row may complete; a thread for each byte of a row's codes. */
function groupStep(inputs: readonly TensorType[], { bits, group: size }: QuantisedFormat): WgslStep {
  const { batch, heads, len, headDim, uniforms } = sizes(inputs);
  const perByte = 8 / bits;
  const most = Math.floor((len + size - 2) / size) + 1;
  return wgslStep({
    buffers: [
      buffer("codes", places.stores.key, { dtype: "u8", access: "write" }),
      buffer("scales", places.stores.keyScale, write),
      buffer("mins", places.stores.keyMin, write),
      buffer("keyTail", places.stores.keyTail, read),
      ...rows,
    ],
    params: { ...uniforms, most },
    threads: keyThreads,
    groups: batch * heads * most,
    declarations: codeFunction,
    body: `  let head = (group / P.most) % P.heads;
  let b = group / (P.most * P.heads);
${onlyInside}
  let full = u32(start) / ${size}u + group % P.most;
  if ((full + 1u) * ${size}u > u32(start) + P.len) { return; }
  for (var byte = thread; byte < ${headDim / perByte}u; byte += ${keyThreads}u) {
    var low: array<f32, ${perByte}>;
    var step: array<f32, ${perByte}>;
    for (var n = 0u; n < ${perByte}u; n++) {
      low[n] = h_infinity();
      var high = -h_infinity();
      for (var t = 0u; t < ${size}u; t++) {
        let x = load_keyTail((at * P.tail + (full * ${size}u + t) % P.tail) * ${headDim}u + byte * ${perByte}u + n);
        low[n] = min(low[n], x);
        high = max(high, x);
      }
      step[n] = (high - low[n]) / ${2 ** bits - 1}.0;
      let channel = (at * (P.maxSeqLen / ${size}u) + full) * ${headDim}u + byte * ${perByte}u + n;
      store_mins(channel, low[n]);
      store_scales(channel, step[n]);
    }
    for (var t = 0u; t < ${size}u; t++) {
      let position = full * ${size}u + t;
      var bits = 0u;
      for (var n = 0u; n < ${perByte}u; n++) {
        let x = load_keyTail((at * P.tail + position % P.tail) * ${headDim}u + byte * ${perByte}u + n);
        bits |= codeOf(x, low[n], step[n]) << (n * ${bits}u);
      }
      store_codes((at * P.maxSeqLen + position) * ${headDim / perByte}u + byte, bits);
    }
  }`,
  });
}
