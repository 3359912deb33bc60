import { everyConfig } from "./every-golden.js";

/** What a family of models can do, a column of the table in SUPPORT.md each. */
export type Ability = "load, save" | "forward" | "generate" | "train" | "quantise" | "GGUF" | "WebGPU";

declare module "vitest" {
  interface TaskMeta {
    /** What a family can do if the test passes. */
    readonly shows?: { readonly family: string; readonly abilities: readonly Ability[] };
  }
}

/** Options of a test that shows what a family of models can do, as its report tells the table in SUPPORT.md. */
export function shows(family: string, ...abilities: readonly Ability[]) {
  return { meta: { shows: { family, abilities } } };
}

/** As `shows`, for the family of a golden model. */
export function showsOf(golden: string, ...abilities: readonly Ability[]) {
  return shows(String(everyConfig(golden).model_type), ...abilities);
}
