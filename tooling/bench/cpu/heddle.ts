// What the benchmark uses of Heddle, behind one import: modules that are imported apart do not know each other's classes.
export { createDecoder, generate, loadGguf } from "@heddle/models";
export { openModel } from "@heddle/models/node";
export { createEngine } from "@heddle/serve";
export { cpu } from "@heddle/tensor";
