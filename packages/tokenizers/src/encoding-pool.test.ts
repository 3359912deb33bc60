import { MessageChannel } from "node:worker_threads";
import { afterEach, describe, expect, it } from "vitest";
import { goldenJson, goldenStrings } from "../test/golden.js";
import { startWorker } from "../test/real-worker.js";
import { createEncodingPool, serveEncoding } from "./encoding-pool.js";
import { fromTokenizerJson } from "./index.js";

const channels: MessageChannel[] = [];
afterEach(() => {
  for (const { port1 } of channels.splice(0)) port1.close();
});

/** The near end of a channel at whose far end a worker serves: the messages are cloned as between threads. */
function worker() {
  const channel = new MessageChannel();
  channels.push(channel);
  serveEncoding(channel.port1);
  return channel.port2;
}

describe.each(["bpe_bytelevel", "bpe_byte_fallback", "unigram", "wordpiece"])(
  "a pool that encodes with %s",
  (name) => {
    const tokenizer = fromTokenizerJson(goldenJson<object>(`hf/${name}/tokenizer.json.gz`));
    const texts = Array.from({ length: 40 }, () => goldenStrings).flat();

    it("gives the ids of each text in order", async () => {
      const pool = createEncodingPool(tokenizer, [worker(), worker()]);
      for (const options of [{}, { addSpecialTokens: false }]) {
        const batch = await pool.encodeIdsBatch(texts, options);
        expect(batch.length).toBe(texts.length);
        expect(batch.map((ids) => [...ids])).toEqual(
          texts.map((text) => [...tokenizer.encodeIds(text, options)]),
        );
      }
      expect(await pool.encodeIdsBatch([])).toEqual([]);
      pool.close();
    });
  },
);

it("errors of a worker come back, and a pool needs workers", async () => {
  const tokenizer = fromTokenizerJson(goldenJson<object>("hf/wordpiece/tokenizer.json.gz"));
  const pool = createEncodingPool(tokenizer, [worker()]);
  await expect(pool.encodeIdsBatch([{ length: 1 } as unknown as string])).rejects.toThrow(
    /encodeIdsBatch: a worker must be able to encode the texts; got /,
  );
  expect(() => createEncodingPool(tokenizer, [])).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: createEncodingPool: there must be at least one worker; got 0. Use tokenizer.encodeIds on this thread.]`,
  );
});

it("spreads texts over real threads, which share the vocabulary", async () => {
  const tokenizer = fromTokenizerJson(goldenJson<object>("hf/bpe_bytelevel/tokenizer.json.gz"));
  const texts = Array.from({ length: 1200 }, (_, i) => `${goldenStrings[i % goldenStrings.length]} ${i}`);
  const workers = await Promise.all([startWorker("encoding"), startWorker("encoding")]);
  try {
    const pool = createEncodingPool(tokenizer, workers);
    const batch = await pool.encodeIdsBatch(texts);
    expect(batch.map((ids) => [...ids])).toEqual(texts.map((text) => [...tokenizer.encodeIds(text)]));
    pool.close();
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
});
