// What the agreement check uses of Heddle, behind one import.

export { directorySink } from "@heddle/checkpoints/node";
export { saveGguf } from "@heddle/models";
export { openModel } from "@heddle/models/node";
export { cpu } from "@heddle/tensor";
