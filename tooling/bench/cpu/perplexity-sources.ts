// What the comparison of perplexities uses of Heddle, behind one import.

export { directorySink } from "@heddle/checkpoints/node";
export { saveGguf } from "@heddle/models";
export { openModel } from "@heddle/models/node";
export { everyMatrix, quantizeWeights } from "@heddle/quant";
export { cpu } from "@heddle/tensor";
export { perplexity } from "@heddle/train";
