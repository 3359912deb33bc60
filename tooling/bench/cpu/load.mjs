// Loading a GGUF file beside plain reading of its bytes from a warm disk cache: time, and the most memory that loading takes.
import { measureOnce, median } from "./process.mjs";

/** Measures one file; every round takes fresh processes, in turns. */
export async function measureLoad(row, { file, threads, rounds, packedCache }) {
  const measure = (mode) => measureOnce("contestant-load.mjs", { mode, file, threads, packedCache });
  const seen = { read: [], load: [], packed: [] };
  await measure("packed"); // writes it where there is none of this version
  const modes = row.type === "F16" ? ["read", "load"] : ["packed", "read", "load"];
  for (let i = 0; i < rounds; i++) {
    for (const mode of i % 2 === 0 ? modes : modes.toReversed()) seen[mode].push(await measure(mode));
  }
  if (seen.packed.some(({ isWarm }) => !isWarm)) throw new Error("a load did not find the packed form");
  const of = (mode, key) => median(seen[mode].map((each) => each[key]));
  const [{ sizeBytes, peakBytes }] = seen.load;
  return {
    row,
    rounds,
    readMs: of("read", "ms"),
    piecesMs: of("read", "piecesMs"),
    loadMs: of("load", "ms"),
    // Pairs of neighbours in time: the machine's mood is the same for both.
    ratio: ratioOf(seen, "load"),
    packed:
      seen.packed.length === 0
        ? undefined
        : {
            ms: of("packed", "ms"),
            ratio: ratioOf(seen, "packed"),
            peak: of("packed", "peakBytes") / sizeBytes,
          },
    peak: peakBytes === undefined ? undefined : of("load", "peakBytes") / sizeBytes,
    held: of("load", "heldBytes") / sizeBytes,
    sizeBytes,
  };
}

function ratioOf(seen, mode) {
  return median(seen[mode].map(({ ms }, i) => ms / seen.read[i].ms));
}

/** One result in one line. */
export function loadLine({ row, rounds, readMs, piecesMs, loadMs, ratio, packed, peak, held, sizeBytes }) {
  const ms = (value) => `${value.toFixed(0)} ms`;
  const fromPacked =
    packed === undefined
      ? ""
      : `; packed form on disk: ready after ${ms(packed.ms)}, ratio ${packed.ratio.toFixed(2)}, peak ${packed.peak.toFixed(2)}`;
  const memory = peak === undefined ? "" : `; peak memory ${peak.toFixed(2)} of the file (aim 1.25)`;
  return `load ${row.shape} ${row.type} (${(sizeBytes / 1e6).toFixed(0)} MB): ready after ${ms(loadMs)}, reading into memory ${ms(readMs)}, through one piece of memory ${ms(piecesMs)}; ratio ${ratio.toFixed(2)} (aim 1.5)${memory}, held ${held.toFixed(2)}${fromPacked}; ${rounds} rounds`;
}
