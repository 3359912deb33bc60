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

/** The texts of a run, split into those to train on and those held out. */
export interface RunTexts {
  readonly source: TextSource;
  isHeldOut(text: string): boolean;
}

export function openRunTexts({ text, seed }: ResolvedConfig): RunTexts {
  const { files, separator, heldOut } = text;
  return {
    source: textFiles(files, separator === undefined ? {} : { separator }),
    isHeldOut: createHeldOut({ fraction: heldOut, seed }),
  };
}

/** The texts to train on, in order, once. */
export async function* trainingTexts({ source, isHeldOut }: RunTexts): AsyncGenerator<string> {
  for await (const { text } of source.documents()) if (!isHeldOut(text)) yield text;
}

/** Batches to train on: shuffled, packed, without end. */
export function trainingBatches(
  texts: RunTexts,
  config: ResolvedConfig,
  tokenizer: RunTokenizer,
): BatchSource {
  const documents = createDocumentStream({
    source: texts.source,
    shuffleBuffer: config.text.shuffleBuffer,
    seed: config.seed,
    accepts: (text) => !texts.isHeldOut(text),
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
    source: texts.source,
    shuffleBuffer: 1,
    epochs: 1,
    accepts: (text) => texts.isHeldOut(text),
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
