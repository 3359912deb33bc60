import { disposeTree, tensor } from "@heddle/tensor";
import { decoderHidden, unembed } from "../src/decoder/decoder.js";
import { softmaxOf, topIds } from "../src/generation/sampling/scores.js";
import type { LoadedModel } from "../src/loading/load-model.js";

/** Contrastive search without a cache: the whole text for each candidate of each step. The twin of `contrastiveSearch`. */
export async function contrastiveReference(
  model: LoadedModel,
  prompt: readonly number[],
  { topK, penaltyAlpha, maxTokens }: { topK: number; penaltyAlpha: number; maxTokens: number },
): Promise<number[]> {
  const ids = [...prompt];
  while (ids.length < prompt.length + maxTokens) {
    const { logits } = await stateOf(model, ids);
    const probabilities = softmaxOf(Float64Array.from(logits));
    let best = { score: Number.NEGATIVE_INFINITY, id: 0 };
    for (const id of topIds(probabilities, topK)) {
      const { hidden } = await stateOf(model, [...ids, id]);
      const own = hidden.at(-1) ?? [];
      const resemblance = Math.max(...hidden.slice(0, -1).map((other) => cosine(other, own)));
      const score = (1 - penaltyAlpha) * (probabilities[id] ?? 0) - penaltyAlpha * resemblance;
      if (score > best.score) best = { score, id };
    }
    ids.push(best.id);
  }
  return ids.slice(prompt.length);
}

/** The last hidden states of a text, token by token, and the logits after its last token. */
async function stateOf({ config, weights, device }: LoadedModel, row: readonly number[]) {
  const ids = tensor(device, Int32Array.from(row), { shape: [1, row.length] });
  const found = decoderHidden(config, weights, { ids });
  const scores = unembed(config, weights, found.last);
  const states = await found.last.data();
  const hidden = row.map((_, at) =>
    Array.from(states.subarray(at * config.modelDim, (at + 1) * config.modelDim)),
  );
  const logits = Array.from((await scores.data()).subarray(-config.vocabSize));
  disposeTree([ids, found, scores]);
  return { hidden, logits };
}

function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const [x = 0, y = 0] = [a[i], b[i]];
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  return ab / Math.sqrt(aa * bb);
}
