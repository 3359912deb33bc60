// One library with one tokenizer in a process of its own. Arguments: library, tokenizer, text, and the texts to read
// before it, if any. It loads, reads those, encodes the text for the first time and reports; then each message names
// what to time again.
import { createHash } from "node:crypto";
import { sources, texts } from "./files.mjs";
import { libraries } from "./libraries.mjs";

const [, , libraryName, tokenizerName, textName, ...readBefore] = process.argv;

async function time(work) {
  const start = performance.now();
  const result = await work();
  return { ms: performance.now() - start, result };
}

const load = await libraries[libraryName](sources[tokenizerName](), tokenizerName);
if (load === null) process.exit(0);
const text = texts[textName]();
const loading = await time(async () => {
  const loaded = await load();
  await loaded.encode("Hello world");
  return loaded;
});
const tokenizer = loading.result;
for (const name of readBefore) await tokenizer.encode(texts[name]());
const first = await time(() => tokenizer.encode(text));
const ids = Int32Array.from(first.result);
const digest = createHash("sha1").update(new Uint8Array(ids.buffer)).digest("hex");
const works = {
  warm: () => tokenizer.encode(text),
  offsets: () => tokenizer.encodeWithOffsets(text),
  count: () => tokenizer.count(text),
  decode: () => tokenizer.decode(ids),
};
process.on("message", async (kind) => process.send((await time(works[kind])).ms));
process.send({
  loadMs: loading.ms,
  firstMs: first.ms,
  numTokens: ids.length,
  digest,
  bytes: Buffer.byteLength(text),
});
