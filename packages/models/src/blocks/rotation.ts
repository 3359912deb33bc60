import {
  alibiSlopes,
  type RopeFrequencies,
  ropeFrequencies,
  rotary,
  rotary2d,
} from "@heddle/positional-encodings";
import type { Tensor } from "@heddle/tensor";
import { type AlibiPositions, type DecoderConfig, layerConfig, type RopePositions } from "../config.js";

/** Turns queries or keys [B, H, T, R] by their positions; the identity where positions are not rotary. */
export type Rotate = (x_BHTR: Tensor) => Tensor;

/** Rotation frequencies of rotary positions for sequences of up to `seqLen` tokens. */
export function rotationFrequencies(
  { theta, scaling, rotaryDim }: RopePositions,
  { headDim, seqLen }: { readonly headDim: number; readonly seqLen: number },
): RopeFrequencies {
  const dependsOnLength = scaling.kind === "dynamic" || scaling.kind === "longrope";
  return ropeFrequencies({
    rotaryDim: rotaryDim ?? headDim,
    theta,
    scaling: dependsOnLength ? { ...scaling, seqLen } : scaling,
  });
}

/**
 * The rotation of each layer by the positions of its tokens, [B, T] or [T], or [2, B, T] of a model that fills spans; layers of the same
 * positions share one.
 */
export function layerRotations(
  config: DecoderConfig,
  { positions, seqLen }: { readonly positions: Tensor; readonly seqLen: number },
): readonly Rotate[] {
  const made = new Map<unknown, Rotate>();
  return Array.from({ length: config.numLayers }, (_, layer) => {
    const { positions: kind, attention } = layerConfig(config, layer);
    if (kind.kind !== "rope") return (x: Tensor) => x;
    const known = made.get(kind);
    if (known !== undefined) return known;
    const headDim = attention.latent?.ropeDim ?? config.headDim;
    const { theta, layout = "half" } = kind;
    const frequencies = rotationFrequencies(kind, { headDim, seqLen });
    const rotate: Rotate =
      config.span === undefined
        ? (x) => rotary(x, { positions, frequencies, layout })
        : (x) => rotary2d({ theta, layout }).rotateQuery(x, positions);
    made.set(kind, rotate);
    return rotate;
  });
}

/** How much scores of each head fall from one position to the next. */
export function slopesOf({ order, maxBias, scale = 1 }: AlibiPositions, numHeads: number): readonly number[] {
  const slopes = alibiSlopes({
    numHeads,
    ...(order === undefined ? {} : { order }),
    ...(maxBias === undefined ? {} : { maxBias }),
  });
  return Array.from(slopes, (slope) => slope * scale);
}
