// The rows of the CPU benchmark: what runs on which file, and what is aimed at.
import { type BenchType, type Shape, shapes, tensorShapes } from "./shapes.ts";

export type CaseName = "decode" | "prefill" | "batch";

export interface Row {
  readonly caseName: CaseName;
  readonly shape: string;
  readonly type: BenchType;
  /** Heddle's speed over node-llama-cpp's that the project aims at. */
  readonly target?: number;
}

/** Every row, in the order of the page. */
export const rows: readonly Row[] = [
  { caseName: "decode", shape: "smollm2", type: "Q4_0", target: 1.4 },
  { caseName: "decode", shape: "qwen2", type: "Q4_0", target: 1 },
  { caseName: "decode", shape: "smollm2", type: "Q8_0", target: 1.05 },
  { caseName: "decode", shape: "qwen2", type: "Q8_0", target: 1.05 },
  { caseName: "decode", shape: "smollm2", type: "F16" },
  { caseName: "decode", shape: "qwen2", type: "F16" },
  { caseName: "prefill", shape: "smollm2", type: "Q4_0", target: 0.9 },
  { caseName: "prefill", shape: "smollm2", type: "Q8_0", target: 0.9 },
  { caseName: "prefill", shape: "smollm2", type: "F16" },
  { caseName: "prefill", shape: "qwen2", type: "Q4_0" },
  { caseName: "batch", shape: "smollm2", type: "Q4_0", target: 3 },
  { caseName: "batch", shape: "smollm2", type: "Q8_0" },
];

/** The files whose loading is measured. */
export const loadRows: readonly Pick<Row, "shape" | "type">[] = [
  { shape: "qwen2", type: "Q4_0" },
  { shape: "qwen2", type: "Q8_0" },
  { shape: "qwen2", type: "F16" },
];

/** What a contestant is told. */
export interface Job {
  readonly case: CaseName;
  readonly file: string;
  readonly threads: number;
  readonly numSequences: number;
  readonly maxSeqLen: number;
  /** Tokens that are timed in each sequence; with "prefill" those of the prompt. */
  readonly numTokens: number;
  readonly prompts: readonly (readonly number[])[];
}

/** The job of a row. */
export function jobOf(
  { caseName, shape }: Row,
  { file, threads }: { readonly file: string; readonly threads: number },
): Job {
  const numSequences = caseName === "batch" ? 8 : 1;
  const promptLength = caseName === "prefill" ? 512 : 16;
  const { vocabSize } = shapeOf(shape);
  const prompts = Array.from({ length: numSequences }, (_, s) =>
    Array.from({ length: promptLength }, (_, i) => (1000 + s * 7919 + i * 104_729) % vocabSize),
  );
  const numTokens = { decode: 128, prefill: promptLength, batch: 64 }[caseName];
  // llama.cpp shares the cells of a context out among its sequences.
  return {
    case: caseName,
    file,
    threads,
    numSequences,
    maxSeqLen: caseName === "prefill" ? 768 : 256,
    numTokens,
    prompts,
  };
}

/** Tokens whose time one round takes. */
export function tokensOf({ case: name, numTokens, numSequences }: Job): number {
  return name === "batch" ? numSequences * (numTokens + 1) : numTokens;
}

export function shapeOf(name: string): Shape {
  const shape = shapes[name];
  if (shape === undefined)
    throw new Error(`shape must be one of ${Object.keys(shapes).join(", ")}; got ${name}`);
  return shape;
}

/** Bytes of the weights that decoding one token reads, and multiply-adds with them: every matrix once, the embedding as output. */
export function workOf({ shape, type }: Row): { readonly bytes: number; readonly weights: number } {
  const matrices = [...tensorShapes(shapeOf(shape)).values()].filter((sizes) => sizes.length === 2);
  const weights = matrices.reduce((sum, sizes) => sum + (sizes[0] ?? 0) * (sizes[1] ?? 0), 0);
  return { weights, bytes: weights * { Q4_0: 18 / 32, Q8_0: 34 / 32, F16: 2 }[type] };
}
