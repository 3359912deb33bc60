import { type Tensor, where } from "@heddle/tensor";

/** Stands for "not seen" in a maximum: finite, so that differences stay numbers. */
const lowest = -1e30;

/** What decides the scores beside query and key. */
export interface ScoreRules {
  readonly scale: number;
  readonly softcap?: number | undefined;
  /** Broadcasts to [B, H, T, S]. */
  readonly bias?: Tensor | undefined;
}

/** Scores s = cap(scale q k^T) + bias. Shapes: query [B, H, T, D], key [B, G, S, D] -> [B, H, T, S]. */
export function naiveScores(query: Tensor, key: Tensor, { scale, softcap, bias }: ScoreRules): Tensor {
  const raw = groupedMatmul(query, key, { transposeB: true }).mul(scale);
  const capped = softcap === undefined ? raw : raw.div(softcap).tanh().mul(softcap);
  return bias === undefined ? capped : capped.add(bias);
}

/** a b with the heads of b shared by groups of a's: [B, H, M, K] x [B, G, K, N] -> [B, H, M, N]. */
export function groupedMatmul(a: Tensor, b: Tensor, options: { readonly transposeB?: boolean } = {}): Tensor {
  const [batch = 0, numHeads = 0, rows = 0, depth = 0] = a.shape;
  const [, numKvHeads = 1, bRows = 0, bColumns = 0] = b.shape;
  const group = numHeads / numKvHeads;
  const product = a
    .reshape([batch, numKvHeads, group, rows, depth])
    .matmul(b.reshape([batch, numKvHeads, 1, bRows, bColumns]), options);
  return product.reshape([batch, numHeads, rows, options.transposeB ? bRows : bColumns]);
}

/**
 * Attention as the formula says: softmax(scores) V over the keys that are seen, with a whole [B, H, T, S] matrix in memory.
 *
 * The readable twin of the tiled kernels. Rows that see nothing give zeros and a log-sum-exp of -infinity.
 * Shapes: query [B, H, T, D], key [B, G, S, D], value [B, G, S, Dv], sees broadcasts to [B, H, T, S], sinks [H]
 * -> out [B, H, T, Dv], lse [B, H, T]
 */
export function naiveAttention(
  query: Tensor,
  {
    key,
    value,
    sees,
    sinks,
  }: { key: Tensor; value: Tensor; sees?: Tensor | undefined; sinks?: Tensor | undefined },
  rules: ScoreRules,
): { out: Tensor; lse: Tensor } {
  const scores = naiveScores(query, key, rules);
  const masked = sees === undefined ? scores : where(sees, scores, lowest);
  const sink = sinks?.reshape([1, sinks.size, 1, 1]);
  const rowMaximum = masked.max({ axes: 3, keepDims: true });
  const maximum = (sink === undefined ? rowMaximum : rowMaximum.maximum(sink)).detach();
  const powers = masked.sub(maximum).exp();
  const weights = sees === undefined ? powers : where(sees, powers, 0);
  const seen = weights.sum({ axes: 3, keepDims: true });
  const total = sink === undefined ? seen : seen.add(sink.sub(maximum).exp());
  const divisor = where(total.equal(0), 1, total);
  const out = groupedMatmul(weights, value).div(divisor);
  const [batch = 0, numHeads = 0, queryLen = 0] = query.shape;
  return { out, lse: maximum.add(total.log()).reshape([batch, numHeads, queryLen]) };
}
