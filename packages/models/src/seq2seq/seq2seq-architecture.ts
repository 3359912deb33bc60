import { disposeTree, HeddleError, tensor } from "@heddle/tensor";
import type { Architecture, ModelParts, TokenRows } from "../architecture.js";
import { checkIds, checkLength, tokenGrid } from "../token-grid.js";
import type { Seq2SeqConfig } from "./config.js";
import { type Seq2SeqInputs, seq2seqLogits, sourceHidden } from "./seq2seq.js";
import { createSeq2SeqDecoder } from "./seq2seq-decoder.js";
import { buildSeq2SeqWeights, type Seq2SeqWeights } from "./weights.js";

/** `numSlots` sequences answer one source: beams. */
interface StartOptions {
  readonly maxTokens: number;
  readonly numSlots?: number;
}

/** Encoder-decoders: the decoder writes while it listens to what the encoder has read. */
export const seq2seq: Architecture<Seq2SeqConfig, Seq2SeqWeights, Seq2SeqInputs> = {
  name: "encoder-decoder",
  buildWeights: buildSeq2SeqWeights,
  forward: ({ config, weights }, inputs) => seq2seqLogits(config, weights, inputs),
  logits(model, rows) {
    const inputs = seq2seqInputs(model, rows);
    try {
      return seq2seqLogits(model.config, model.weights, inputs);
    } finally {
      inputs.dispose();
    }
  },
  hidden(model, { ids, attentionMask }) {
    const inputs = seq2seqInputs(model, { ids, ...(attentionMask === undefined ? {} : { attentionMask }) });
    try {
      return sourceHidden(model.config, model.weights, { ...inputs, inspect: undefined, keepLayers: false })
        .last;
    } finally {
      inputs.dispose();
    }
  },
  async start(model, promptIds, { maxTokens, numSlots = 1 }: StartOptions) {
    const { config, device } = model;
    checkSource(config, [promptIds]);
    using source = tensor(device, promptIds, { shape: [1, promptIds.length] });
    const decoder = createSeq2SeqDecoder(model, { source: { source }, numSlots, maxSeqLen: maxTokens + 1 });
    return { decoder, ids: Int32Array.of(config.startId) };
  },
  roomAfter: ({ decoder }) => decoder.maxSeqLen - 1,
};

/**
 * Uploads token rows for an encoder-decoder; without `decoderIds` the decoder has seen the start token alone.
 *
 * @returns inputs whose tensors `dispose` frees
 * @throws HeddleError "shape", "config" or "capacity" for rows that the model cannot take; "unsupported" for a model that reads frames
 */
export function seq2seqInputs(
  { config, device }: Pick<ModelParts<Seq2SeqConfig>, "config" | "device">,
  { ids, attentionMask, decoderIds, decoderAttentionMask }: TokenRows,
): Seq2SeqInputs & { dispose(): void } {
  checkSource(config, ids);
  const targets = decoderIds ?? ids.map(() => [config.startId]);
  checkIds(targets, config.vocabSize);
  if (config.positions.kind === "learned") checkLength(targets, config.decoder.maxSeqLen);
  const inputs = {
    source: tokenGrid(device, ids),
    ids: tokenGrid(device, targets),
    ...(attentionMask === undefined
      ? {}
      : { sourceMask: tokenGrid(device, attentionMask, { like: ids, dtype: "bool" }) }),
    ...(decoderAttentionMask === undefined
      ? {}
      : { mask: tokenGrid(device, decoderAttentionMask, { like: targets, dtype: "bool" }) }),
  };
  return { ...inputs, dispose: () => disposeTree(inputs) };
}

function checkSource(
  { source, vocabSize, positions, encoder, family }: Seq2SeqConfig,
  ids: TokenRows["ids"],
): void {
  if (source.kind === "frames") {
    const message = `logits: the source of a ${family} model must be frames of audio; got token ids. Use logMel and seq2seqLogits, or createSeq2SeqDecoder.`;
    throw new HeddleError("unsupported", message, { family });
  }
  checkIds(ids, vocabSize);
  if (positions.kind === "learned") checkLength(ids, encoder.maxSeqLen);
}
