// Writes the smallest ONNX model: C = MatMul(A, B) over square f32 matrices (onnx.proto3, field numbers in the calls).

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

function valueInfo(name, shape) {
  const dims = shape.flatMap((extent) => block(1, number(1, extent)));
  const tensor = [...number(1, 1), ...block(2, dims)];
  return [...text(1, name), ...block(2, block(1, tensor))];
}

/** Bytes of a model with inputs A and B and output C, each [size, size]. */
export function onnxMatmul(size) {
  const node = [...text(1, "A"), ...text(1, "B"), ...text(2, "C"), ...text(4, "MatMul")];
  const shape = [size, size];
  const graph = [
    ...block(1, node),
    ...text(2, "matmul"),
    ...block(11, valueInfo("A", shape)),
    ...block(11, valueInfo("B", shape)),
    ...block(12, valueInfo("C", shape)),
  ];
  const opset = [...text(1, ""), ...number(2, 17)];
  return Uint8Array.from([...number(1, 8), ...block(7, graph), ...block(8, opset)]);
}
