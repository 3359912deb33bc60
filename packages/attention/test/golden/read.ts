import { goldenFolder } from "../../../../tooling/golden/safetensors.js";

export const { readGolden, readGoldenIndex } = goldenFolder(import.meta.url);
