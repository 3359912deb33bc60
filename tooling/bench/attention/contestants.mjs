// Causal attention of one layer by each library, from the same numbers. Inputs are packed: [tokens, heads, headDim].
import { importSource } from "../cpu/sources.mjs";
import { onnxAttention } from "./onnx-attention.mjs";

/** @heddle/attention from its sources. */
export async function heddle({ shape, threads, inputs }) {
  const source = await importSource("../attention/heddle.ts");
  return source.heddleAttention({ shape, threads, inputs });
}

/** ONNX Runtime's WebAssembly build: GroupQueryAttention. */
export async function onnxWeb({ shape, threads, inputs }) {
  const module = await import("onnxruntime-web");
  const ort = module.default ?? module;
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  const { length, numHeads, numKvHeads, headDim } = shape;
  const session = await ort.InferenceSession.create(onnxAttention(shape));
  const packed = (values, heads) => new ort.Tensor("float32", values, [1, length, heads * headDim]);
  const feeds = {
    query: packed(inputs.query, numHeads),
    key: packed(inputs.key, numKvHeads),
    value: packed(inputs.value, numKvHeads),
    seqlens: new ort.Tensor("int32", Int32Array.of(length - 1), [1]),
    total: new ort.Tensor("int32", Int32Array.of(length), [1]),
  };
  let last;
  return {
    name: `onnxruntime-web ${ort.env.versions?.web ?? ""}, GroupQueryAttention`,
    run: async () => {
      last = (await session.run(feeds)).out;
    },
    result: async () => last.data,
  };
}

/** jax-js on its WebAssembly backend: nn.dotProductAttention under jit. */
export async function jaxJs({ shape, inputs }) {
  const jax = await import("@jax-js/jax");
  await jax.init("wasm");
  jax.defaultDevice("wasm");
  const { length, numHeads, numKvHeads, headDim } = shape;
  const packed = (values, heads) => jax.numpy.array(values, { shape: [1, length, heads, headDim] });
  const query = packed(inputs.query, numHeads);
  const key = packed(inputs.key, numKvHeads);
  const value = packed(inputs.value, numKvHeads);
  const attend = jax.jit((q, k, v) => jax.nn.dotProductAttention(q, k, v, { isCausal: true }));
  let last;
  return {
    name: "jax-js, nn.dotProductAttention (wasm)",
    run: async () => {
      last?.dispose();
      last = attend(query.ref, key.ref, value.ref);
      await last.blockUntilReady();
    },
    result: async () => last.ref.data(),
  };
}
