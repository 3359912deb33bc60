import { type InputMoments, observeInputs } from "@heddle/quant";
import { type Device, HeddleError, nextTurn, scope, tensor } from "@heddle/tensor";
import { createModel, type LoadedModel } from "../loading/load-model.js";

export interface CalibrateOptions {
  readonly device: Device;
  /** Tokens of a passage; default 256. */
  readonly window?: number;
  /** Passages that run together; default 8. */
  readonly rows?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { readonly done: number; readonly total: number }) => void;
}

/**
 * Runs a model over a text and gives the second moments of what each weight of its layers is multiplied by, for `saveGguf` and
 * `quantizeWeights`: these then round with regard to such inputs (GPTQ).
 *
 * Some ten thousand tokens do; the text should be like those that the model will meet. Weights that are already quantised are
 * not observed, nor experts, nor the embedding and the unembedding.
 * @param ids  of the text; what is left over after whole passages is not used
 * @returns by path of the weight; plain memory, nothing to dispose
 * @throws HeddleError "config" if the text is shorter than a passage
 */
export async function calibrate(
  model: Pick<LoadedModel, "config" | "weights">,
  ids: ArrayLike<number>,
  { device, window = 256, rows = 8, signal, onProgress }: CalibrateOptions,
): Promise<ReadonlyMap<string, InputMoments>> {
  const passages = Math.floor(ids.length / window);
  if (!(passages >= 1)) {
    const message = `calibrate: the text must fill one passage; got ${ids.length} tokens, window ${window}. Use a longer text or a smaller window.`;
    throw new HeddleError("config", message, { length: ids.length, window });
  }
  const observer = observeInputs(model.weights);
  const watched = createModel({ config: model.config, device, weights: observer.weights });
  for (let first = 0; first < passages; first += rows) {
    await nextTurn();
    signal?.throwIfAborted();
    const count = Math.min(rows, passages - first);
    const part = Int32Array.from({ length: count * window }, (_, at) => ids[first * window + at] ?? 0);
    scope(device, () => {
      watched.forward({ ids: tensor(device, part, { shape: [count, window] }) });
    });
    await observer.collect();
    onProgress?.({ done: first + count, total: passages });
  }
  return observer.moments;
}
