// What the comparison of perplexities uses of Heddle, behind one import.

export { directorySink } from "@heddle/checkpoints/node";
export { calibrate, saveGguf } from "@heddle/models";
export { openModel } from "@heddle/models/node";
export { cpu } from "@heddle/tensor";
export { perplexity } from "@heddle/train";
export { encodeDocuments } from "../../../apps/cli/src/encode-documents.ts";
