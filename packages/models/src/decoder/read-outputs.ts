import type { Tensor } from "@heddle/tensor";
import type { SampledToken } from "../generation/sampling/sampler.js";
import type { TokenChoice } from "./choose-tokens.js";
import type { TokenState } from "./decoder-interface.js";

/** Reads the first `count` rows of logits. */
export async function readRows(logits_OV: Tensor, count: number): Promise<Float32Array[]> {
  if (count === 0) return [];
  const data = await logits_OV.data();
  const values = data instanceof Float32Array ? data : Float32Array.from(data);
  const width = logits_OV.shape[1] ?? 0;
  return Array.from({ length: count }, (_, row) => values.subarray(row * width, (row + 1) * width));
}

/** Reads the first `count` hidden states [O, E] and rows of logits [O, V]. */
export async function readStates(
  found: { readonly hidden: Tensor; readonly logits: Tensor },
  count: number,
): Promise<TokenState[]> {
  const [hidden, logits] = await Promise.all([readRows(found.hidden, count), readRows(found.logits, count)]);
  return hidden.map((row, at) => ({ hidden: row, logits: logits[at] ?? new Float32Array(0) }));
}

/** Reads the tokens that were chosen, f32 [O, 2], and the logits of outputs without a choice or whose token has no number. */
export async function readChosen(
  { logits_OV, results }: { readonly logits_OV: Tensor; readonly results: Tensor },
  choices: readonly (TokenChoice | undefined)[],
): Promise<(SampledToken | Float32Array)[]> {
  const read = choices.some((choice) => choice !== undefined) ? await results.data() : [];
  const tokens = choices.map((choice, at): SampledToken | undefined => {
    const [id = 0, logprob = Number.NaN] = [read[2 * at], read[2 * at + 1]].map(Number);
    return choice === undefined || Number.isNaN(logprob) ? undefined : { id, logprob };
  });
  const rows = tokens.includes(undefined) ? await readRows(logits_OV, tokens.length) : [];
  return tokens.map((token, at) => token ?? rows[at] ?? new Float32Array(0));
}
