import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { onnxMatmul } from "./onnx-matmul.mjs";

/** ONNX Runtime's WebAssembly build. */
export async function onnxWeb({ size, threads, a, b }) {
  const { default: ort } = await import("onnxruntime-web").then((module) => ({
    default: module.default ?? module,
  }));
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "error";
  return onnx(ort, { name: `onnxruntime-web ${ort.env.versions?.web ?? ""}`.trim(), size, threads, a, b });
}

/** ONNX Runtime's native build, a bound that WebAssembly is not expected to reach. */
export async function onnxNative({ size, threads, a, b }) {
  const { default: ort } = await import("onnxruntime-node");
  const version = ort.env.versions?.node ?? "";
  return onnx(ort, { name: `onnxruntime-node ${version} (native)`, size, threads, a, b });
}

async function onnx(ort, { name, size, threads, a, b }) {
  const options = { intraOpNumThreads: threads, interOpNumThreads: 1 };
  const session = await ort.InferenceSession.create(onnxMatmul(size), options);
  const tensor = (values) => new ort.Tensor("float32", values, [size, size]);
  const feeds = { A: tensor(a), B: tensor(b) };
  let last;
  return {
    name,
    threads,
    run: async () => {
      last = (await session.run(feeds)).C;
    },
    result: async () => last.data,
    dispose: () => session.release(),
  };
}

/** TensorFlow.js on its WebAssembly backend. */
export async function tfjsWasm({ size, threads, a, b }) {
  const tf = await import("@tensorflow/tfjs-core");
  const wasm = await import("@tensorflow/tfjs-backend-wasm");
  const entry = fileURLToPath(import.meta.resolve("@tensorflow/tfjs-backend-wasm"));
  wasm.setWasmPaths(`${dirname(entry)}/`);
  wasm.setThreadsCount(threads);
  await tf.setBackend("wasm");
  const [x, y] = [tf.tensor2d(a, [size, size]), tf.tensor2d(b, [size, size])];
  let last;
  return {
    name: `tfjs-backend-wasm ${wasm.version_wasm}`,
    threads,
    run: () => {
      last?.dispose();
      last = tf.matMul(x, y);
    },
    result: () => last.data(),
    dispose: () => tf.dispose([x, y, last]),
  };
}

/** jax-js on its WebAssembly backend, which chooses its number of threads itself. */
export async function jaxWasm({ size, threads, a, b }) {
  const { defaultDevice, init, numpy } = await import("@jax-js/jax");
  await init("wasm");
  defaultDevice("wasm");
  const [x, y] = [a, b].map((values) => numpy.array(values).reshape([size, size]));
  let last;
  return {
    name: "jax-js (wasm)",
    threads,
    run: async () => {
      last?.dispose();
      // An operand is used up by an operation unless a reference of it is passed.
      last = numpy.matmul(x.ref, y.ref);
      await last.blockUntilReady();
    },
    result: () => last.ref.data(),
    dispose: () => {
      for (const held of [x, y, last]) held?.dispose();
    },
  };
}
