import { rotary } from "@heddle/positional-encodings";
import { add, exp, fillLike, mul, rmsNorm, silu, type Tensor, tensor } from "@heddle/tensor";
import { joinHeads, splitHeads } from "../blocks/attention-block.js";
import { feedForward } from "../blocks/mlp.js";
import { normalize } from "../blocks/norm.js";
import { project } from "../blocks/project.js";
import type { NormConfig } from "../config.js";
import {
  buildLinear,
  buildNorm,
  type LinearWeights,
  type MakeWeight,
  type MlpWeights,
  type NormWeights,
} from "../weights.js";
import type { RetentionMixer } from "./config.js";
import type { Mixed, MixerInput } from "./mamba.js";
import { retention } from "./retention.js";

export interface RetNetWeights {
  readonly attentionNorm: NormWeights;
  readonly retention: {
    /** [E, E] */
    readonly query: LinearWeights;
    /** [E, E] */
    readonly key: LinearWeights;
    /** [H Dv, E] */
    readonly value: LinearWeights;
    /** [H Dv, E] */
    readonly gate: LinearWeights;
    /** [E, H Dv] */
    readonly output: LinearWeights;
  };
  readonly mlpNorm: NormWeights;
  readonly mlp: MlpWeights;
}

/** What a layer remembers, [B, H, D, Dv]. */
export type RetentionState = {
  readonly retained: Tensor;
};

export function retentionStateShapes(
  { numHeads, valueDim }: RetentionMixer,
  modelDim: number,
): Record<keyof RetentionState, readonly number[]> {
  return { retained: [numHeads, modelDim / numHeads, valueDim] };
}

export function buildRetNet(
  { numHeads, valueDim, ffnDim }: RetentionMixer,
  make: MakeWeight,
  { path, modelDim, norm }: { readonly path: string; readonly modelDim: number; readonly norm: NormConfig },
): RetNetWeights {
  const linear = (name: string, shape: readonly number[]) =>
    buildLinear(make, `${path}.${name}`, { shape, hasBias: false });
  const width = numHeads * valueDim;
  return {
    attentionNorm: buildNorm(norm, make, `${path}.attentionNorm`, modelDim),
    retention: {
      query: linear("retention.query", [modelDim, modelDim]),
      key: linear("retention.key", [modelDim, modelDim]),
      value: linear("retention.value", [width, modelDim]),
      gate: linear("retention.gate", [width, modelDim]),
      output: linear("retention.output", [modelDim, width]),
    },
    mlpNorm: buildNorm(norm, make, `${path}.mlpNorm`, modelDim),
    mlp: {
      gate: linear("mlp.gate", [ffnDim, modelDim]),
      up: linear("mlp.up", [ffnDim, modelDim]),
      down: linear("mlp.down", [modelDim, ffnDim]),
    },
  };
}

/**
 * One RetNet layer: x + gated multi-scale retention(norm(x)), then x + feed-forward(norm(x)).
 *
 * Shapes: x [B, T, E], positions [T] or [B, T] i32 -> [B, T, E].
 * @param options.chunk  tokens worked on at once; see `retention`
 * @see Sun et al. 2023, Retentive Network, arXiv:2307.08621, section 2.2, as TorchScale computes it in its recurrent form: outputs are
 * divided by the root of what a head keeps of all tokens so far. Its parallel form divides once more, which the norm of each head
 * cancels but for `eps`
 */
export function retNetLayer(
  { mixer, norm }: { readonly mixer: RetentionMixer; readonly norm: NormConfig },
  weights: RetNetWeights,
  {
    x,
    state,
    positions,
    chunk,
    added,
  }: MixerInput<RetentionState> & { readonly positions: Tensor; readonly chunk?: number | undefined },
): Mixed<RetentionState> {
  const { numHeads, valueDim, activation } = mixer;
  const { retention: mix, mlp } = weights;
  const headDim = (x.shape.at(-1) ?? 1) / numHeads;
  const turn = (heads: Tensor) => {
    const frequencies = { inverseFrequencies: retentionAngles(headDim), attentionScale: 1 };
    return rotary(heads, { positions, frequencies, layout: "interleaved" });
  };
  const normed = normalize(norm, weights.attentionNorm, x);
  const heads = (linear: LinearWeights, dim: number) => splitHeads(project(linear, normed), numHeads, dim);
  const decays = retentionDecays(numHeads);
  const { out, state: retained } = retention(
    {
      query: turn(heads(mix.query, headDim)),
      key: turn(heads(mix.key, headDim)).mul(headDim ** -0.5),
      value: heads(mix.value, valueDim),
    },
    { decays, ...(chunk === undefined ? {} : { chunk }), state: state?.retained },
  );
  const unit = fillLike(out, 1, { shape: [valueDim] });
  const levelled = joinHeads(rmsNorm(mul(out, keptOf(positions, decays, out)), unit, { eps: norm.eps }));
  const mixed = project(mix.output, mul(silu(project(mix.gate, normed)), levelled));
  const attended = add(x, added("attention", mixed));
  const block = { kind: "gated", activation, hasBias: false } as const;
  const fed = feedForward(block, mlp, normalize(norm, weights.mlpNorm, attended));
  return { out: add(attended, added("mlp", fed)), state: { retained } };
}

/** One over the root of decay^0 + .. + decay^position = (1 - decay^(position + 1)) / (1 - decay), [B or 1, H, T, 1]. */
function keptOf(positions: Tensor, decays: readonly number[], { device, dtype }: Tensor): Tensor {
  const perHead = (value: (decay: number) => number) =>
    tensor(device, decays.map(value), { shape: [decays.length, 1, 1], dtype });
  const count = positions
    .cast(dtype)
    .add(1)
    .reshape([-1, 1, positions.shape.at(-1) ?? 1, 1]);
  const fade = exp(count.mul(perHead(Math.log)));
  return fade
    .neg()
    .add(1)
    .mul(perHead((decay) => 1 / (1 - decay)))
    .sqrt()
    .reciprocal();
}

/** Angles a token, [D / 2]: evenly spread in the exponent with both ends, unlike those of rotary embeddings. */
function retentionAngles(headDim: number): Float64Array {
  const last = Math.max(headDim / 2 - 1, 1);
  return Float64Array.from({ length: headDim / 2 }, (_, at) => 10_000 ** -(at / last));
}

/** The paper's decays: 1 - 2^(-5 - h). */
export function retentionDecays(numHeads: number): readonly number[] {
  return Array.from({ length: numHeads }, (_, head) => 1 - 2 ** (-5 - head));
}
