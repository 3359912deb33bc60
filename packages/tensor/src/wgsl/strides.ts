import { collapseAxes, type StridedShape } from "../cpu/kernels/strided-loop.js";
import type { StepParam } from "./step.js";

/** Statements that find where operands stand for one flat index, and the uniforms that they read. */
export interface OffsetCode {
  readonly code: string;
  /** The name of each operand's offset, in its elements. */
  readonly offsets: readonly string[];
  readonly params: Readonly<Record<string, StepParam>>;
}

/**
 * Turns a flat row-major index into the offset of each strided operand.
 *
 * @param loop    the shape and each operand's strides; axes that all walk alike are joined
 * @param index   name of the flat index (u32)
 * @param prefix  begins the names; distinct for two walks in one kernel
 */
export function offsetCode(loop: StridedShape, index: string, prefix: string): OffsetCode {
  const { shape, strides } = collapseAxes(loop);
  const params: Record<string, StepParam> = {};
  // An operand that lies as the index counts needs no arithmetic; one that repeats throughout, neither.
  const isPlain = (moves: readonly number[]) => shape.length <= 1 && (moves[0] ?? 0) <= 1;
  const names = strides.map((moves, k) =>
    isPlain(moves) ? ((moves[0] ?? 0) === 1 || shape.length === 0 ? index : "0u") : `${prefix}o${k}`,
  );
  const moving = strides.flatMap((moves, k) => (isPlain(moves) ? [] : [k]));
  if (moving.length === 0) return { code: "", offsets: names, params };
  const lines = [`  var ${prefix}r = ${index};`, ...moving.map((k) => `  var ${prefix}o${k} = 0u;`)];
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    params[`${prefix}n${axis}`] = shape[axis] ?? 1;
    const at = axis === 0 ? `${prefix}r` : `${prefix}i${axis}`;
    if (axis > 0) {
      lines.push(
        `  let ${at} = ${prefix}r % P.${prefix}n${axis};`,
        `  ${prefix}r = ${prefix}r / P.${prefix}n${axis};`,
      );
    }
    for (const k of moving) {
      const stride = strides[k]?.[axis] ?? 0;
      params[`${prefix}s${k}_${axis}`] = stride;
      if (stride !== 0) lines.push(`  ${prefix}o${k} += ${at} * P.${prefix}s${k}_${axis};`);
    }
  }
  return { code: lines.join("\n"), offsets: names, params };
}
