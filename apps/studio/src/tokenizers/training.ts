import {
  createTokenizer,
  type Tokenizer,
  type TrainingProgress,
  trainByteLevelBpe,
} from "@heddle/tokenizers";

/** Size of a vocabulary and how many characters of the corpus one token stands for then. */
export interface CurvePoint {
  readonly vocabSize: number;
  readonly charactersPerToken: number;
}

export interface Training {
  readonly tokenizer: Tokenizer;
  readonly curve: readonly CurvePoint[];
}

export interface TrainingRequest {
  readonly corpus: string;
  readonly vocabSize: number;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: TrainingProgress) => void;
}

/** Trains byte-level BPE on a text, and looks back at how each stretch of merges has shortened it. */
export async function train(request: TrainingRequest): Promise<Training> {
  const { corpus, vocabSize, signal, onProgress } = request;
  const tokenizer = await trainByteLevelBpe(corpus.split(/(?<=\n)/), { vocabSize, signal, onProgress });
  return { tokenizer, curve: compressionCurve(tokenizer, corpus.slice(0, MEASURED)) };
}

/** Characters of the corpus that the curve is measured on. */
const MEASURED = 200_000;
const NUM_POINTS = 24;

function compressionCurve({ config }: Tokenizer, corpus: string): CurvePoint[] {
  const { model } = config;
  if (model.type !== "BPE" || corpus === "") return [];
  const numMerges = model.merges.length;
  const points = new Set(
    Array.from({ length: NUM_POINTS + 1 }, (_, i) => Math.round((i * numMerges) / NUM_POINTS)),
  );
  return [...points].map((count) => {
    const shorter = createTokenizer({
      ...config,
      model: {
        ...model,
        vocab: model.vocab.slice(0, model.vocab.length - numMerges + count),
        merges: model.merges.slice(0, count),
      },
    });
    const numTokens = shorter.countTokens(corpus);
    return { vocabSize: shorter.vocabSize, charactersPerToken: corpus.length / numTokens };
  });
}
