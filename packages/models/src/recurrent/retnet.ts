import { ropeFrequencies, rotary } from "@heddle/positional-encodings";
import { add, gelu, layerNorm, mul, silu, type Tensor } from "@heddle/tensor";
import type { MakeWeight } from "../architecture.js";
import { joinHeads, project, splitHeads } from "../blocks/attention-block.js";
import { normalize } from "../blocks/norm.js";
import type { NormConfig } from "../config.js";
import { buildLinear, buildNorm, type LinearWeights, type NormWeights } from "../weights.js";
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
  readonly mlp: { readonly up: LinearWeights; readonly down: LinearWeights };
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
    mlp: { up: linear("mlp.up", [ffnDim, modelDim]), down: linear("mlp.down", [modelDim, ffnDim]) },
  };
}

/**
 * One RetNet layer: x + gated multi-scale retention(norm(x)), then x + feed-forward(norm(x)).
 *
 * Shapes: x [B, T, E], positions [T] or [B, T] i32 -> [B, T, E].
 * @param options.chunk  tokens worked on at once; see `retention`
 * @see Sun et al. 2023, Retentive Network, arXiv:2307.08621, section 2.2. Differs from the paper's code: the divisors that the norm
 * of each head cancels are left out
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
  const { numHeads, valueDim } = mixer;
  const { retention: mix, mlp } = weights;
  const headDim = (x.shape.at(-1) ?? 1) / numHeads;
  const frequencies = ropeFrequencies({ rotaryDim: headDim, theta: 10_000 });
  const turn = (heads: Tensor) => rotary(heads, { positions, frequencies, layout: "interleaved" });
  const normed = normalize(norm, weights.attentionNorm, x);
  const heads = (linear: LinearWeights, dim: number) => splitHeads(project(linear, normed), numHeads, dim);
  const { out, state: retained } = retention(
    {
      query: turn(heads(mix.query, headDim)),
      key: turn(heads(mix.key, headDim)).mul(headDim ** -0.5),
      value: heads(mix.value, valueDim),
    },
    { decays: retentionDecays(numHeads), ...(chunk === undefined ? {} : { chunk }), state: state?.retained },
  );
  const levelled = joinHeads(layerNorm(out, { eps: norm.eps }));
  const mixed = project(mix.output, mul(silu(project(mix.gate, normed)), levelled));
  const attended = add(x, added("attention", mixed));
  const fed = project(mlp.down, gelu(project(mlp.up, normalize(norm, weights.mlpNorm, attended))));
  return { out: add(attended, added("mlp", fed)), state: { retained } };
}

/** The paper's decays: 1 - 2^(-5 - h). */
export function retentionDecays(numHeads: number): readonly number[] {
  return Array.from({ length: numHeads }, (_, head) => 1 - 2 ** (-5 - head));
}
