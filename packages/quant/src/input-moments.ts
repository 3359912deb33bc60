import { flattenTree, HeddleError, type LinearWeight, matmul, type Tensor } from "@heddle/tensor";

/**
 * Second moments of what a weight is multiplied by: sums over the positions of a text of x_i x_j.
 *
 * They are kept for columns of one window alone: i and j in [k window, (k + 1) window). Columns of different windows count as
 * unrelated.
 */
export interface InputMoments {
  /** Columns of the weight. */
  readonly width: number;
  /** Columns of a window; the last window may be narrower. */
  readonly window: number;
  /** One symmetric matrix a window, row-major. */
  readonly sums: readonly Float32Array[];
}

export interface ObserveOptions {
  /** Which leaves are watched: weights that are applied to activations. Default: those of two axes at paths that end in `weight`. */
  readonly chosen?: (path: string, leaf: unknown) => boolean;
  /** Columns whose moments are kept together; default 1024. Memory is width x window x 4 bytes a weight. */
  readonly window?: number;
}

export interface InputObserver<Weights> {
  /** The tree with watched weights: they give what the weights give. Shares memory with the tree that was given. */
  readonly weights: Weights;
  /** Waits for what passes over `weights` saw since the last call and adds it up; call it after each pass. */
  collect(): Promise<void>;
  /** Of all that was collected, by path. Weights that saw the same tensors (query, key, value) share one object. */
  readonly moments: ReadonlyMap<string, InputMoments>;
}

/**
 * Watches what the weights of a tree are multiplied by, whatever model they belong to, for methods that quantise with regard to it.
 *
 * Run passes eagerly: a compiled one would be watched while it is traced, and never when it runs.
 * @param tree  borrowed, and used by the passes
 */
export function observeInputs<Weights>(
  tree: Weights,
  { chosen = isAppliedMatrix, window = 1024 }: ObserveOptions = {},
): InputObserver<Weights> {
  if (!(Number.isSafeInteger(window) && window > 0 && window % 32 === 0)) {
    const message = `observeInputs: window must be a multiple of 32; got ${window}. Leave it out for 1024.`;
    throw new HeddleError("config", message, { window });
  }
  const { leaves, paths, rebuild } = flattenTree<unknown, Weights>(tree);
  const moments = new Map<string, InputMoments>();
  const seen = new Map<Tensor, string>();
  const pending: (() => Promise<void>)[] = [];
  const watch = (path: string, x: Tensor): void => {
    const known = moments.get(seen.get(x) ?? "");
    const own = moments.get(path) ?? known ?? emptyMoments(x.shape.at(-1) ?? 0, window);
    moments.set(path, own);
    if (own === known) return; // query, key and value see one tensor
    seen.set(x, path);
    const reads = productsOf(x, own);
    pending.push(async () => {
      for (const [at, read] of reads.entries()) addTo(own.sums[at], await read);
    });
  };
  return {
    weights: rebuild(
      leaves.map((leaf, at) => {
        const path = paths[at] ?? "";
        return chosen(path, leaf) ? new WatchedWeight(leaf as LinearWeight, (x) => watch(path, x)) : leaf;
      }),
    ),
    async collect() {
      seen.clear();
      for (const finish of pending.splice(0)) await finish();
    },
    moments,
  };
}

function isAppliedMatrix(path: string, leaf: unknown): boolean {
  const { rank } = leaf as Partial<Tensor>;
  return rank === 2 && /(^|\.)weight$/.test(path) && !/norm\.weight$/i.test(path);
}

function emptyMoments(width: number, window: number): InputMoments {
  const sums = Array.from({ length: Math.ceil(width / window) }, (_, at) => {
    const size = Math.min(window, width - at * window);
    return new Float32Array(size * size);
  });
  return { width, window, sums };
}

/** Begins to read x^T x of each window; the products are freed with the scope of the pass, once the reads have begun. */
function productsOf(x: Tensor, { width, window, sums }: InputMoments): Promise<ArrayLike<number>>[] {
  const rows = x.reshape([x.size / width, width]);
  return sums.map((_, at) => {
    const [from, to] = [at * window, Math.min(width, (at + 1) * window)];
    const part = rows.narrow(1, from, to);
    const product = matmul(part.transpose(), part);
    return product.data();
  });
}

function addTo(sums: Float32Array | undefined, values: ArrayLike<number>): void {
  if (sums === undefined) return;
  for (let i = 0; i < sums.length; i++) sums[i] = (sums[i] ?? 0) + (values[i] ?? 0);
}

/** A weight that tells what it is applied to. */
class WatchedWeight implements LinearWeight {
  readonly weight: LinearWeight;
  readonly watch: (x: Tensor) => void;

  constructor(weight: LinearWeight, watch: (x: Tensor) => void) {
    this.weight = weight;
    this.watch = watch;
  }

  get inFeatures(): number {
    return this.weight.inFeatures;
  }

  get outFeatures(): number {
    return this.weight.outFeatures;
  }

  apply(x: Tensor): Tensor {
    this.watch(x);
    return this.weight.apply(x);
  }
}
