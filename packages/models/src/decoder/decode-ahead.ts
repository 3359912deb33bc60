import { type Device, disposeTree, HeddleError, type Tensor } from "@heddle/tensor";
import type { SampledToken } from "../generation/sampling/sampler.js";

/** Where a sequence stands, and how it goes on. */
export interface DecodeAheadOptions {
  readonly slot: number;
  /** The last token, not fed yet. */
  readonly token: number;
  /** Its position. */
  readonly position: number;
  /** Most tokens to make. */
  readonly steps: number;
  /** 0 takes the most likely token. */
  readonly temperature: number;
  /** Number in [0, 1) for each step, by which it draws; needed above temperature 0. */
  readonly draw?: (step: number) => number;
}

/** What one step on the device takes from the one before it. */
export interface AheadState {
  /** Last token and its position, i32 [1] each. */
  readonly token: Tensor;
  readonly position: Tensor;
}

export interface AheadStep extends AheadState {
  /** Token and its log-probability, f32 [1, 2]: all that is read back. */
  readonly result: Tensor;
}

/**
 * Steps that are under way before the oldest is waited for: a device that works beside the host always has work, and stops cost
 * little. One that works on the host's own thread does a step at a time.
 */
const maxUnderWay = (device: Device) => (device.readSync === undefined ? 3 : 0);

/**
 * Runs steps that feed each other on the device, and yields their tokens as they are read back, a few steps behind.
 *
 * Whoever stops early may have let up to three more steps run: they wrote to the slot behind the last token that was yielded.
 * @param run  one step; borrows the state and returns the next
 */
export async function* decodeAhead(
  first: AheadState,
  steps: number,
  run: (state: AheadState, step: number) => AheadStep,
): AsyncGenerator<SampledToken, void, undefined> {
  const underWay: Promise<SampledToken>[] = [];
  let state = first;
  try {
    for (let step = 0; step < steps; step++) {
      const { result, ...next } = run(state, step);
      disposeTree(state);
      state = next;
      underWay.push(readToken(result));
      if (underWay.length > maxUnderWay(result.device))
        yield await (underWay.shift() as Promise<SampledToken>);
    }
    while (underWay.length > 0) yield await (underWay.shift() as Promise<SampledToken>);
  } finally {
    await Promise.allSettled(underWay);
    disposeTree(state);
  }
}

async function readToken(result: Tensor): Promise<SampledToken> {
  try {
    const [id = Number.NaN, logprob = Number.NaN] = await result.data();
    if (!Number.isNaN(logprob)) return { id, logprob };
    const message =
      "sample: logits must be numbers; got NaN on the device. The weights are damaged or overflow their dtype: load them as f32.";
    throw new HeddleError("dtype", message, {});
  } finally {
    result.dispose();
  }
}
