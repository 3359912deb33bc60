/**
 * Byte-pair training over a corpus that is made while it is read and never held: time, and the most memory in use.
 *
 * Run `npm run bench:training` in this package. HEDDLE_MEGABYTES is the size of the corpus, default 300. The corpus is
 * words of syllables with the frequencies of Zipf's law over 200,000 words; both ways read the same texts.
 */
import { performance } from "node:perf_hooks";
import { Worker } from "node:worker_threads";
import { type TrainingControl, trainBpe } from "../src/index.js";

const megabytes = Number(process.env.HEDDLE_MEGABYTES ?? 300);
const numWords = 200_000;

/** A small generator of random numbers, so that every run reads the same corpus. */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

function createWords(): string[] {
  const random = createRandom(1);
  const pick = (letters: string) => letters[Math.floor(random() * letters.length)] as string;
  const syllable = () => pick("bcdfghjklmnprstvwz") + pick("aeiou") + (random() < 0.3 ? pick("nrslt") : "");
  return Array.from({ length: numWords }, () => {
    const length = 1 + Math.floor(random() * 4);
    return Array.from({ length }, syllable).join("");
  });
}

const words = createWords();

/** Lines of about 4000 characters; word k is drawn with probability proportional to 1 / (k + 1). */
function* corpus(): Generator<string> {
  const random = createRandom(2);
  for (let bytes = 0; bytes < megabytes * 1e6; ) {
    const line: string[] = [];
    for (let length = 0; length < 4000; ) {
      const word = words[Math.min(numWords - 1, Math.floor(numWords ** random()) - 1)] as string;
      line.push(word);
      length += word.length + 1;
    }
    const text = line.join(" ");
    bytes += text.length;
    yield text;
  }
}

async function measure(name: string, control: TrainingControl): Promise<void> {
  let peak = 0;
  const timer = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage.rss());
  }, 50);
  const started = performance.now();
  let counted = 0;
  const model = await trainBpe(corpus(), {
    ...control,
    vocabSize: 8000,
    preTokenizer: { type: "WhitespaceSplit" },
    onProgress({ phase }) {
      if (phase === "count") counted = performance.now() - started;
    },
  });
  clearInterval(timer);
  const total = performance.now() - started;
  const rate = (megabytes / counted) * 1000;
  console.log(
    `${name.padEnd(12)} ${(total / 1000).toFixed(1)} s, of it counting ${(counted / 1000).toFixed(1)} s (${rate.toFixed(1)} MB/s), ${model.merges.length} merges, at most ${(peak / 2 ** 20).toFixed(0)} MiB in use`,
  );
}

const before = performance.now();
let made = 0;
for (const text of corpus()) made += text.length;
console.log(
  `corpus: ${(made / 1e6).toFixed(0)} MB in ${((performance.now() - before) / 1000).toFixed(1)} s without counting`,
);
await measure("one thread", {});
const workers = [0, 1].map(() => new Worker(new URL("./count-worker.js", import.meta.url)));
await measure("two workers", { workers });
for (const worker of workers) await worker.terminate();
