import { attention, causal } from "@heddle/attention";
import { cpu, type Tensor, tensor } from "@heddle/tensor";

/** One layer of causal attention, as a contestant. Inputs are packed [tokens, heads, headDim], and so is the result. */
export function heddleAttention({
  shape,
  threads,
  inputs,
}: {
  shape: { length: number; numHeads: number; numKvHeads: number; headDim: number };
  threads: number;
  inputs: Readonly<Record<"query" | "key" | "value", Float32Array<ArrayBuffer>>>;
}) {
  const device = cpu({ threads });
  const { length, numHeads, numKvHeads, headDim } = shape;
  const heads = (values: Float32Array<ArrayBuffer>, count: number) =>
    tensor(device, values, { shape: [1, length, count, headDim] }).transpose([0, 2, 1, 3]);
  const query = heads(inputs.query, numHeads);
  const key = heads(inputs.key, numKvHeads);
  const value = heads(inputs.value, numKvHeads);
  let last: Tensor | undefined;
  return {
    name: "Heddle",
    run() {
      last?.dispose();
      last = attention(query, key, value, { mask: causal() });
    },
    result: async () => last?.transpose([0, 2, 1, 3]).data(),
  };
}
