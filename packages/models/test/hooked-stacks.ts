import type { FileSource } from "@heddle/checkpoints";
import { type Device, disposeTree, type Tensor } from "@heddle/tensor";
import type { TokenRows } from "../src/architecture.js";
import { type DecoderConfig, layerConfig } from "../src/config.js";
import { batchInputs } from "../src/decoder/batch-inputs.js";
import { decoderHidden } from "../src/decoder/decoder.js";
import { decoder } from "../src/decoder/decoder-architecture.js";
import { encoderHidden } from "../src/encoder/encoder.js";
import { encoder, encoderInputs } from "../src/encoder/encoder-architecture.js";
import {
  type ActivationPoint,
  type Activations,
  activationsOf,
  type Inspection,
} from "../src/inspection/inspect.js";
import { loadModelOf } from "../src/loading/load-model.js";
import { permutationHidden } from "../src/permutation/permutation.js";
import { permutation } from "../src/permutation/permutation-architecture.js";
import { recurrentHidden } from "../src/recurrent/recurrent.js";
import { recurrent } from "../src/recurrent/recurrent-architecture.js";
import { type Seq2SeqInspection, seq2seqHidden } from "../src/seq2seq/seq2seq.js";
import { seq2seq, seq2seqInputs } from "../src/seq2seq/seq2seq-architecture.js";
import { tokenGrid } from "../src/token-grid.js";
import { packedExpected } from "./packed-golden.js";
import { permutedInputs } from "./permuted-inputs.js";

/** Layers of a model that can be looked into, with the inputs that they are run on. */
export interface HookedStack {
  readonly name: string;
  readonly numLayers: number;
  /** The points that it has, with the shape of a layer's value. */
  shapesOf(layer: number): Partial<Readonly<Record<ActivationPoint, readonly number[]>>>;
  /** Logits of the whole model; the caller disposes them. */
  logits(inspection?: Inspection): Tensor;
  read(inspection: Inspection): Activations;
}

/** A model with every stack of it; `dispose` frees both. */
export interface HookedModel {
  readonly stacks: readonly HookedStack[];
  dispose(): void;
}

interface Load {
  readonly source: FileSource;
  readonly device: Device;
  readonly rows: TokenRows;
}

/** Loads a model of each architecture, by the architecture's name, and uploads its inputs. */
export const hookedModels: Readonly<Record<string, (load: Load) => Promise<HookedModel>>> = {
  async [decoder.name]({ source, device, rows }) {
    const model = await loadModelOf(decoder, source, { device });
    const { config, weights } = model;
    const { dispose, ...inputs } = batchInputs(model, rows.ids);
    const [B = 0, T = 0] = inputs.ids.shape;
    const stack: HookedStack = {
      name: "decoder",
      numLayers: config.numLayers,
      shapesOf: (layer) => attendingShapes(config, layer, { B, T }),
      logits: (inspect) => model.forward({ ...inputs, inspect }),
      read: (inspect) => activationsOf(device, () => decoderHidden(config, weights, { ...inputs, inspect })),
    };
    return { stacks: [stack], dispose: both(dispose, model.dispose) };
  },

  async [encoder.name]({ source, device, rows }) {
    const model = await loadModelOf(encoder, source, { device });
    const { config, weights } = model;
    const { dispose, ...inputs } = encoderInputs(model, rows);
    const [B = 0, T = 0] = inputs.ids.shape;
    const stack: HookedStack = {
      name: "encoder",
      numLayers: config.numLayers,
      shapesOf: (layer) => attendingShapes(config, layer, { B, T }),
      logits: (inspect) => model.forward({ ...inputs, inspect }),
      read: (inspect) => activationsOf(device, () => encoderHidden(config, weights, { ...inputs, inspect })),
    };
    return { stacks: [stack], dispose: both(dispose, model.dispose) };
  },

  async [recurrent.name]({ source, device, rows }) {
    const model = await loadModelOf(recurrent, source, { device });
    const { config, weights } = model;
    const ids = tokenGrid(device, rows.ids);
    const stream = [...ids.shape, config.modelDim];
    const hasMlp = config.mixer.kind === "wkv" || config.mixer.kind === "retention";
    const stack: HookedStack = {
      name: "recurrent",
      numLayers: config.numLayers,
      shapesOf: () => ({ residual: stream, attention: stream, ...(hasMlp ? { mlp: stream } : {}) }),
      logits: (inspect) => model.forward({ ids, inspect }),
      read: (inspect) => activationsOf(device, () => recurrentHidden(config, weights, { ids, inspect })),
    };
    return { stacks: [stack], dispose: () => disposeTree([ids, weights]) };
  },

  async [permutation.name]({ source, device, rows }) {
    const model = await loadModelOf(permutation, source, { device });
    const { config, weights } = model;
    const ids = tokenGrid(device, rows.ids);
    const permuted = permutedInputs(device, packedExpected("xlnet"));
    const shapes = ([B = 0, T = 0]: readonly number[], M = T) => {
      const heads = [B, config.numHeads, T, config.headDim];
      const stream = [B, M, config.modelDim];
      const outer = { residual: stream, attention: stream, mlp: stream };
      return { ...outer, query: heads, key: heads, value: heads, pattern: [B, config.numHeads, T, T], heads };
    };
    const first: HookedStack = {
      name: "first stream",
      numLayers: config.numLayers,
      shapesOf: () => shapes(ids.shape),
      logits: (inspect) => model.forward({ ids, inspect }),
      read: (inspect) => activationsOf(device, () => permutationHidden(config, weights, { ids, inspect })),
    };
    const second: HookedStack = {
      name: "second stream",
      numLayers: config.numLayers,
      shapesOf: () => shapes(permuted.ids.shape, permuted.targets.shape[1]),
      logits: (inspectTargets) => model.forward({ ...permuted, inspectTargets }),
      read: (inspectTargets) =>
        activationsOf(device, () => {
          const { targetActivations = {} } = permutationHidden(config, weights, {
            ...permuted,
            inspectTargets,
          });
          return { activations: targetActivations };
        }),
    };
    return { stacks: [first, second], dispose: () => disposeTree([ids, permuted, weights]) };
  },

  async [seq2seq.name]({ source, device, rows }) {
    const model = await loadModelOf(seq2seq, source, { device });
    const { config, weights } = model;
    const { dispose, ...inputs } = seq2seqInputs(model, rows);
    const [B = 0, T = 0] = inputs.ids.shape;
    const S = config.source.kind === "frames" ? config.encoder.maxSeqLen : (inputs.source.shape[1] ?? 0);
    const part = (
      name: keyof Seq2SeqInspection,
      { stack, lengths }: { stack: DecoderConfig; lengths: { T: number; S?: number } },
    ): HookedStack => ({
      name,
      numLayers: stack.numLayers,
      shapesOf(layer) {
        const { residual, mlp, ...between } = attendingShapes(stack, layer, { B, ...lengths });
        return name === "cross" ? between : { ...between, residual, mlp };
      },
      logits: (inspection) =>
        model.forward({ ...inputs, ...(inspection && { inspect: { [name]: inspection } }) }),
      read: (inspection) =>
        activationsOf(device, () => {
          const hidden = seq2seqHidden(config, weights, { ...inputs, inspect: { [name]: inspection } });
          const activations = name === "cross" ? hidden.decoder.cross : hidden[name].activations;
          return { activations: activations ?? {} };
        }),
    });
    const stacks = [
      part("encoder", { stack: config.encoder, lengths: { T: S } }),
      part("decoder", { stack: config.decoder, lengths: { T } }),
      part("cross", { stack: config.decoder, lengths: { T, S } }),
    ];
    return { stacks, dispose: both(dispose, model.dispose) };
  },
};

function both(freeInputs: () => void, freeModel: () => void): () => void {
  return () => {
    freeInputs();
    freeModel();
  };
}

/** Shapes of every point of a layer whose T tokens attend to S, by default to each other. */
function attendingShapes(
  config: DecoderConfig,
  layer: number,
  { B, T, S = T }: { readonly B: number; readonly T: number; readonly S?: number },
) {
  const { numHeads: H, headDim: D, modelDim: E } = config;
  const { numKvHeads, attention } = layerConfig(config, layer);
  const { latent } = attention;
  const [G, Dv] = latent === undefined ? [numKvHeads, D] : [H, latent.valueDim];
  const stream = [B, T, E];
  return {
    residual: stream,
    attention: stream,
    mlp: stream,
    query: [B, H, T, D],
    key: [B, G, S, D],
    value: [B, G, S, Dv],
    pattern: [B, H, T, S],
    heads: [B, H, T, Dv],
  };
}
