// Writes an ONNX model of one node: GroupQueryAttention of ONNX Runtime's own operators, causal, without a past.
// Field numbers are those of onnx.proto3.

function varint(value) {
  const bytes = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest % 128) | 128);
  }
}

const number = (field, value) => [...varint(field * 8), ...varint(value)];
const block = (field, bytes) => [...varint(field * 8 + 2), ...varint(bytes.length), ...bytes];
const text = (field, value) => block(field, [...new TextEncoder().encode(value)]);
const FLOAT = 1;
const INT32 = 6;

function valueInfo(name, type, shape) {
  const dims = shape.flatMap((extent) => block(1, number(1, extent)));
  const tensor = [...number(1, type), ...block(2, dims)];
  return [...text(1, name), ...block(2, block(1, tensor))];
}

const intAttribute = (name, value) => [...text(1, name), ...number(3, value), ...number(20, 2)];

/**
 * Bytes of a model with inputs query [1, T, H D], key and value [1, T, G D], seqlens [1] and total [1], and output out.
 */
export function onnxAttention({ length, numHeads, numKvHeads, headDim }) {
  const kv = [1, numKvHeads, length, headDim];
  const inputs = ["query", "key", "value", "", "", "seqlens", "total"];
  const node = [
    ...inputs.flatMap((name) => text(1, name)),
    ...["out", "presentKey", "presentValue"].flatMap((name) => text(2, name)),
    ...text(4, "GroupQueryAttention"),
    ...block(5, intAttribute("num_heads", numHeads)),
    ...block(5, intAttribute("kv_num_heads", numKvHeads)),
    ...text(7, "com.microsoft"),
  ];
  const graph = [
    ...block(1, node),
    ...text(2, "attention"),
    ...block(11, valueInfo("query", FLOAT, [1, length, numHeads * headDim])),
    ...block(11, valueInfo("key", FLOAT, [1, length, numKvHeads * headDim])),
    ...block(11, valueInfo("value", FLOAT, [1, length, numKvHeads * headDim])),
    ...block(11, valueInfo("seqlens", INT32, [1])),
    ...block(11, valueInfo("total", INT32, [1])),
    ...block(12, valueInfo("out", FLOAT, [1, length, numHeads * headDim])),
    ...block(12, valueInfo("presentKey", FLOAT, kv)),
    ...block(12, valueInfo("presentValue", FLOAT, kv)),
  ];
  const opset = (domain, version) => block(8, [...text(1, domain), ...number(2, version)]);
  return Uint8Array.from([
    ...number(1, 8),
    ...block(7, graph),
    ...opset("", 17),
    ...opset("com.microsoft", 1),
  ]);
}
