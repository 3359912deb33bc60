import { concat, HeddleError, scope, type Tensor } from "@heddle/tensor";
import { checkCount } from "./check.js";
import type { RotateEncoding } from "./position-encoding.js";
import { ropeFrequencies } from "./rope-frequencies.js";
import { rotary } from "./rotary.js";
import type { RotaryLayout } from "./rotary-params.js";

/** By which angles tokens with several positions turn. */
export interface RotaryAxesOptions {
  /** Base wavelength, unitless. Default 10 000. */
  readonly theta?: number;
  /** Which features form a pair. Default "half". */
  readonly layout?: RotaryLayout;
}

/**
 * Rotates each half of a head by a position of its own (2-D rotary): y = [R(n_0) x_first, R(n_1) x_second].
 *
 * GLM's two positions are the place in the text with the masked span's place, and the place inside the span; of an image they are
 * row and column. Shapes: x [B, H, T, D] -> the same; positions [2, T] or [2, B, T] int32. D a multiple of 4.
 * @returns an encoding of kind "rotate", which holds no tensors
 * @throws HeddleError "config" if positions are missing or D / 2 is odd, "shape" if positions do not fit
 * @see Du et al. 2022, GLM, arXiv:2103.10360 (2-D positions); Su et al. 2021, arXiv:2104.09864 (rotary), as combined in
 * ChatGLM-6B. Departures: none
 */
export function rotary2d(options: RotaryAxesOptions = {}): RotateEncoding {
  const { theta, layout } = options;
  return bothWays(2, (x, given) => {
    const [first, second] = axisPositions({ caller: "rotary2d", numAxes: 2 }, given, x);
    const headDim = x.shape[3] ?? 0;
    return concat(
      [
        rotary(x.narrow(3, 0, headDim / 2), { theta, layout, positions: first }),
        rotary(x.narrow(3, headDim / 2, headDim), { theta, layout, positions: second }),
      ],
      { axis: 3 },
    );
  });
}

/**
 * Rotates sections of pairs by positions of their own (multi-section rotary): pair i turns by n_(section of i) f_i.
 *
 * The frequencies f_i are those of the whole head. With equal positions on every axis, as text has, this is `rotary`.
 * Shapes: x [B, H, T, D] -> the same; positions [A, T] or [A, B, T] int32 for A sections (time, row, column).
 * @param options.sections  pairs of each section, in order; they add up to D / 2
 * @returns an encoding of kind "rotate", which holds no tensors
 * @throws HeddleError "config" if sections do not add up to D / 2 or positions are missing, "shape" if positions do not fit
 * @see Wang et al. 2024, Qwen2-VL, arXiv:2409.12191, section 2.1. Departures: none
 */
export function multiSectionRotary(
  options: RotaryAxesOptions & { readonly sections: readonly number[] },
): RotateEncoding {
  const { theta, layout, sections } = options;
  for (const pairs of sections) checkCount("multiSectionRotary", "sections", pairs);
  const total = sections.reduce((sum, pairs) => sum + pairs, 0);
  return bothWays(sections.length, (x, given) => {
    const rotaryDim = x.shape[3] ?? 0;
    if (2 * total !== rotaryDim) {
      throw new HeddleError(
        "config",
        `multiSectionRotary: sections must add up to headDim / 2 pairs; got sections [${sections.join(", ")}], headDim ${rotaryDim}. Take them from the model's config (mrope_section).`,
        { sections, headDim: rotaryDim },
      );
    }
    const axes = axisPositions({ caller: "multiSectionRotary", numAxes: sections.length }, given, x);
    const { inverseFrequencies } = ropeFrequencies({ rotaryDim, ...(theta !== undefined && { theta }) });
    let start = 0;
    return axes.reduce((turned, positions, axis) => {
      const [from, end] = [start, start + (sections[axis] ?? 0)];
      start = end;
      // The other pairs stand still: a rotation by frequency 0 changes no bit.
      const own = inverseFrequencies.map((frequency, i) => (i >= from && i < end ? frequency : 0));
      return rotary(turned, {
        frequencies: { inverseFrequencies: own, attentionScale: 1 },
        layout,
        positions,
      });
    }, x);
  });
}

function bothWays(
  numAxes: number,
  turn: (x: Tensor, positions: Tensor | undefined) => Tensor,
): RotateEncoding {
  const rotate: RotateEncoding["rotateQuery"] = (x, positions) => scope(x.device, () => turn(x, positions));
  return { kind: "rotate", numAxes, rotateQuery: rotate, rotateKey: rotate };
}

/** Splits positions [A, T] or [A, B, T] into A tensors [T] or [B, T]. */
function axisPositions(
  { caller, numAxes }: { readonly caller: string; readonly numAxes: number },
  positions: Tensor | undefined,
  x: Tensor,
): Tensor[] {
  if (positions === undefined) {
    throw new HeddleError(
      "config",
      `${caller}: positions must be given, one row for each of ${numAxes} axes; got none. Pass an int32 tensor [${numAxes}, seq] or [${numAxes}, batch, seq].`,
      { numAxes },
    );
  }
  const [axes, ...rest] = positions.shape;
  if (axes !== numAxes || rest.length < 1 || rest.length > 2) {
    throw new HeddleError(
      "shape",
      `${caller}: positions must be [${numAxes}, seq] or [${numAxes}, batch, seq]; got positions [${positions.shape.join(", ")}], x [${x.shape.join(", ")}]. Give one row of positions an axis.`,
      { positions: positions.shape, x: x.shape },
    );
  }
  return Array.from({ length: numAxes }, (_, axis) => positions.narrow(0, axis, axis + 1).reshape(rest));
}
