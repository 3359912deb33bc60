import { heatMapSvg } from "@heddle/attention";
import {
  attentionPatterns,
  createDecoder,
  type Decoder,
  type LoadedModel,
  readLogitLens,
} from "@heddle/models";
import { flattenTree, HeddleError, Tensor } from "@heddle/tensor";
import type { Tokenizer } from "@heddle/tokenizers";
import { createEngine, type Engine, type EngineOptions } from "../engine.js";
import type { AttentionView, ServedModel } from "./served-model.js";
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
    attention: attentionOf(loaded),
    lens: {
      numLayers: loaded.config.numLayers,
      read: (ids, { top }) => readLogitLens(loaded, ids, { top }),
    },
    createdSeconds: Math.floor(Date.now() / 1000),
    facts: { family: loaded.family, parameters: formatCount(countParameters(loaded)), ...facts },
  };
  return {
    engine,
    model,
    warmUp: () =>
      decoder.feedPrefix === undefined ? runEverySize(decoder) : runPrompts(decoder, loaded.config.span),
    async dispose() {
      await engine.drain({ timeoutMs: 0 });
      decoder.dispose();
    },
  };
}

function attentionOf(loaded: LoadedModel): AttentionView {
  const { numLayers, numHeads } = loaded.config;
  return {
    numLayers,
    numHeads,
    async picture(ids, { layer, head, labels }) {
      const map = (await attentionPatterns(loaded, ids, { layer, labels }))[head];
      if (map !== undefined) return heatMapSvg({ ...map, title: `layer ${layer}, head ${head}` });
      const message = `attention: head must be below ${numHeads}; got head ${head}. Heads are counted from 0.`;
      throw new HeddleError("config", message, { head, numHeads });
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

/** Tokens of one slot that a decoder does not take for a chunk of a prompt, and the lengths that it does. */
const MAX_LOOSE_TOKENS = 31;
const CHUNK_LENGTHS = [32, 128];

/** Runs steps of every size for which a decoder compiles plans, asking for one output and for several. */
async function runEverySize(decoder: Decoder): Promise<void> {
  const { numSlots, maxSeqLen } = decoder;
  const perSlot = Math.min(MAX_LOOSE_TOKENS, maxSeqLen);
  for (let rows = 1; rows < 2 * numSlots * perSlot && rows <= 128; rows *= 2) {
    const count = Math.min(rows, numSlots * perSlot);
    const slotsUsed = Math.ceil(count / perSlot);
    const length = Math.ceil(count / slotsUsed);
    await runRows(decoder, count, (row) => ({ slot: Math.floor(row / length), position: row % length }));
  }
  for (const length of CHUNK_LENGTHS.filter((chunk) => chunk <= maxSeqLen))
    await runRows(decoder, length, (position) => ({ slot: 0, position }));
}

/** The same for a decoder that reads prompts whole: prompts up to 128 tokens, and a step of any number of slots. */
async function runPrompts(decoder: Decoder, span: LoadedModel["config"]["span"]): Promise<void> {
  const { numSlots, maxSeqLen } = decoder;
  const ending = span === undefined ? [0] : [span.markIds[0] ?? 0, span.startId];
  const most = Math.min(128, maxSeqLen - 1);
  for (let length = ending.length; length <= most; length *= 2)
    await decoder.feedPrefix?.([...new Int32Array(length - ending.length), ...ending], 0);
  for (let slot = 0; slot < numSlots; slot++) await decoder.feedPrefix?.(ending, slot);
  for (let rows = 1; rows < 2 * numSlots; rows *= 2)
    await runRows(decoder, Math.min(rows, numSlots), (slot) => ({ slot, position: ending.length }));
}

async function runRows(
  decoder: Decoder,
  count: number,
  placeOf: (row: number) => { readonly slot: number; readonly position: number },
): Promise<void> {
  const places = Array.from({ length: count }, (_, row) => placeOf(row));
  for (const outputs of count === 1 ? [[0]] : [[count - 1], [0, count - 1]]) {
    const batch = {
      tokens: new Int32Array(count),
      positions: Int32Array.from(places, ({ position }) => position),
      slots: Int32Array.from(places, ({ slot }) => slot),
      outputs: Int32Array.from(outputs),
    };
    if (decoder.choose === undefined) {
      await decoder.step(batch);
      continue;
    }
    // The most likely token, and a drawn one.
    for (const temperature of [0, 1])
      await decoder.choose(
        batch,
        outputs.map(() => ({ temperature, draw: 0.5 })),
      );
  }
}
