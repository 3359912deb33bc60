import { createDecoder, type Decoder, type LoadedModel } from "@heddle/models";
import { flattenTree, HeddleError, Tensor } from "@heddle/tensor";
import type { Tokenizer } from "@heddle/tokenizers";
import { createEngine, type Engine, type EngineOptions } from "../engine.js";
import type { ServedModel } from "./served-model.js";
import { createServedTokenizer } from "./served-tokenizer.js";

/** How a loaded model is served; the engine's own limits are options too. */
export interface PrepareOptions extends Omit<EngineOptions, "decoder" | "tokenizer" | "endOfTextIds"> {
  /** The name under which clients ask for the model. */
  readonly id: string;
  /** Requests that run at the same time. Default 8. */
  readonly numSlots?: number;
  /** Most tokens of prompt and answer together. Default: the model's, but at most 2048; the cache grows with it. */
  readonly maxSeqLen?: number;
  /** Facts for the studio beside family and parameters. */
  readonly facts?: Readonly<Record<string, string | number>>;
}

/** A model with everything around it that serving takes. */
export interface PreparedModel {
  readonly engine: Engine;
  /** For `createApp`. */
  readonly model: ServedModel;
  /** Runs steps of every size once, so that the first requests need not compile. Call it before serving. */
  warmUp(): Promise<void>;
  /** Drains the engine, then frees the cache; the weights stay the caller's. */
  dispose(): Promise<void>;
}

/**
 * Prepares a loaded model for `createApp`: a decoder, an engine over it, and its description.
 *
 * @throws HeddleError "config" when the model has no tokenizer or a limit cannot work
 */
export function prepareModel(loaded: LoadedModel, options: PrepareOptions): PreparedModel {
  const { id, numSlots = 8, facts, maxSeqLen = Math.min(loaded.config.maxSeqLen, 2048), ...limits } = options;
  const { tokenizer } = loaded;
  if (tokenizer === undefined) {
    const message = `prepareModel: the model must have a tokenizer; got ${id} without one. Put its tokenizer.json or tokenizer.model beside the weights.`;
    throw new HeddleError("config", message, { id });
  }
  const servedTokenizer = createServedTokenizer(tokenizer);
  const decoder = createDecoder(loaded, { numSlots, maxSeqLen });
  const { eosTokenIds, sampling } = loaded.generationConfig;
  const engine = createEngine({ ...limits, decoder, tokenizer: servedTokenizer, endOfTextIds: eosTokenIds });
  const model: ServedModel = {
    id,
    tokenizer: servedTokenizer,
    ...chatOf(loaded.chatTemplate, tokenizer),
    defaults: sampling,
    createdSeconds: Math.floor(Date.now() / 1000),
    facts: { family: loaded.family, parameters: formatCount(countParameters(loaded)), ...facts },
  };
  return {
    engine,
    model,
    warmUp: () => runEverySize(decoder),
    async dispose() {
      await engine.drain({ timeoutMs: 0 });
      decoder.dispose();
    },
  };
}

function chatOf(
  template: string | undefined,
  { config: { roles = {} } }: Tokenizer,
): Pick<ServedModel, "chat"> {
  if (template === undefined) return {};
  const { bos, eos } = roles;
  return {
    chat: {
      template,
      ...(bos !== undefined && { bosToken: bos }),
      ...(eos !== undefined && { eosToken: eos }),
    },
  };
}

function countParameters({ weights }: LoadedModel): number {
  const { leaves } = flattenTree(weights);
  return leaves.reduce<number>((sum, leaf) => sum + (leaf instanceof Tensor ? leaf.size : 0), 0);
}

function formatCount(count: number): string {
  return new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 }).format(count);
}

/** Rows of every size for which plans are compiled, asking for one output and for several. */
async function runEverySize(decoder: Decoder): Promise<void> {
  for (let rows = 1; rows <= Math.min(64, decoder.maxSeqLen); rows *= 2) {
    const positions = Int32Array.from({ length: rows }, (_, position) => position);
    const zeros = new Int32Array(rows);
    for (const outputs of rows === 1 ? [[0]] : [[rows - 1], [0, rows - 1]]) {
      await decoder.step({ tokens: zeros, positions, slots: zeros, outputs: Int32Array.from(outputs) });
    }
  }
}
