import { clamp, exp, invariant, mul, neg, rmsNorm, silu, type Tensor } from "@heddle/tensor";
import { project } from "../blocks/project.js";
import { buildLinear, type LinearWeights, type MakeWeight } from "../weights.js";
import { causalConv } from "./causal-conv.js";
import type { GroupedSelectiveMixer, SelectiveMixer } from "./config.js";
import { selectiveScan } from "./selective-scan.js";
import { softplus } from "./softplus.js";

/** The convolution of a selective mixer. */
interface ConvWeights {
  /** [C, 1, K] */
  readonly weight: Tensor;
  /** [C] */
  readonly bias?: Tensor;
}

export interface SelectiveWeights {
  /** Channels, then gates: [2 I, E]. */
  readonly input: LinearWeights;
  readonly conv: ConvWeights;
  /** What step sizes are made of, writes, reads: [rank + 2 N, I]. */
  readonly parameters: LinearWeights;
  /** [I, rank] */
  readonly step: LinearWeights;
  /** [I, N] */
  readonly logRate: Tensor;
  /** What passes by the state, [I]. */
  readonly skip: Tensor;
  readonly output: LinearWeights;
}

export interface GroupedSelectiveWeights {
  /** Gates, what is convolved (channels, writes, reads), step sizes: [2 I + 2 G N + H, E]. */
  readonly input: LinearWeights;
  readonly conv: ConvWeights;
  /** [H] */
  readonly stepBias: Tensor;
  /** [H] */
  readonly logRate: Tensor;
  /** [H] */
  readonly skip: Tensor;
  readonly norm: { readonly weight: Tensor };
  readonly output: LinearWeights;
}

/** What a selective layer remembers: the last inputs of its convolution [B, K - 1, C], and its state [B, I, N]. */
export type SelectiveState = {
  readonly conv: Tensor;
  readonly scan: Tensor;
};

export interface Mixed<State> {
  /** [B, T, E] */
  readonly out: Tensor;
  readonly state: State;
}

/** Shapes of what a layer remembers of one text. */
export function selectiveStateShapes(
  mixer: SelectiveMixer | GroupedSelectiveMixer,
): Record<keyof SelectiveState, readonly number[]> {
  const { innerDim, stateDim, convDim } = mixer;
  return { conv: [convDim - 1, convWidth(mixer)], scan: [innerDim, stateDim] };
}

function convWidth(mixer: SelectiveMixer | GroupedSelectiveMixer): number {
  return mixer.kind === "selective" ? mixer.innerDim : mixer.innerDim + 2 * mixer.numGroups * mixer.stateDim;
}

function buildConv(
  make: MakeWeight,
  path: string,
  mixer: SelectiveMixer | GroupedSelectiveMixer,
): ConvWeights {
  const width = convWidth(mixer);
  return {
    weight: make(`${path}.weight`, [width, 1, mixer.convDim]),
    ...(mixer.hasConvBias ? { bias: make(`${path}.bias`, [width]) } : {}),
  };
}

export function buildSelective(
  mixer: SelectiveMixer,
  make: MakeWeight,
  { path, modelDim }: { readonly path: string; readonly modelDim: number },
): SelectiveWeights {
  const { innerDim, stateDim, stepRank, hasBias } = mixer;
  const linear = (name: string, shape: readonly number[], isBiased = false) =>
    buildLinear(make, `${path}.${name}`, { shape, hasBias: isBiased });
  return {
    input: linear("input", [2 * innerDim, modelDim], hasBias),
    conv: buildConv(make, `${path}.conv`, mixer),
    parameters: linear("parameters", [stepRank + 2 * stateDim, innerDim]),
    step: linear("step", [innerDim, stepRank], true),
    logRate: make(`${path}.logRate`, [innerDim, stateDim]),
    skip: make(`${path}.skip`, [innerDim]),
    output: linear("output", [modelDim, innerDim], hasBias),
  };
}

export function buildGroupedSelective(
  mixer: GroupedSelectiveMixer,
  make: MakeWeight,
  { path, modelDim }: { readonly path: string; readonly modelDim: number },
): GroupedSelectiveWeights {
  const { innerDim, numHeads, hasBias } = mixer;
  return {
    input: buildLinear(make, `${path}.input`, {
      shape: [innerDim + convWidth(mixer) + numHeads, modelDim],
      hasBias,
    }),
    conv: buildConv(make, `${path}.conv`, mixer),
    stepBias: make(`${path}.stepBias`, [numHeads]),
    logRate: make(`${path}.logRate`, [numHeads]),
    skip: make(`${path}.skip`, [numHeads]),
    norm: { weight: make(`${path}.norm.weight`, [innerDim]) },
    output: buildLinear(make, `${path}.output`, { shape: [modelDim, innerDim], hasBias }),
  };
}

/** What a mixer or a layer works on. */
export interface MixerInput<State> {
  /** Tokens' features, [B, T, E]. */
  readonly x: Tensor;
  /** What is remembered. */
  readonly state?: State | undefined;
  /** 1 for tokens, 0 for padding [B, T], which then leaves no trace. */
  readonly isToken?: Tensor | undefined;
  /** Shown what a block adds to the stream, the mixing of tokens or that of features; gives what is to be added. */
  readonly added: (block: "attention" | "mlp", x_BTE: Tensor) => Tensor;
}

/**
 * Mamba's mixer: project, convolve, scan, gate, project back.
 *
 * Shapes: x [B, T, E] -> out [B, T, E].
 * @see Gu and Dao 2023, Mamba, arXiv:2312.00752, section 3.4, figure 3
 */
export function selectiveMixer(
  mixer: SelectiveMixer,
  weights: SelectiveWeights,
  { x, state, isToken }: Omit<MixerInput<SelectiveState>, "added">,
): Mixed<SelectiveState> {
  const { innerDim, stateDim, stepRank } = mixer;
  const keep = keeper(isToken);
  const [channels, gate] = parts(project(weights.input, keep(x)), [innerDim, innerDim]);
  const conv = convolve(mixer, weights.conv, { x: channels, state });
  const scanned = keep(conv.out);
  const [rank, write, read] = parts(project(weights.parameters, scanned), [stepRank, stateDim, stateDim]);
  const { out, state: scan } = selectiveScan({
    x: scanned,
    delta: softplus(project(weights.step, rank)),
    rate: neg(exp(weights.logRate)),
    write: write.expandDims(2),
    read: read.expandDims(2),
    ...(state === undefined ? {} : { state: state.scan }),
  });
  const gated = out.add(mul(scanned, weights.skip)).mul(silu(gate));
  return { out: project(weights.output, gated), state: { conv: conv.state, scan } };
}

/**
 * Mamba-2's mixer: as Mamba's, with one rate and step size a head, reads and writes of groups, and a norm of what is gated.
 *
 * Shapes: x [B, T, E] -> out [B, T, E].
 * @see Dao and Gu 2024, Mamba-2, arXiv:2405.21060, section 7
 */
export function groupedSelectiveMixer(
  mixer: GroupedSelectiveMixer,
  weights: GroupedSelectiveWeights,
  { x, state, isToken, eps }: Omit<MixerInput<SelectiveState>, "added"> & { readonly eps: number },
): Mixed<SelectiveState> {
  const { innerDim, stateDim, numHeads, numGroups, stepLimits } = mixer;
  const [B = 1, T = 1] = x.shape;
  const keep = keeper(isToken);
  const [gate, mixed, steps] = parts(project(weights.input, keep(x)), [innerDim, convWidth(mixer), numHeads]);
  const conv = convolve(mixer, weights.conv, { x: mixed, state });
  const flat = numGroups * stateDim;
  const [scanned, write, read] = parts(keep(conv.out), [innerDim, flat, flat]);
  const perChannel = (perHead: Tensor): Tensor => {
    const lead = perHead.shape.slice(0, -1);
    const headDim = innerDim / numHeads;
    return perHead
      .expandDims(-1)
      .broadcastTo([...lead, numHeads, headDim])
      .reshape([...lead, innerDim]);
  };
  const [least, most] = stepLimits;
  const delta = softplus(steps.add(weights.stepBias));
  const { out, state: scan } = selectiveScan({
    x: scanned,
    delta: perChannel(
      least <= 0 && most === Number.POSITIVE_INFINITY ? delta : clamp(delta, { min: least, max: most }),
    ),
    rate: perChannel(neg(exp(weights.logRate))).expandDims(-1),
    write: write.reshape([B, T, numGroups, stateDim]),
    read: read.reshape([B, T, numGroups, stateDim]),
    ...(state === undefined ? {} : { state: state.scan }),
  });
  const gated = out.add(mul(scanned, perChannel(weights.skip))).mul(silu(gate));
  const normed = rmsNorm(gated, weights.norm.weight, { eps });
  return { out: project(weights.output, normed), state: { conv: conv.state, scan } };
}

function convolve(
  { convDim }: { readonly convDim: number },
  { weight, bias }: ConvWeights,
  { x, state }: { readonly x: Tensor; readonly state: SelectiveState | undefined },
) {
  const taps = weight.reshape([-1, convDim]);
  const { out, state: last } = causalConv(x, taps, { bias, state: state?.conv });
  return { out: silu(out), state: last };
}

function keeper(isToken: Tensor | undefined): (x: Tensor) => Tensor {
  return isToken === undefined ? (x) => x : (x) => mul(x, isToken.expandDims(2));
}

/** Cuts the last axis into three (or two) parts. */
function parts(x: Tensor, sizes: readonly number[]): readonly [Tensor, Tensor, Tensor] {
  const [first, second, third = second] = x.split(sizes, { axis: -1 });
  invariant(first && second && third, "a split gives its parts");
  return [first, second, third];
}
