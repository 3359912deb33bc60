import { gemm, matrixDType } from "../cpu/kernels/gemm.js";
import { isFloat, isHalf } from "../dtype.js";
import { HeddleError } from "../error.js";
import type { Expression } from "../expression.js";
import { defineOp, type Op, type OpCall, type OpSpec } from "../op.js";
import { scope } from "../scope.js";
import {
  broadcastShapes,
  broadcastStrides,
  formatType,
  sizeOf,
  stridesOf,
  type TensorType,
} from "../shape.js";
import type { Tensor } from "../tensor.js";
import { matmulWgsl } from "../wgsl/kernels/matmul.js";
import type { MatmulExtents, MatmulParams } from "../wgsl/kernels/matmul-call.js";
import { fitsMatrixUnits } from "../wgsl/kernels/matmul-subgroups.js";
import { denseProduct } from "../wgsl/product/dense.js";
import { productWgsl } from "../wgsl/product/single-product.js";
import { sumTo } from "./sum-to.js";

/** Reads and checks the extents of a matrix product. */
export function matmulExtents(a: TensorType, b: TensorType, params: MatmulParams): MatmulExtents {
  const [rowsA = 1, columnsA = 1] = a.shape.slice(-2);
  const [rowsB = 1, columnsB = 1] = b.shape.slice(-2);
  const [M, K] = params.transposeA ? [columnsA, rowsA] : [rowsA, columnsA];
  const [inner, N] = params.transposeB ? [columnsB, rowsB] : [rowsB, columnsB];
  if (a.shape.length < 2 || b.shape.length < 2 || K !== inner) {
    throw new HeddleError(
      "shape",
      `matmul: operands must be matrices whose inner extents agree; got ${formatType(a)}${params.transposeA ? " transposed" : ""} and ${formatType(b)}${params.transposeB ? " transposed" : ""} (inner ${K} and ${inner}). Transpose or reshape one of them.`,
      { a: a.shape, b: b.shape, ...params },
    );
  }
  const isMixed = a.dtype === "f32" && isHalf(b.dtype);
  if ((a.dtype !== b.dtype && !isMixed) || !isFloat(a.dtype)) {
    throw new HeddleError(
      "dtype",
      `matmul: operands must be floats of one dtype, or f32 and a half-precision second one; got ${formatType(a)} and ${formatType(b)}. Convert one with \`.cast("f32")\`.`,
      { a: a.dtype, b: b.dtype },
    );
  }
  const [batchA, batchB] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
  const batch = broadcastShapes("matmul", [batchA, batchB]);
  return {
    M,
    N,
    K,
    batch,
    batchStridesA: broadcastStrides(batchA, batch).map((stride) => stride * M * K),
    batchStridesB: broadcastStrides(batchB, batch).map((stride) => stride * K * N),
  };
}

/**
 * c = a b over the last two axes; batch axes broadcast. Half floats are multiplied in f32 and rounded once; c has a's dtype.
 */
export const matmulOp: Op<MatmulParams> = defineOp({
  name: "matmul",
  infer([a, b], params) {
    if (!a || !b) return [];
    const { M, N, batch } = matmulExtents(a, b, params);
    return [{ shape: [...batch, M, N], dtype: a.dtype }];
  },
  evaluate([a, b], [c], params) {
    if (!a || !b || !c) return;
    const { M, N, K, batch, batchStridesA, batchStridesB } = matmulExtents(a, b, params);
    const [stepMA, stepKA] = params.transposeA ? [1, M] : [K, 1];
    const [stepKB, stepNB] = params.transposeB ? [1, K] : [N, 1];
    const strides = stridesOf(batch);
    for (let flat = 0; flat < sizeOf(batch); flat++) {
      let [baseA, baseB] = [0, 0];
      for (let axis = 0; axis < batch.length; axis++) {
        const index = Math.floor(flat / (strides[axis] ?? 1)) % (batch[axis] ?? 1);
        baseA += index * (batchStridesA[axis] ?? 0);
        baseB += index * (batchStridesB[axis] ?? 0);
      }
      for (let m = 0; m < M; m++) {
        for (let n = 0; n < N; n++) {
          let total = 0;
          for (let k = 0; k < K; k++) {
            total +=
              (a.data[baseA + m * stepMA + k * stepKA] ?? 0) * (b.data[baseB + k * stepKB + n * stepNB] ?? 0);
          }
          c.data[(flat * M + m) * N + n] = total;
        }
      }
    }
  },
  vjp({ inputs: [a, b], grads: [g], params: { transposeA, transposeB }, needed }) {
    if (!a || !b || !g) return [];
    // c = op(a) op(b); da = g op(b)^T, db = op(a)^T g, each transposed back where the operand was.
    const da = (right: Tensor) =>
      transposeA
        ? product(right, g, { transposeA: transposeB, transposeB: true })
        : product(g, right, { transposeA: false, transposeB: !transposeB });
    const db = () =>
      transposeB
        ? product(g, a, { transposeA: true, transposeB: transposeA })
        : product(a, g, { transposeA: !transposeA, transposeB: false });
    // Only a second operand may be narrower than the first.
    const right = transposeA && b.dtype !== g.dtype ? b.cast(g.dtype) : b;
    return [
      needed[0] ? sumTo(da(right), a.shape) : undefined,
      needed[1] ? sumTo(db(), b.shape).cast(b.dtype) : undefined,
    ];
  },
  // Devices have kernels for one batch axis at the least: the broadcast is written out and its axes are joined.
  reference([a, b], params) {
    if (!a || !b) return [];
    const { M, N, batch } = matmulExtents(a, b, params);
    const joined = (x: Tensor) => {
      const matrix = x.shape.slice(-2);
      return x.broadcastTo([...batch, ...matrix]).reshape([sizeOf(batch), ...matrix]);
    };
    return [product(joined(a), joined(b), params).reshape([...batch, M, N])];
  },
  withEpilogue({ expression }, [call, ...others]) {
    if (call?.inputs[0]?.type.dtype !== "f32" || others.length > 0) return undefined;
    const { transposeA, transposeB } = call.params as MatmulParams;
    return { spec: matmulWithEpilogue as OpSpec, params: { transposeA, transposeB, expression } };
  },
  kernels: {
    wasm({ inputs: [a, b], params }, features) {
      const output = a && matrixDType(a);
      return a && b && output && gemm({ a, b, output, ...params }, features);
    },
    wgsl(call, features) {
      const [a, b] = call.inputs;
      if (!a || !b) return undefined;
      const dtypes = { a: a.dtype, b: b.dtype, c: a.dtype };
      const vector = productWgsl(call as OpCall, features);
      return vector ?? matmulWgsl({ ...matmulExtents(a, b, call.params), ...call.params, dtypes }, features);
    },
    pieces: {
      product({ inputs: [a, b], params }, features) {
        if (!a || !b || params.transposeA || !params.transposeB) return undefined;
        const extents = matmulExtents(a, b, params);
        const { M, N, K, batch } = extents;
        const dtypes = { a: a.dtype, b: b.dtype, c: a.dtype };
        if (sizeOf(batch) !== 1 || fitsMatrixUnits({ ...extents, ...params, dtypes }, features))
          return undefined;
        return denseProduct({ M, N, K, dtypes: { x: a.dtype, w: b.dtype, y: a.dtype } });
      },
      tiles({ inputs: [a, b], params }, features) {
        if (!a || !b || params.transposeA || !params.transposeB) return undefined;
        const { M, N, K, batch, ...strides } = matmulExtents(a, b, params);
        const dtypes = { a: a.dtype, b: b.dtype, c: a.dtype };
        const fits = fitsMatrixUnits({ M, N, K, batch, ...strides, ...params, dtypes }, features);
        return sizeOf(batch) === 1 && fits ? { M, N, K } : undefined;
      },
    },
  },
});

interface MatmulEpilogueParams extends MatmulParams {
  /** Over the product and then over inputs 2.. */
  readonly expression: Expression;
}

/** A product of f32 and the elementwise ops behind it. Compiled functions alone call it; twin: the ops one after another. */
const matmulWithEpilogue: OpSpec<MatmulEpilogueParams> = {
  name: "matmulEpilogue",
  infer: () => [],
  kernels: {
    wasm({ inputs: [a, b, ...others], params: { expression, ...params } }, features) {
      if (a === undefined || b === undefined) return undefined;
      const { batch, M, N } = matmulExtents(a, b, params);
      const inputs = others.flatMap(({ dtype, shape }) =>
        dtype === "f64" ? [] : [{ dtype, shape: shape.length === 1 ? shape : [...batch, M, N] }],
      );
      if (inputs.length < others.length) return undefined;
      return gemm({ a, b, ...params, epilogue: { expression, inputs } }, features);
    },
  },
};

const product = (a: Tensor, b: Tensor, params: MatmulParams): Tensor => matmulOp.call([a, b], params);

export interface MatmulOptions {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
}

/**
 * Multiplies matrices over the last two axes: c = a b.
 *
 * Shapes: a [.., M, K], b [.., K, N] -> [.., M, N]; leading axes broadcast. With `transposeA` a is [.., K, M], with
 * `transposeB` b is [.., N, K]; no copy is made. Both operands have one float dtype, or a is f32 and b a half float; c has
 * a's dtype. Half floats are multiplied and added in f32 and rounded once.
 * @returns a new tensor that the caller owns
 * @throws HeddleError "shape" if the inner extents differ, "dtype" if the dtypes differ or are not floats
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  const { transposeA = false, transposeB = false } = options;
  if (b.shape.length !== 2 || a.shape.length <= 2 || transposeA)
    return product(a, b, { transposeA, transposeB });
  // One matrix for a whole batch: one large product is faster than many small ones.
  return scope(a.device, () => {
    const lead = a.shape.slice(0, -1);
    const rows = product(a.reshape([sizeOf(lead), a.shape.at(-1) ?? 1]), b, { transposeA, transposeB });
    return rows.reshape([...lead, rows.shape[1] ?? 1]);
  });
}
