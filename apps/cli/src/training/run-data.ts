import {
  type BatchSource,
  createDocumentStream,
  createHeldOut,
  createPackedBatches,
  type HostBatch,
  type TextSource,
} from "@heddle/train";
import { textFiles } from "@heddle/train/node";
import type { ResolvedConfig } from "./read-config.js";
import type { RunTokenizer } from "./run-tokenizer.js";

/** The texts of a run: those to train on, and those that are held out. */
export interface RunTexts {
  readonly training: HalfOfTexts;
  readonly heldOut: HalfOfTexts;
}

interface HalfOfTexts {
  readonly source: TextSource;
  readonly accepts: (text: string) => boolean;
}

/** Held-out texts come from files of their own, or are a part of the training files. */
export function openRunTexts({ text, seed }: ResolvedConfig): RunTexts {
  const { files, heldOutFiles, separator, heldOut } = text;
  const open = (paths: readonly string[]) => textFiles(paths, separator === undefined ? {} : { separator });
  const source = open(files);
  if (heldOutFiles.length > 0) {
    const all = () => true;
    return { training: { source, accepts: all }, heldOut: { source: open(heldOutFiles), accepts: all } };
  }
  const isHeldOut = createHeldOut({ fraction: heldOut, seed });
  return {
    training: { source, accepts: (one) => !isHeldOut(one) },
    heldOut: { source, accepts: isHeldOut },
  };
}

/** The texts to train on, in order, once. */
export async function* trainingTexts({ training }: RunTexts): AsyncGenerator<string> {
  for await (const { text } of training.source.documents()) if (training.accepts(text)) yield text;
}

/** Batches to train on: shuffled, packed, without end. */
export function trainingBatches(
  texts: RunTexts,
  config: ResolvedConfig,
  tokenizer: RunTokenizer,
): BatchSource {
  const documents = createDocumentStream({
    ...texts.training,
    shuffleBuffer: config.text.shuffleBuffer,
    seed: config.seed,
  });
  return createPackedBatches({ documents, ...packing(config, tokenizer) });
}

/** The first held-out batches, the same each time. */
export async function* heldOutBatches(
  texts: RunTexts,
  config: ResolvedConfig,
  tokenizer: RunTokenizer,
): AsyncGenerator<HostBatch> {
  const documents = createDocumentStream({
    ...texts.heldOut,
    shuffleBuffer: 1,
    epochs: 1,
  });
  const batches = createPackedBatches({ documents, ...packing(config, tokenizer) });
  for (let taken = 0; taken < config.evaluate.batches; taken++) {
    const batch = await batches.next();
    if (batch === undefined) return;
    yield batch;
  }
}

function packing({ batch }: ResolvedConfig, { tokenizer, endOfText }: RunTokenizer) {
  return {
    encode: (text: string) =>
      tokenizer.encodeIds(text, { addSpecialTokens: false, parseSpecialTokens: false }),
    endOfText,
    rows: batch.rows,
    seqLen: batch.seqLen,
  };
}
