// What the driver of the benchmark uses, behind one import.
export { cacheFolder, randomGguf } from "./random-gguf.ts";
export { jobOf, loadRows, rows, shapeOf, tokensOf, workOf } from "./rows.ts";
