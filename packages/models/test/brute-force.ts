import { loadTensors, memorySource, openSafetensors } from "@heddle/checkpoints";
import { reference } from "@heddle/tensor";

/** The tensors of a checkpoint as plain numbers, under the names that it stores them by. */
export class StoredNumbers {
  constructor(
    private readonly arrays: ReadonlyMap<string, { shape: readonly number[]; data: ArrayLike<number> }>,
  ) {}

  static async read(files: Readonly<Record<string, Uint8Array>>): Promise<StoredNumbers> {
    const tensors = await loadTensors(await openSafetensors(memorySource(files)), { device: reference() });
    const entries = Object.entries(tensors).map(
      async ([name, x]) => [name, { shape: x.shape, data: await x.data() }] as const,
    );
    return new StoredNumbers(new Map(await Promise.all(entries)));
  }

  /** Rows from..to of a stored matrix. */
  rows(name: string, from = 0, to?: number): number[][] {
    const { shape, data } = this.get(name);
    const width = shape[1] ?? 1;
    return Array.from({ length: (to ?? shape[0] ?? 0) - from }, (_, row) =>
      Array.from({ length: width }, (__, i) => data[(from + row) * width + i] ?? Number.NaN),
    );
  }

  vector(name: string): number[] {
    return Array.from(this.get(name).data);
  }

  private get(name: string) {
    const found = this.arrays.get(name);
    if (found === undefined) throw new Error(`the checkpoint has no ${name}`);
    return found;
  }
}

export type Vector = readonly number[];
type Matrix = readonly Vector[];

export const dot = (a: Vector, b: Vector): number =>
  a.reduce((sum, x, i) => sum + x * (b[i] ?? Number.NaN), 0);

/** W x + b. */
export const product = (w: Matrix, x: Vector, b?: Vector): number[] =>
  w.map((row, i) => dot(row, x) + (b?.[i] ?? 0));

export const plus = (a: Vector, b: Vector): number[] => a.map((x, i) => x + (b[i] ?? Number.NaN));

export function rms(x: Vector, weight: Vector, eps: number): number[] {
  const size = Math.sqrt(dot(x, x) / x.length + eps);
  return x.map((value, i) => (value / size) * (weight[i] ?? Number.NaN));
}

export function layerNorm(
  x: Vector,
  { weight, bias, eps }: { weight: Vector; bias: Vector; eps: number },
): number[] {
  const mean = x.reduce((sum, value) => sum + value, 0) / x.length;
  const size = Math.sqrt(x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length + eps);
  return x.map((value, i) => ((value - mean) / size) * (weight[i] ?? Number.NaN) + (bias[i] ?? Number.NaN));
}

export const silu = (x: number): number => x / (1 + Math.exp(-x));

export const geluTanh = (x: number): number =>
  0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

/** Rotates pairs (i, i + D/2) of one head by position. */
export function turn(x: Vector, position: number, theta = 10_000): number[] {
  const half = x.length / 2;
  return x.map((value, i) => {
    const angle = position * theta ** ((-2 * (i % half)) / x.length);
    const other = x[(i + half) % x.length] ?? Number.NaN;
    return value * Math.cos(angle) + (i < half ? -other : other) * Math.sin(angle);
  });
}

/** Slopes of ALiBi by the definition of its paper, any number of heads. */
export function alibiSlope(head: number, numHeads: number): number {
  const power = 2 ** Math.floor(Math.log2(numHeads));
  if (head < power) return 2 ** ((-8 * (head + 1)) / power);
  return 2 ** ((-8 * (2 * (head - power) + 1)) / (2 * power));
}

export interface BruteAttention {
  readonly numHeads: number;
  readonly numKvHeads: number;
  /** Rotated queries, keys and values of each token, all heads in a row. */
  readonly queries: Matrix;
  readonly keys: Matrix;
  readonly values: Matrix;
  /** What is added to the scaled score of query i and key j; -Infinity hides it. */
  bias(head: number, i: number, j: number): number;
}

/** What each token sees, all heads in a row. */
export function attend({ numHeads, numKvHeads, queries, keys, values, bias }: BruteAttention): number[][] {
  const headDim = (queries[0]?.length ?? 0) / numHeads;
  const part = (x: Vector | undefined, head: number) => (x ?? []).slice(head * headDim, (head + 1) * headDim);
  return queries.map((query, i) =>
    Array.from({ length: numHeads }, (_, head) => {
      const kv = Math.floor((head * numKvHeads) / numHeads);
      const scores = keys.map(
        (key, j) => dot(part(query, head), part(key, kv)) / Math.sqrt(headDim) + bias(head, i, j),
      );
      const largest = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - largest));
      const total = weights.reduce((sum, weight) => sum + weight, 0);
      return Array.from({ length: headDim }, (__, d) =>
        weights.reduce((sum, weight, j) => sum + (weight / total) * (part(values[j], kv)[d] ?? 0), 0),
      );
    }).flat(),
  );
}
