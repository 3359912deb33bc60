import type { TrainingControl } from "../progress.js";

/** What SentencePiece's trainer asks; names and defaults are those of its flags in camel case. */
export interface TrainSentencePieceOptions extends TrainingControl {
  /** Default "unigram". */
  readonly modelType?: "unigram" | "bpe" | "word" | "char";
  /** Pieces in all: control and user-defined symbols, bytes, characters and longer pieces. */
  readonly vocabSize: number;
  /**
   * The character map of the normaliser; default none (SentencePiece's rule "identity"). That of a rule such as nmt_nfkc
   * can be taken from any model: `normalizer.precompiledCharsmap` in the config of a loaded tokenizer.
   */
  readonly precompiledCharsmap?: Uint8Array;
  /** Share of the characters of the corpus that get a piece; the rest is unknown. Default 0.9995. */
  readonly characterCoverage?: number;
  /** Characters that get a piece whatever the coverage. */
  readonly requiredChars?: string;
  /** Longest piece in characters; default 16. */
  readonly maxPieceLength?: number;
  /** Longer texts (in UTF-8 bytes) are left out; default 4192. */
  readonly maxSentenceLength?: number;
  /** Put a space in front of each text; default true. */
  readonly addDummyPrefix?: boolean;
  /** Squeeze and trim spaces; default true. */
  readonly removeExtraWhitespaces?: boolean;
  /** Write spaces behind words instead of before; default false. */
  readonly treatWhitespaceAsSuffix?: boolean;
  /** Pieces may consist of spaces only; default false. */
  readonly allowWhitespaceOnlyPieces?: boolean;
  /** Pieces do not span words; default true. */
  readonly splitByWhitespace?: boolean;
  /** Pieces do not mix scripts; default true. */
  readonly splitByUnicodeScript?: boolean;
  /** Digits count as a script of their own; default true. */
  readonly splitByNumber?: boolean;
  /** Each digit is a piece by itself; default false. */
  readonly splitDigits?: boolean;
  /** Add 256 byte pieces for what has no piece; default false. */
  readonly byteFallback?: boolean;
  /** Pieces without text. */
  readonly controlSymbols?: readonly string[];
  /** Pieces that are never cut and pass the normaliser untouched. */
  readonly userDefinedSymbols?: readonly string[];
  /** The pieces with a role; default <unk> 0, <s> 1, </s> 2, <pad> -1. An id of -1: not in the vocabulary. */
  readonly metaPieces?: Partial<MetaPieces>;
  /** What is written for unknown text; default " ⁇ ". */
  readonly unkSurface?: string;
  /** "unigram": pieces to begin with; default 1 000 000. */
  readonly seedSize?: number;
  /** "unigram": share of the pieces that each round keeps; default 0.75. */
  readonly shrinkingFactor?: number;
  /** "unigram": EM steps between two rounds; default 2. */
  readonly numSubIterations?: number;
  /**
   * "unigram": partial float32 sums in which expectations are added up. SentencePiece makes one in each of its
   * num_threads, so that its scores depend on them; default 16, as there.
   */
  readonly numPartialSums?: number;
}

/** A piece with a role and its id. */
export interface MetaPiece {
  readonly piece: string;
  readonly id: number;
}

export interface MetaPieces {
  readonly unk: MetaPiece;
  readonly bos: MetaPiece;
  readonly eos: MetaPiece;
  readonly pad: MetaPiece;
}

/** Options with every default filled in. */
export type SentencePieceSpec = Required<
  Omit<TrainSentencePieceOptions, keyof TrainingControl | "metaPieces">
> & {
  readonly metaPieces: MetaPieces;
};

/** Fills in the defaults of SentencePiece's flags. */
export function completeOptions(options: TrainSentencePieceOptions): SentencePieceSpec {
  const { onProgress, signal, onCheckpoint, checkpointEveryMs, resume, workers, metaPieces, ...given } =
    options;
  return {
    modelType: "unigram",
    precompiledCharsmap: new Uint8Array(0),
    characterCoverage: 0.9995,
    requiredChars: "",
    maxPieceLength: 16,
    maxSentenceLength: 4192,
    addDummyPrefix: true,
    removeExtraWhitespaces: true,
    treatWhitespaceAsSuffix: false,
    allowWhitespaceOnlyPieces: false,
    splitByWhitespace: true,
    splitByUnicodeScript: true,
    splitByNumber: true,
    splitDigits: false,
    byteFallback: false,
    controlSymbols: [],
    userDefinedSymbols: [],
    unkSurface: " \u2047 ",
    seedSize: 1_000_000,
    shrinkingFactor: 0.75,
    numSubIterations: 2,
    numPartialSums: 16,
    ...given,
    metaPieces: {
      unk: { piece: "<unk>", id: 0 },
      bos: { piece: "<s>", id: 1 },
      eos: { piece: "</s>", id: 2 },
      pad: { piece: "<pad>", id: -1 },
      ...metaPieces,
    },
  };
}
