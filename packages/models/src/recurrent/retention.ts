import { concat, fillLike, HeddleError, invariant, scope, type Tensor, tensor } from "@heddle/tensor";
import type { ScanResult } from "./selective-scan.js";

export interface RetentionOptions {
  /** How much of the past each head keeps from one token to the next, H numbers in (0, 1). */
  readonly decays: readonly number[];
  /**
   * Tokens that are worked on at once. T (default) is the parallel form, 1 the recurrent form, anything between the chunked
   * form: time T chunk, memory chunk^2. All give the same numbers.
   */
  readonly chunk?: number;
  /** As an earlier call returned it, [B, H, D, Dv]. Default: zeros. */
  readonly state?: Tensor | undefined;
}

/**
 * Retention: attention without softmax whose scores fade with distance, out_n = sum_(m<=n) decay^(n-m) (q_n k_m) v_m.
 *
 * Shapes: query and key [B, H, T, D], value [B, H, T, Dv], state [B, H, D, Dv] -> out [B, H, T, Dv], state [B, H, D, Dv].
 * Differentiable in all. Turn query and key by their positions and scale the key first.
 * @returns two tensors that the caller disposes
 * @throws HeddleError "config" if the chunk is no whole number above 0 or there is not one decay a head
 * @see Sun et al. 2023, Retentive Network, arXiv:2307.08621, equations 5 (parallel), 6 (recurrent) and 7 (chunked)
 */
export function retention(
  { query, key, value }: { readonly query: Tensor; readonly key: Tensor; readonly value: Tensor },
  options: RetentionOptions,
): ScanResult {
  const [B = 0, H = 0, T = 0, D = 0] = query.shape;
  const { decays, chunk = T } = options;
  if (!Number.isInteger(chunk) || chunk < 1 || decays.length !== H) {
    const message = `retention: chunk must be a whole number above 0 and decays one number a head; got chunk ${chunk}, ${decays.length} decays, query [${query.shape.join(", ")}]. Leave chunk out for the parallel form.`;
    throw new HeddleError("config", message, { chunk, decays: decays.length, heads: H });
  }
  return scope(query.device, () => {
    let state = options.state ?? fillLike(query, 0, { shape: [B, H, D, value.shape[3] ?? 0] });
    const pieces: Tensor[] = [];
    for (let from = 0; from < T; from += chunk) {
      const cut = (x: Tensor) => x.narrow(2, from, Math.min(from + chunk, T));
      const piece = retainChunk({ query: cut(query), key: cut(key), value: cut(value) }, decays, state);
      pieces.push(piece.out);
      state = piece.state;
    }
    return { out: concat(pieces, { axis: 2 }), state };
  });
}

/** One chunk of C tokens: what its tokens give each other, and what the past gives them. */
function retainChunk(
  { query, key, value }: { readonly query: Tensor; readonly key: Tensor; readonly value: Tensor },
  decays: readonly number[],
  state: Tensor,
): ScanResult {
  const C = query.shape[2] ?? 0;
  const among = perHead(query, decays, [C, C], (decay, at) => {
    const distance = Math.floor(at / C) - (at % C);
    return distance < 0 ? 0 : decay ** distance;
  });
  const sincePast = perHead(query, decays, [C, 1], (decay, at) => decay ** (at + 1));
  const untilEnd = perHead(query, decays, [C, 1], (decay, at) => decay ** (C - 1 - at));
  const whole = perHead(query, decays, [1, 1], (decay) => decay ** C);
  const inner = query.matmul(key, { transposeB: true }).mul(among).matmul(value);
  const cross = query.matmul(state).mul(sincePast);
  const added = key.mul(untilEnd).transpose().matmul(value);
  return { out: inner.add(cross), state: state.mul(whole).add(added) };
}

/** A constant [H, rows, columns]. */
function perHead(
  { device, dtype }: Tensor,
  decays: readonly number[],
  [rows = 1, columns = 1]: readonly number[],
  value: (decay: number, at: number) => number,
): Tensor {
  invariant(dtype === "f32" || dtype === "f64", "retention is computed in f32 or f64");
  const data = decays.flatMap((decay) => Array.from({ length: rows * columns }, (_, at) => value(decay, at)));
  return tensor(device, data, { shape: [decays.length, rows, columns], dtype });
}
