import { writeText } from "@heddle/checkpoints";
import { directorySink } from "@heddle/checkpoints/node";
import { HeddleError } from "@heddle/tensor";
import {
  createTokenizer,
  type Tokenizer,
  type TrainingProgress,
  toTokenizerJson,
  trainByteLevelBpe,
} from "@heddle/tokenizers";
import { openTokenizer } from "../tokenizer-files.js";
import type { ResolvedConfig } from "./read-config.js";

/** A tokenizer and the token that ends each text. */
export interface RunTokenizer {
  readonly tokenizer: Tokenizer;
  readonly endOfText: number;
}

/** The tokenizer of a run that exists already, of a model, or of a directory. */
export async function openRunTokenizer(path: string, config: ResolvedConfig): Promise<RunTokenizer> {
  const tokenizer = await openTokenizer(path);
  const named = tokenizer.tokenToId(config.tokenizer.endOfText);
  const endOfText = named ?? tokenizer.eosId;
  if (endOfText === undefined) {
    const message = `train: the tokenizer must have the end-of-text token; got "${path}" without "${config.tokenizer.endOfText}". Set tokenizer.endOfText.`;
    throw new HeddleError("config", message, { path, endOfText: config.tokenizer.endOfText });
  }
  return { tokenizer, endOfText };
}

/** Trains a byte-level BPE tokenizer on the run's own texts and saves it. */
export async function trainRunTokenizer(
  texts: AsyncIterable<string>,
  config: ResolvedConfig,
  options: {
    readonly path: string;
    readonly onProgress: (progress: TrainingProgress) => void;
    readonly signal: AbortSignal;
  },
): Promise<RunTokenizer> {
  const { train, endOfText } = config.tokenizer;
  if (train === undefined)
    throw new HeddleError("config", "train: tokenizer.train must be given; got none. Add it.");
  const { path, onProgress, signal } = options;
  const { vocabSize, minFrequency, addBos } = train;
  const trained = await trainByteLevelBpe(texts, {
    vocabSize,
    minFrequency,
    specialTokens: [endOfText],
    roles: { bos: endOfText, eos: endOfText },
    onProgress,
    signal,
  });
  const id = trained.tokenToId(endOfText) ?? 0;
  const tokenizer = addBos ? withFirstToken(trained, { name: endOfText, id }) : trained;
  const sink = directorySink(path);
  for (const [name, text] of Object.entries(tokenizerFiles({ tokenizer, endOfText: id })))
    await writeText(sink, name, text);
  return { tokenizer, endOfText: id };
}

/** The files of a tokenizer in a Hugging Face directory, by name. */
export function tokenizerFiles({ tokenizer, endOfText }: RunTokenizer): Record<string, string> {
  const name = tokenizer.idToToken(endOfText);
  const settings = {
    tokenizer_class: "PreTrainedTokenizerFast",
    bos_token: name,
    eos_token: name,
    clean_up_tokenization_spaces: false,
  };
  return {
    "tokenizer.json": `${JSON.stringify(toTokenizerJson(tokenizer), null, 1)}\n`,
    "tokenizer_config.json": `${JSON.stringify(settings, null, 2)}\n`,
  };
}

/** A tokenizer that puts a token before each text. */
function withFirstToken(
  tokenizer: Tokenizer,
  { name, id }: { readonly name: string; readonly id: number },
): Tokenizer {
  const first = { type: "SpecialToken", id: name, typeId: 0 } as const;
  const sequence = (which: "A" | "B") => ({ type: "Sequence", id: which, typeId: 0 }) as const;
  return createTokenizer({
    ...tokenizer.config,
    postProcessor: {
      type: "TemplateProcessing",
      single: [first, sequence("A")],
      pair: [first, sequence("A"), sequence("B")],
      specialTokens: { [name]: { ids: [id], tokens: [name] } },
    },
  });
}
