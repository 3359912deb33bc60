import { compile, type Device, disposeTree, HeddleError, type Tensor, take, tensor } from "@heddle/tensor";
import { prefixAttend } from "../blocks/attend.js";
import type { DecoderConfig } from "../config.js";
import type { DecoderWeights } from "../weights.js";
import { decoderHidden, unembed } from "./decoder.js";
import { checkBatch, checkReady, type DecoderState, powerOfTwo } from "./decoder-batch.js";
import type { DecoderCache } from "./decoder-cache.js";
import { readRows } from "./read-outputs.js";
import { type Span, type SpanSlots, spanPlaces } from "./span.js";

/** What feeds the prompts of a prefix language model. */
export interface PrefixFeeder {
  feedPrefix(tokens: ArrayLike<number>, slot: number): Promise<Float32Array>;
  dispose(): void;
}

interface FeederParts {
  readonly model: {
    readonly config: DecoderConfig;
    readonly weights: DecoderWeights;
    readonly device: Device;
  };
  readonly cache: DecoderCache;
  readonly limits: Parameters<typeof checkBatch>[1];
  /** Of the decoder, which takes no step meanwhile. */
  readonly state: DecoderState;
  /** Of a model whose prompts end in a span. */
  readonly spans: SpanSlots | undefined;
}

/** A prompt, filled up to a length that plans are made for. */
interface PrefixInputs {
  /** [1, T] */
  readonly tokens: Tensor;
  readonly slots_B: Tensor;
  readonly lengths_B: Tensor;
  /** Tokens of each prompt that see each other. */
  readonly contexts_B: Tensor;
  /** [2, 1, T], of a prompt that ends in a span. */
  readonly positions?: Tensor;
}

/**
 * Makes the part of a decoder that reads a prompt whole: its tokens see each other before and behind, and go into the cache, on which
 * causal steps go on. One plan serves each power of two of tokens.
 *
 * @see Dong et al. 2019, UniLM, arXiv:1905.03197, section 3.3; Du et al. 2021, GLM, arXiv:2103.10360, section 2.1
 */
export function createPrefixFeeder({ model, cache, limits, state, spans }: FeederParts): PrefixFeeder {
  const { config, weights, device } = model;
  const logitsOf = compile((kept: DecoderCache, inputs: PrefixInputs) => {
    const { tokens, slots_B, lengths_B, contexts_B, ...positions } = inputs;
    const attend = prefixAttend(kept, { slots_B, contexts_B });
    const { last } = decoderHidden(config, weights, {
      ids: tokens,
      attend,
      seqLen: limits.maxSeqLen,
      ...positions,
    });
    return unembed(config, weights, take(last.reshape([-1, config.modelDim]), lengths_B.sub(1)));
  });
  return {
    async feedPrefix(tokens, slot) {
      checkReady(state);
      checkPrompt(tokens, { slot, ...limits });
      const span = spans?.begin(slot, tokens);
      state.isStepping = true;
      const inputs = prefixInputs(device, tokens, { slot, maxSeqLen: limits.maxSeqLen, span });
      try {
        using logits_1V = logitsOf(cache, inputs);
        const [logits = new Float32Array(0)] = await readRows(logits_1V, 1);
        return logits;
      } finally {
        state.isStepping = false;
        disposeTree(inputs);
      }
    },
    dispose: () => logitsOf.dispose(),
  };
}

function prefixInputs(
  device: Device,
  tokens: ArrayLike<number>,
  {
    slot,
    maxSeqLen,
    span,
  }: { readonly slot: number; readonly maxSeqLen: number; readonly span: Span | undefined },
): PrefixInputs {
  const filled = new Int32Array(Math.min(powerOfTwo(tokens.length), maxSeqLen));
  filled.set(tokens);
  const axis = (which: 0 | 1) => Array.from(filled, (_, at) => (span ? spanPlaces(span, at)[which] : 0));
  const one = (value: number) => tensor(device, Int32Array.of(value));
  return {
    tokens: tensor(device, filled, { shape: [1, filled.length] }),
    slots_B: one(slot),
    lengths_B: one(tokens.length),
    contexts_B: one(span?.contextLength ?? tokens.length),
    ...(span && {
      positions: tensor(device, Int32Array.from([...axis(0), ...axis(1)]), { shape: [2, 1, filled.length] }),
    }),
  };
}

function checkPrompt(
  tokens: ArrayLike<number>,
  { slot, ...limits }: { readonly slot: number } & FeederParts["limits"],
): void {
  const { length } = tokens;
  if (length === 0) {
    const message =
      "feedPrefix: a prompt must have at least one token; got none. Begin with the model's first token.";
    throw new HeddleError("config", message, {});
  }
  checkBatch(
    {
      tokens: Int32Array.from(tokens),
      positions: Int32Array.from({ length }, (_, at) => at),
      slots: new Int32Array(length).fill(slot),
      outputs: Int32Array.of(length - 1),
    },
    limits,
  );
}
