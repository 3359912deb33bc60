import { disposeTree, HeddleError, scope, type Tensor, tensor } from "@heddle/tensor";
import type { Architecture, HostArray, ModelParts, TokenRows } from "../architecture.js";
import { checkIds, checkLength, tokenGrid } from "../token-grid.js";
import type { Seq2SeqConfig } from "./config.js";
import { type Seq2SeqInputs, seq2seqLogits, sourceHidden } from "./seq2seq.js";
import { createSeq2SeqDecoder } from "./seq2seq-decoder.js";
import { buildSeq2SeqWeights, type Seq2SeqWeights } from "./weights.js";

/** `numSlots` sequences answer one source: beams. */
interface StartOptions {
  readonly maxTokens: number;
  readonly numSlots?: number;
  readonly frames?: HostArray;
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
  hidden(model, { decoderIds, decoderAttentionMask, ...heard }) {
    const inputs = seq2seqInputs(model, heard);
    try {
      return sourceHidden(model.config, model.weights, { ...inputs, inspect: undefined, keepLayers: false })
        .last;
    } finally {
      inputs.dispose();
    }
  },
  async start(model, promptIds, { maxTokens, numSlots = 1, frames }: StartOptions) {
    const isHeard = model.config.source.kind === "frames";
    const ids = isHeard && promptIds.length > 0 ? promptIds : Int32Array.of(model.config.startId);
    checkIds([ids], model.config.vocabSize);
    using source = sourceTensor(model, {
      ids: isHeard ? [] : [promptIds],
      ...(frames === undefined ? {} : { frames }),
    });
    const maxSeqLen = maxTokens + ids.length;
    const decoder = createSeq2SeqDecoder(model, { source: { source }, numSlots, maxSeqLen });
    return { decoder, ids };
  },
  roomAfter: ({ decoder, source }, promptLength) =>
    decoder.maxSeqLen - (source.kind === "frames" ? Math.max(1, promptLength) : 1),
};

/**
 * Uploads token rows for an encoder-decoder; without `decoderIds` the decoder has seen the start token alone.
 *
 * @returns inputs whose tensors `dispose` frees
 * @throws HeddleError "shape", "config" or "capacity" for rows or frames that the model cannot take
 */
export function seq2seqInputs(
  model: Pick<ModelParts<Seq2SeqConfig>, "config" | "device">,
  { ids, frames, attentionMask, decoderIds, decoderAttentionMask }: TokenRows,
): Seq2SeqInputs & { dispose(): void } {
  const { config, device } = model;
  const numRows = frames?.shape[0] ?? ids.length;
  const targets = decoderIds ?? Array.from({ length: numRows }, () => [config.startId]);
  checkIds(targets, config.vocabSize);
  if (config.positions.kind === "learned") checkLength(targets, config.decoder.maxSeqLen);
  const inputs = scope(device, () => ({
    source: sourceTensor(model, { ids, ...(frames === undefined ? {} : { frames }) }),
    ids: tokenGrid(device, targets),
    ...(attentionMask === undefined
      ? {}
      : { sourceMask: tokenGrid(device, attentionMask, { like: ids, dtype: "bool" }) }),
    ...(decoderAttentionMask === undefined
      ? {}
      : { mask: tokenGrid(device, decoderAttentionMask, { like: targets, dtype: "bool" }) }),
  }));
  return { ...inputs, dispose: () => disposeTree(inputs) };
}

/** What the encoder reads, on the device: ids [B, S] or frames [B, numBins, T]. */
function sourceTensor(
  { config, device }: Pick<ModelParts<Seq2SeqConfig>, "config" | "device">,
  { ids, frames }: Pick<TokenRows, "ids" | "frames">,
): Tensor {
  const { source, vocabSize, positions, encoder, family } = config;
  if (source.kind === "frames") return framesTensor({ config, device }, source.numBins, { ids, frames });
  if (frames !== undefined) {
    const message = `logits: the source of a ${family} model must be token ids; got frames of sound. Use a model that listens, such as Whisper.`;
    throw new HeddleError("config", message, { family });
  }
  checkIds(ids, vocabSize);
  if (positions.kind === "learned") checkLength(ids, encoder.maxSeqLen);
  return tokenGrid(device, ids);
}

function framesTensor(
  { config: { family, encoder }, device }: Pick<ModelParts<Seq2SeqConfig>, "config" | "device">,
  numBins: number,
  { ids, frames }: { readonly ids: TokenRows["ids"]; readonly frames: HostArray | undefined },
): Tensor {
  const { shape = [] } = frames ?? {};
  // The second of two convolutions halves the frames.
  const numFrames = 2 * encoder.maxSeqLen;
  const fits = shape.length === 3 && shape[1] === numBins && shape[2] === numFrames && ids.length === 0;
  if (frames === undefined || !fits) {
    const got = frames === undefined ? "no frames" : `[${shape}]`;
    const rows = ids.length === 0 ? "" : ` and ${ids.length} rows of ids`;
    const message = `logits: a ${family} model hears frames of sound, [B, ${numBins}, ${numFrames}], and reads no ids; got ${got}${rows}. Make them with logMel, and give ids to the decoder.`;
    throw new HeddleError("shape", message, { family, numBins, numFrames, shape });
  }
  return tensor(device, frames.data, { shape, dtype: device.defaultFloat });
}
