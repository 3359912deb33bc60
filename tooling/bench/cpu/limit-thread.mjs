// One thread of the limit measurement: runs a kernel from when all have come until it is done.
import { parentPort, workerData } from "node:worker_threads";

const { memory, modules } = workerData;
const kernels = Object.fromEntries(
  Object.entries(modules).map(([name, module]) => [
    name,
    new WebAssembly.Instance(module, { env: { memory } }).exports.run,
  ]),
);

parentPort.on("message", ({ name, args }) => {
  const started = performance.timeOrigin + performance.now();
  kernels[name](...args);
  parentPort.postMessage({ started, ended: performance.timeOrigin + performance.now() });
});
parentPort.postMessage("ready");
