// Loading a GGUF file beside plain reading of its bytes from a warm disk cache: time, and the most memory that loading takes.
import { measureOnce, median } from "./process.mjs";

/** Measures one file; every round takes fresh processes, in turns. */
export async function measureLoad(row, { file, threads, rounds }) {
  const seen = { read: [], load: [] };
  for (let i = 0; i < rounds; i++) {
    for (const mode of i % 2 === 0 ? ["read", "load"] : ["load", "read"]) {
      seen[mode].push(await measureOnce("contestant-load.mjs", { mode, file, threads }));
    }
  }
  const of = (mode, key) => median(seen[mode].map((each) => each[key]));
  const [{ sizeBytes, peakBytes }] = seen.load;
  return {
    row,
    rounds,
    readMs: of("read", "ms"),
    piecesMs: of("read", "piecesMs"),
    loadMs: of("load", "ms"),
    // Pairs of neighbours in time: the machine's mood is the same for both.
    ratio: median(seen.load.map(({ ms }, i) => ms / seen.read[i].ms)),
    peak: peakBytes === undefined ? undefined : of("load", "peakBytes") / sizeBytes,
    held: of("load", "heldBytes") / sizeBytes,
    sizeBytes,
  };
}

/** One result in one line. */
export function loadLine({ row, rounds, readMs, piecesMs, loadMs, ratio, peak, held, sizeBytes }) {
  const ms = (value) => `${value.toFixed(0)} ms`;
  const memory = peak === undefined ? "" : `; peak memory ${peak.toFixed(2)} of the file (aim 1.25)`;
  return `load ${row.shape} ${row.type} (${(sizeBytes / 1e6).toFixed(0)} MB): ready after ${ms(loadMs)}, reading into memory ${ms(readMs)}, through one piece of memory ${ms(piecesMs)}; ratio ${ratio.toFixed(2)} (aim 1.5)${memory}, held ${held.toFixed(2)}; ${rounds} rounds`;
}
