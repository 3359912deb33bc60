import { type Device, defineOp, type Op } from "../src/index.js";
import { type MatrixUnit, matrixEdge, subgroupSize } from "../src/wgsl/matrix-unit.js";

/** A comparison of a kernel for matrix units with float64, on a device. */
export interface MatrixCheck {
  readonly name: string;
  /** Largest error in units of the tolerance: at most 1 where the kernel is right, NaN where it gives NaN. */
  error(device: Device, units: MatrixUnits): Promise<number>;
}

/** The adapter's own matrix units, or these. */
export type MatrixUnits = "own" | "emulated";

/** The op with its kernel for matrix units; an error where it has none for a call. */
export function onMatrixUnits<Params>({ spec }: Op<Params>, units: MatrixUnits): Op<Params> {
  const isOwn = units === "own";
  const product = isOwn ? "subgroupMatrixMultiplyAccumulate(" : "= multiplyAdd(";
  return defineOp({
    ...spec,
    kernels: {
      wgsl(call, features) {
        // The emulation declares no half floats.
        const used = isOwn ? features : { ...features, f16: false, matrixUnit: emulatedMatrices };
        const kernel = spec.kernels?.wgsl?.(call, used);
        if (!kernel?.steps.some(({ code }) => code.includes(product))) {
          throw new Error(`${spec.name} has no kernel for ${units} matrix units for this call`);
        }
        return kernel;
      },
    },
  });
}

/** Largest of |actual - expected| over what `bound` allows for a value; NaN where one is NaN. */
export function errorInBounds(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  bound: (value: number) => number,
): number {
  if (actual.length !== expected.length) return Number.NaN;
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    const [a, e] = [actual[i] ?? Number.NaN, expected[i] ?? Number.NaN];
    if (a !== e) worst = Math.max(worst, Math.abs(a - e) / bound(e));
  }
  return worst;
}

/**
 * Matrix products in plain WGSL, so that kernels written for matrix units run on any adapter. Lane l of the 32 threads of a
 * subgroup holds row l / 2 of a left matrix, and columns 8 (l % 2) to 8 (l % 2) + 7 of that row of a sum, so that lanes share
 * nothing but `tiles`. Halves are f32 that were rounded. A right matrix is read where it is multiplied, not where it is loaded,
 * which software compiles much faster: a kernel must not change `tiles` in between.
 */
export const emulatedMatrices: MatrixUnit = {
  directives: "",
  declarations: (lanes) => {
    const words = lanes / 2;
    const word = words === 1 ? "tiles[at]" : `tiles[at / ${words}u][at % ${words}u]`;
    return `alias Left = mat4x4f;
alias Right = vec3u; // the half where it begins, and how many lie between its rows and columns
alias Sum = mat2x4f;
alias Half2 = vec2f;
var<private> matrixThread: u32;
fn matrixRow() -> u32 { return (matrixThread % ${subgroupSize}u) / 2u; }
fn matrixColumn() -> u32 { return (matrixThread % 2u) * 8u; }
fn halvesOf(bits: u32) -> Half2 { return unpack2x16float(bits); }
fn bitsOf(halves: Half2) -> u32 { return pack2x16float(halves); }
fn bothHalves(x: f32) -> Half2 { return unpack2x16float(pack2x16float(vec2f(x))); }
fn word(at: u32) -> u32 { return ${word}; }
fn half(at: u32) -> f32 { return unpack2x16float(word(at / 2u))[at % 2u]; }
fn leftFrom(at: u32, step: u32) -> Left {
  var matrix: Left;
  for (var k = 0u; k < ${matrixEdge}u; k++) { matrix[k / 4u][k % 4u] = half(at + k * step); }
  return matrix;
}
fn loadLeft_row(at: u32, stride: u32) -> Left { return leftFrom((at + matrixRow() * stride) * ${lanes}u, 1u); }
fn loadLeft_col(at: u32, stride: u32) -> Left { return leftFrom(at * ${lanes}u + matrixRow(), stride * ${lanes}u); }
fn loadRight_row(at: u32, stride: u32) -> Right { return vec3u(at * ${lanes}u, stride * ${lanes}u, 1u); }
fn loadRight_col(at: u32, stride: u32) -> Right { return vec3u(at * ${lanes}u, 1u, stride * ${lanes}u); }
fn sumPlace(at: u32, stride: u32) -> u32 { return (at + matrixRow() * stride) * ${words}u + matrixColumn(); }
fn loadSum_row(start: u32, stride: u32) -> Sum {
  var matrix: Sum;
  for (var c = 0u; c < 8u; c++) { matrix[c / 4u][c % 4u] = bitcast<f32>(word(sumPlace(start, stride) + c)); }
  return matrix;
}
fn storeSum(start: u32, stride: u32, matrix: Sum) {
  for (var c = 0u; c < 8u; c++) {
    let at = sumPlace(start, stride) + c;
    ${word} = bitcast<u32>(matrix[c / 4u][c % 4u]);
  }
}
fn multiplyAdd(left: Left, right: Right, sum: Sum) -> Sum {
  var result = sum;
  for (var i = 0u; i < ${8 * matrixEdge}u; i++) {
    let k = i / 8u;
    let c = i % 8u;
    result[c / 4u][c % 4u] += left[k / 4u][k % 4u] * half(right.x + k * right.y + (matrixColumn() + c) * right.z);
  }
  return result;
}
var<workgroup> exchanged: array<f32, 256>;
fn exchange(value: f32, mask: u32) -> f32 {
  workgroupBarrier();
  exchanged[matrixThread] = value;
  workgroupBarrier();
  return exchanged[matrixThread ^ mask];
}`;
  },
  begin: `  let subgroup = thread / ${subgroupSize}u;
  matrixThread = thread;`,
  load: (kind, order, { at, stride }) => `load${kind}_${order}(${at}, ${stride})`,
  store: (sum, { at, stride }) => `storeSum(${at}, ${stride}, ${sum});`,
  multiplyAdd: (left, right, sum) => `multiplyAdd(${left}, ${right}, ${sum})`,
  exchange: (value, mask) => `exchange(${value}, ${mask}u)`,
};
