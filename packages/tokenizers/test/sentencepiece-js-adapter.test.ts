import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { fromSentencePiece } from "../src/index.js";
import { openSentencePieceJs } from "../src/sentencepiece-js/index.js";
import { goldenBytes, goldenStrings } from "./golden.js";
import { startWorker } from "./real-worker.js";

const folder = mkdtempSync(join(tmpdir(), "heddle-sentencepiece-js-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("the SentencePiece library behind the adapter", () => {
  it.each(["bpe_identity_bf", "unigram_nmt_nfkc"])(
    "gives the ids and texts of fromSentencePiece: %s",
    async (name) => {
      const bytes = goldenBytes(`sentencepiece/${name}.model.gz`);
      const path = join(folder, `${name}.model`);
      writeFileSync(path, bytes);
      const worker = await startWorker("sentencepiece-js");
      try {
        const library = await openSentencePieceJs(path, worker);
        const own = fromSentencePiece(bytes);
        for (const text of goldenStrings.filter((each) => !/\p{Surrogate}/u.test(each)).slice(0, 60)) {
          const ids = await library.encodeIds(text);
          expect([text, ids]).toEqual([text, own.encodeIds(text)]);
          expect([text, await library.decode(ids)]).toEqual([text, own.decode(ids)]);
          expect(await library.countTokens(text)).toBe(ids.length);
        }
        library.close();
      } finally {
        await worker.terminate();
      }
    },
  );

  it("says what the library will not load", async () => {
    const worker = await startWorker("sentencepiece-js");
    await expect(openSentencePieceJs(join(folder, "none.model"), worker)).rejects.toThrow(
      /^openSentencePieceJs: the SentencePiece library must accept what it gets; got .*ENOENT/,
    );
    await worker.terminate();
  });
});
