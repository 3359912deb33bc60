// What the agreement check uses of Heddle, behind one import.
export { saveGguf } from "@heddle/models";
export { openModel } from "@heddle/models/node";
export { directorySink } from "@heddle/checkpoints/node";
export { cpu } from "@heddle/tensor";
