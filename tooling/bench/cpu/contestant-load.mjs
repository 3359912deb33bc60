// One measurement in a fresh process: loading a GGUF file with Heddle, packing it or with its packed form on disk, or plainly reading
// its bytes. Argument: a job as JSON.
import { closeSync, fstatSync, openSync, readFileSync, readSync, writeFileSync } from "node:fs";
import { importSource } from "./sources.mjs";

const { mode, file, threads, packedCache } = JSON.parse(process.argv[2]);
const handle = openSync(file, "r");
const sizeBytes = fstatSync(handle).size;

/** Milliseconds of reading all bytes through one piece of memory; the disk cache is warm afterwards. */
function readInPieces() {
  const piece = Buffer.alloc(2 ** 20);
  const started = performance.now();
  for (let at = 0; at < sizeBytes; at += piece.length) readSync(handle, piece, 0, piece.length, at);
  return performance.now() - started;
}

/** Milliseconds of reading all bytes into memory that holds them, by the fewest system calls. */
function readWhole() {
  const started = performance.now();
  const whole = Buffer.allocUnsafeSlow(sizeBytes);
  for (let at = 0; at < sizeBytes; ) at += readSync(handle, whole, at, Math.min(2 ** 30, sizeBytes - at), at);
  return performance.now() - started;
}

/** A line of the process's status in bytes: VmRSS is what lies in memory now, VmHWM the most since the mark was cleared. */
function memoryBytes(name) {
  const [, kilobytes] = new RegExp(`${name}:\\s+(\\d+)`).exec(readFileSync("/proc/self/status", "utf8"));
  return 1024 * Number(kilobytes);
}

/** Loads the model; with a packed cache, from it, which an earlier process has written. */
async function load(cache) {
  const { cpu, openModel } = await importSource("./heddle.ts");
  const device = cpu({ threads });
  const hasStatus = process.platform === "linux";
  if (hasStatus) writeFileSync("/proc/self/clear_refs", "5");
  const before = hasStatus ? memoryBytes("VmRSS") : 0;
  const started = performance.now();
  const model = await openModel(file, { device, ...cache });
  const ms = performance.now() - started;
  const peakBytes = hasStatus ? memoryBytes("VmHWM") - before : undefined;
  const heldBytes = device.memory().bytes;
  model.dispose();
  device.dispose();
  return { ms, peakBytes, heldBytes };
}

/** Loads from the packed cache and insists on that; the first such process writes it. */
async function loadPacked() {
  let state;
  const onPackedCache = ({ kind }) => {
    state = kind;
  };
  const result = await load({ packedCache, onPackedCache });
  return { ...result, isWarm: state === "read" };
}

const measures = {
  read: () => ({ ms: readWhole(), piecesMs: readInPieces() }),
  load: () => load(),
  packed: loadPacked,
};
readInPieces();
const result = await measures[mode]();
closeSync(handle);
process.send({ ...result, sizeBytes });
process.disconnect();
