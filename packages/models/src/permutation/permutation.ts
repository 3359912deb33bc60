import { attention } from "@heddle/attention";
import { sinusoidalTable, xlnet } from "@heddle/positional-encodings";
import {
  add,
  arange,
  concat,
  embedding,
  fillLike,
  linear,
  matmul,
  mul,
  scope,
  type Tensor,
} from "@heddle/tensor";
import { type Attend, asHeads } from "../blocks/attend.js";
import { joinHeads, splitHeads } from "../blocks/attention-block.js";
import { activate } from "../blocks/mlp.js";
import { normalize } from "../blocks/norm.js";
import { project } from "../blocks/project.js";
import { type Activations, type Inspection, type Inspector, inspectorOf } from "../inspection/inspect.js";
import type { PermutationConfig } from "./config.js";
import type { PermutationLayerWeights, PermutationWeights } from "./weights.js";

export interface PermutationInputs {
  /** Token ids, [B, T] i32. */
  readonly ids: Tensor;
  /** True for tokens, false for padding, [B, T] bool. Default: no padding. */
  readonly mask?: Tensor;
  /** Segment of each token, [B, T] i32. Default: segments are not told apart. */
  readonly typeIds?: Tensor;
  /** Not 0 where token i may not see token j, [B, T, T]: the order of factorisation. Default: every token sees every other. */
  readonly hidden?: Tensor;
  /** 1 at the place that each prediction is for, else 0, [B, M, T] float: the second stream. Default: the first stream's states. */
  readonly targets?: Tensor;
  /** What the layers remember of the text before, [B, R, E] each, as an earlier call returned it. Default: nothing. */
  readonly memories?: readonly Tensor[];
  /** Also return what goes in and out of each layer. */
  readonly keepLayers?: boolean;
  /** Values of the first stream to read or replace on the way. Default: none, at no cost. */
  readonly inspect?: Inspection | undefined;
  /** The same of the second stream, whose patterns and heads are those of every place, [B, H, T, ..]. */
  readonly inspectTargets?: Inspection | undefined;
}

export interface PermutationHidden {
  /** [B, T, E], or with targets those of the second stream, [B, M, E]. */
  readonly last: Tensor;
  /** Input of the first layer and output of each layer but the last; empty unless asked for. */
  readonly layers: readonly Tensor[];
  /** The last `memoryLen` inputs of each layer, without gradient. */
  readonly memories: readonly Tensor[];
  /** The values that `inspect` and `inspectTargets` asked to keep. */
  readonly activations?: Activations;
  readonly targetActivations?: Activations;
}

/** Logits of every token's place [B, T, V], or of the targets [B, M, V]. The caller disposes them. */
export function permutationLogits(
  config: PermutationConfig,
  weights: PermutationWeights,
  inputs: PermutationInputs,
): Tensor {
  return scope(inputs.ids.device, () =>
    permutationUnembed(weights, permutationHidden(config, weights, inputs).last),
  );
}

/** Logits of hidden states: [.., E] -> [.., V]. */
export function permutationUnembed(weights: PermutationWeights, hidden: Tensor): Tensor {
  return linear(hidden, weights.unembedding ?? weights.embedding, weights.unembeddingBias);
}

/**
 * A permutation language model: tokens see those before them in an order of factorisation, whatever their places. The first stream
 * sees each token itself; the second knows of a target only where it stands, so that it can predict it.
 *
 * @returns tensors that the caller disposes
 * @see Yang et al. 2019, XLNet, arXiv:1906.08237, sections 2.3 and 2.4
 */
export function permutationHidden(
  config: PermutationConfig,
  weights: PermutationWeights,
  inputs: PermutationInputs,
): PermutationHidden {
  const { ids, targets, memories, keepLayers = false } = inputs;
  const { device } = ids;
  return scope(device, () => {
    const call = describeCall(config, inputs);
    const layers: Tensor[] = [];
    const kept: Tensor[] = [];
    const first = inspectorOf(inputs.inspect);
    const second = inspectorOf(inputs.inspectTargets);
    const visit = (inspector: Inspector | undefined, layer: number, x: Tensor) =>
      inspector?.visit("residual", layer, x) ?? x;
    let content = visit(first, 0, embedding(ids, weights.embedding));
    let query =
      targets &&
      visit(
        second,
        0,
        weights.maskEmbedding.broadcastTo([ids.shape[0] ?? 1, targets.shape[1] ?? 1, config.modelDim]),
      );
    for (const [layer, own] of weights.layers.entries()) {
      if (keepLayers) layers.push(content);
      const memory = memories?.[layer];
      const seen = memory === undefined ? content : concat([memory, content], { axis: 1 });
      if (config.memoryLen > 0) kept.push(lastPlaces(seen, config.memoryLen).detach());
      const shared = { layer, seen, call };
      // What is kept of the layer has to outlive its scope.
      const next = scope(device, () => ({
        content: twoBlocks(config, own, { ...shared, x: content, see: call.content, inspector: first }),
        ...(query === undefined
          ? {}
          : {
              query: twoBlocks(config, own, {
                ...shared,
                x: query,
                see: call.query,
                targets,
                inspector: second,
              }),
            }),
        kept: [first?.activations, second?.activations],
      }));
      content = visit(first, layer + 1, next.content);
      query = next.query && visit(second, layer + 1, next.query);
    }
    return {
      last: query ?? content,
      layers,
      memories: kept,
      ...(first && { activations: first.activations }),
      ...(second && { targetActivations: second.activations }),
    };
  });
}

/** What all layers of a call share. */
interface Call {
  /** Sinusoids of distances, from the farthest past to the farthest future, [N, E]. */
  readonly distances: Tensor;
  /** Added to scores: 0 where a key is seen, a very small number else, [B, 1, T, S]; of the first and of the second stream. */
  readonly content: Tensor | undefined;
  readonly query: Tensor | undefined;
  /** 1 where query and key are of different segments, [B, T, S]. */
  readonly isOtherSegment: Tensor | undefined;
}

/** Leaves no weight where something else is seen, and the same weight to all where nothing is. */
const unseen = -1e30;

function describeCall({ modelDim, maxDistance }: PermutationConfig, inputs: PermutationInputs): Call {
  const { ids, mask, typeIds, hidden, memories } = inputs;
  const { device } = ids;
  const [B = 1, T = 1] = ids.shape;
  const memoryLen = memories?.[0]?.shape[1] ?? 0;
  const S = memoryLen + T;
  const limit = maxDistance ?? Number.POSITIVE_INFINITY;
  const distances = Array.from({ length: S + T }, (_, at) => Math.max(-limit, Math.min(limit, S - at)));
  const dtype = device.defaultFloat;
  const isHidden = [
    ...(hidden === undefined ? [] : [hidden.notEqual(0)]),
    ...(mask === undefined ? [] : [mask.logicalNot().expandDims(1).broadcastTo([B, T, T])]),
  ].reduce<Tensor | undefined>((all, one) => all?.logicalOr(one) ?? one, undefined);
  const withMemory = (x: Tensor) =>
    memoryLen === 0 ? x : concat([fillLike(x, 0, { shape: [B, T, memoryLen] }), x], { axis: 2 });
  const bias = (pairs: Tensor | undefined) =>
    pairs && mul(withMemory(pairs.cast(dtype)), unseen).expandDims(1);
  const places = arange(device, T);
  const isOther = places.reshape([T, 1]).notEqual(places.reshape([1, T]));
  return {
    distances: sinusoidalTable(device, distances, { modelDim, layout: "concat" }),
    content: bias(isHidden?.logicalAnd(isOther)), // a token always sees itself
    query: bias(isHidden),
    isOtherSegment: typeIds && otherSegments(typeIds, memoryLen),
  };
}

/** Remembered tokens count as segment 0. */
function otherSegments(typeIds: Tensor, memoryLen: number): Tensor {
  const [B = 1] = typeIds.shape;
  const keys =
    memoryLen === 0
      ? typeIds
      : concat([fillLike(typeIds, 0, { shape: [B, memoryLen] }), typeIds], { axis: 1 });
  return typeIds.expandDims(2).notEqual(keys.expandDims(1));
}

interface StreamInput {
  /** The stream, [B, T, E] or [B, M, E]. */
  readonly x: Tensor;
  /** What keys and values are made of, [B, S, E]. */
  readonly seen: Tensor;
  readonly call: Call;
  readonly layer: number;
  readonly see: Tensor | undefined;
  readonly targets?: Tensor | undefined;
  readonly inspector: Inspector | undefined;
}

/** Attention and feed-forward of one stream, each normed with what it adds to. */
function twoBlocks(config: PermutationConfig, weights: PermutationLayerWeights, input: StreamInput): Tensor {
  const { norm, activation } = config;
  const { x, layer, inspector } = input;
  const added = (block: "attention" | "mlp", change: Tensor) =>
    inspector?.visit(block, layer, change) ?? change;
  const seen = added("attention", attend(config, weights, input));
  const attended = normalize(norm, weights.attentionNorm, add(x, seen));
  const fed = added("mlp", project(weights.down, activate(activation, project(weights.up, attended))));
  return normalize(norm, weights.mlpNorm, add(attended, fed));
}

function attend(
  { numHeads, headDim }: PermutationConfig,
  { attention: own }: PermutationLayerWeights,
  { x, seen, call, layer, see, targets, inspector }: StreamInput,
): Tensor {
  const flat = (weight: Tensor) => weight.reshape([weight.shape[0] ?? 1, numHeads * headDim]);
  const asked = matmul(x, flat(own.query));
  // A target's query is asked from the place that it stands for.
  const placed = targets === undefined ? asked : matmul(targets.transpose(), asked);
  const query = splitHeads(placed, numHeads, headDim);
  const key = splitHeads(matmul(seen, flat(own.key)), numHeads, headDim);
  const value = splitHeads(matmul(seen, flat(own.value)), numHeads, headDim);
  const relativeKeys = matmul(call.distances.cast(x.dtype), flat(own.distance))
    .reshape([-1, numHeads, headDim])
    .transpose([1, 0, 2]);
  const { isOtherSegment } = call;
  const encoding = xlnet(own, { relativeKeys, ...(isOtherSegment === undefined ? {} : { isOtherSegment }) });
  const plain: Attend = (_, inputs) => {
    const { query_BHTD, key_BGTD, value_BGTD, scale: by } = asHeads(inputs);
    const [queryLen = 1, keyLen = 1] = [query_BHTD.shape[2], key_BGTD.shape[2]];
    const terms = encoding.scores(query_BHTD, key_BGTD, { queryLen, keyLen });
    const bias = see === undefined ? terms : add(terms, see);
    return attention(query_BHTD, key_BGTD, value_BGTD, { bias, scale: by });
  };
  const through = inspector?.attending(plain) ?? plain;
  const given = through(layer, {
    kind: "heads",
    query_BHTD: query,
    key_BGTD: key,
    value_BGTD: value,
    scale: encoding.scale(headDim),
  });
  const heads = joinHeads(given);
  const gathered = targets === undefined ? heads : matmul(targets, heads);
  return linear(gathered, flat(own.output));
}

function lastPlaces(x: Tensor, count: number): Tensor {
  const length = x.shape[1] ?? 0;
  return x.narrow(1, Math.max(0, length - count), length);
}
