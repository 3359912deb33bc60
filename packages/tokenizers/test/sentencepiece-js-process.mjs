/**
 * Runs the WebAssembly build of the SentencePiece library in a process of its own, because it installs handlers of
 * uncaught errors. Reads {"models": [path], "texts": [text]} from stdin, writes for each model the ids of each text.
 */
import { text } from "node:stream/consumers";
import { SentencePieceProcessor } from "sentencepiece-js";

const { models, texts } = JSON.parse(await text(process.stdin));
const results = [];
for (const path of models) {
  const processor = new SentencePieceProcessor();
  await processor.load(path);
  results.push(
    texts.map((each) => {
      const ids = processor.encodeIds(each);
      return { ids, decoded: processor.decodeIds(ids) };
    }),
  );
}
process.stdout.write(JSON.stringify(results));
