import { arange, embedding, invariant, linear, scope, type Tensor } from "@heddle/tensor";
import { normalize } from "../blocks/norm.js";
import {
  type ActivationPoint,
  type Activations,
  checkPoints,
  type Inspection,
  inspectorOf,
} from "../inspection/inspect.js";
import { buildNorm, type MakeWeight, type NormWeights } from "../weights.js";
import type { RecurrentConfig } from "./config.js";
import {
  buildGroupedSelective,
  buildSelective,
  type GroupedSelectiveWeights,
  groupedSelectiveMixer,
  type Mixed,
  type MixerInput,
  type SelectiveState,
  type SelectiveWeights,
  selectiveMixer,
  selectiveStateShapes,
} from "./mamba.js";
import {
  buildRetNet,
  type RetentionState,
  type RetNetWeights,
  retentionStateShapes,
  retNetLayer,
} from "./retnet.js";
import { buildWkv, type WkvState, type WkvWeights, wkvLayer, wkvStateShapes } from "./rwkv.js";
import { noExponent } from "./wkv-scan.js";

/** Weights of one layer, of the kind of the mixer. */
export interface RecurrentLayerWeights {
  /** Before a selective mixer. */
  readonly norm?: NormWeights;
  readonly selective?: SelectiveWeights;
  readonly groupedSelective?: GroupedSelectiveWeights;
  readonly wkv?: WkvWeights;
  readonly retention?: RetNetWeights;
}

export interface RecurrentWeights {
  /** [V, E] */
  readonly embedding: Tensor;
  readonly embeddingNorm?: NormWeights;
  readonly layers: readonly RecurrentLayerWeights[];
  readonly norm: NormWeights;
  /** [V, E]; absent where the embedding is used. */
  readonly unembedding?: Tensor;
}

/** What one layer remembers of the texts of a batch: tensors [B, ..] by name. */
export type LayerState = Readonly<Record<string, Tensor>>;

/** All that is remembered, whatever the length of the texts. */
export interface RecurrentState {
  readonly layers: readonly LayerState[];
}

export interface RecurrentInputs {
  /** [B, T] i32 */
  readonly ids: Tensor;
  /** Where an earlier call stopped. Default: the beginning of the texts. */
  readonly state?: RecurrentState;
  /** Position of each token in its text, [B, T] i32; retention turns by it. Default 0..T-1. */
  readonly positions?: Tensor;
  /** 1 for tokens, 0 for padding on the left, [B, T] float. Selective mixers only. Default: no padding. */
  readonly isToken?: Tensor;
  /** Tokens that retention works on at once. Default T. */
  readonly chunk?: number;
  /** Also return what goes in and out of each layer. */
  readonly keepLayers?: boolean;
  /** Values to read or replace on the way: the stream, and what blocks add to it. Default: none, at no cost. */
  readonly inspect?: Inspection | undefined;
}

export interface RecurrentHidden {
  /** After the last norm, [B, T, E]. */
  readonly last: Tensor;
  /** The embeddings and the output of each layer, [B, T, E] each; empty unless asked for. */
  readonly layers: readonly Tensor[];
  readonly state: RecurrentState;
  /** The values that `inspect` asked to keep. */
  readonly activations?: Activations;
}

/** Builds the tree that a configuration calls for. */
export function buildRecurrentWeights(config: RecurrentConfig, make: MakeWeight): RecurrentWeights {
  const { vocabSize, modelDim, norm, embedding } = config;
  return {
    embedding: make("embedding", [vocabSize, modelDim]),
    ...(embedding?.hasNorm ? { embeddingNorm: buildNorm(norm, make, "embeddingNorm", modelDim) } : {}),
    layers: Array.from({ length: config.numLayers }, (_, layer) =>
      buildLayer(config, make, `layers.${layer}`),
    ),
    norm: buildNorm(norm, make, "norm", modelDim),
    ...(config.tieEmbeddings ? {} : { unembedding: make("unembedding", [vocabSize, modelDim], "matrix") }),
  };
}

function buildLayer(
  { mixer, norm, modelDim }: RecurrentConfig,
  make: MakeWeight,
  path: string,
): RecurrentLayerWeights {
  const own = { path, modelDim, norm };
  const before = () => ({ norm: buildNorm(norm, make, `${path}.norm`, modelDim) });
  switch (mixer.kind) {
    case "selective":
      return { ...before(), selective: buildSelective(mixer, make, { ...own, path: `${path}.selective` }) };
    case "grouped-selective":
      return {
        ...before(),
        groupedSelective: buildGroupedSelective(mixer, make, { ...own, path: `${path}.groupedSelective` }),
      };
    case "wkv":
      return { wkv: buildWkv(mixer, make, { ...own, path: `${path}.wkv` }) };
    case "retention":
      return { retention: buildRetNet(mixer, make, { ...own, path: `${path}.retention` }) };
    default:
      return mixer satisfies never;
  }
}

/** Shape, without the batch, of what each layer remembers, and the values that it begins with. */
export function layerStateShapes({
  mixer,
  modelDim,
}: RecurrentConfig): Readonly<
  Record<string, { readonly shape: readonly number[]; readonly fill: (at: number) => number }>
> {
  const zero = (shapes: Readonly<Record<string, readonly number[]>>) =>
    Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, { shape, fill: () => 0 }]));
  switch (mixer.kind) {
    case "selective":
    case "grouped-selective":
      return zero(selectiveStateShapes(mixer));
    case "wkv": {
      const shapes = wkvStateShapes(mixer, modelDim);
      const fill = (at: number) => (at >= 2 * mixer.innerDim ? noExponent : 0);
      return { ...zero(shapes), scan: { shape: shapes.scan, fill } };
    }
    case "retention":
      return zero(retentionStateShapes(mixer, modelDim));
    default:
      return mixer satisfies never;
  }
}

/**
 * A recurrent language model: embedding -> layers -> norm -> unembedding.
 *
 * Shapes: ids [B, T] -> logits [B, T, V]. Weights and inputs are borrowed; the caller disposes the logits.
 */
export function recurrentLogits(
  config: RecurrentConfig,
  weights: RecurrentWeights,
  inputs: RecurrentInputs,
): Tensor {
  return scope(inputs.ids.device, () =>
    linear(recurrentHidden(config, weights, inputs).last, weights.unembedding ?? weights.embedding),
  );
}

/**
 * A recurrent model up to its last norm, and what it remembers then: going on from there gives what the whole text would.
 *
 * @returns tensors that the caller disposes
 */
export function recurrentHidden(
  config: RecurrentConfig,
  weights: RecurrentWeights,
  inputs: RecurrentInputs,
): RecurrentHidden {
  const { ids, state, keepLayers = false, inspect } = inputs;
  if (inspect !== undefined) checkPoints(`a ${config.family} model`, inspect, pointsOf(config));
  const { device } = ids;
  return scope(device, () => {
    const positions = inputs.positions ?? arange(device, ids.shape[1] ?? 1);
    const layers: Tensor[] = [];
    const states: LayerState[] = [];
    const table = embedding(ids, weights.embedding);
    const embedded = config.embedding?.scale === undefined ? table : table.mul(config.embedding.scale);
    const inspector = inspectorOf(inspect);
    const visit = (layer: number, stream: Tensor) => inspector?.visit("residual", layer, stream) ?? stream;
    let x = visit(
      0,
      weights.embeddingNorm === undefined
        ? embedded
        : normalize(config.norm, weights.embeddingNorm, embedded),
    );
    if (keepLayers) layers.push(embedded);
    for (const [layer, layerWeights] of weights.layers.entries()) {
      const added: MixerInput<LayerState>["added"] = (block, change) =>
        inspector?.visit(block, layer, change) ?? change;
      const input = { ...inputs, positions, x, state: state?.layers[layer], added };
      // What is kept of the layer has to outlive its scope.
      const mixed = scope(device, () => ({
        ...recurrentLayer(config, layerWeights, input),
        kept: inspector?.activations,
      }));
      x = visit(layer + 1, mixed.out);
      if (keepLayers) layers.push(x);
      states.push(mixed.state);
    }
    const last = normalize(config.norm, weights.norm, x);
    const activations = inspector === undefined ? {} : { activations: inspector.activations };
    return { last, layers, state: { layers: states }, ...activations };
  });
}

/** Selective layers mix tokens and features in one block. */
function pointsOf({ mixer }: RecurrentConfig): readonly ActivationPoint[] {
  const isOneBlock = mixer.kind === "selective" || mixer.kind === "grouped-selective";
  return isOneBlock ? ["residual", "attention"] : ["residual", "attention", "mlp"];
}

type LayerInput = Pick<RecurrentInputs, "isToken" | "chunk"> & {
  readonly x: Tensor;
  readonly added: MixerInput<LayerState>["added"];
  readonly positions: Tensor;
  readonly state: LayerState | undefined;
};

function recurrentLayer(
  { mixer, norm }: RecurrentConfig,
  weights: RecurrentLayerWeights,
  input: LayerInput,
): Mixed<LayerState> {
  const { x } = input;
  const behindNorm = <State extends LayerState>(mix: (normed: Tensor) => Mixed<State>): Mixed<LayerState> => {
    invariant(weights.norm, "a selective layer has a norm");
    const { out, state } = mix(normalize(norm, weights.norm, x));
    return { out: x.add(input.added("attention", out)), state };
  };
  switch (mixer.kind) {
    case "selective": {
      const own = weights.selective;
      invariant(own, "the layer has selective weights");
      const state = input.state as SelectiveState | undefined;
      return behindNorm((normed) => selectiveMixer(mixer, own, { ...input, x: normed, state }));
    }
    case "grouped-selective": {
      const own = weights.groupedSelective;
      invariant(own, "the layer has selective weights");
      const state = input.state as SelectiveState | undefined;
      return behindNorm((normed) =>
        groupedSelectiveMixer(mixer, own, { ...input, x: normed, state, eps: norm.eps }),
      );
    }
    case "wkv":
      invariant(weights.wkv, "the layer has WKV weights");
      return wkvLayer(norm, weights.wkv, {
        x,
        state: input.state as WkvState | undefined,
        added: input.added,
      });
    case "retention":
      invariant(weights.retention, "the layer has retention weights");
      return retNetLayer({ mixer, norm }, weights.retention, {
        ...input,
        state: input.state as RetentionState | undefined,
      });
    default:
      return mixer satisfies never;
  }
}
