import { type Device, disposeTree, randn, reference, type Tensor, tensor } from "@heddle/tensor";
import {
  errorInBounds,
  type MatrixCheck,
  type MatrixUnits,
  onMatrixUnits,
} from "../../tensor/test/emulated-matrices.js";
import { flashAttention } from "../src/flash.js";
import type { FlashParams } from "../src/flash-params.js";
import { documentIds } from "../src/index.js";

interface Call {
  readonly name: string;
  /** Batch, query heads, kv heads; queries and keys; features of keys and of values. */
  readonly heads: readonly [B: number, H: number, G: number];
  readonly lengths: readonly [T: number, S: number];
  readonly widths: readonly [D: number, Dv: number];
  readonly rules: Partial<FlashParams>;
  /** Keys grow by this factor from the first to the last, and so do the largest scores. */
  readonly growth?: number;
}

const calls: readonly Call[] = [
  {
    name: "grouped heads, causal, more keys than queries, a bias by distance",
    heads: [1, 4, 2],
    lengths: [70, 150],
    widths: [64, 64],
    rules: { mask: { kind: "band", right: 0 }, hasDistanceBias: true },
  },
  {
    name: "growing scores scale sums down, documents",
    heads: [2, 1, 1],
    lengths: [100, 200],
    widths: [48, 16],
    growth: 40,
    rules: { scale: 0.5, mask: { kind: "documents", input: 0 }, numMaskInputs: 1 },
  },
  {
    name: "wide heads, window, soft cap, bias and sinks",
    heads: [1, 2, 1],
    lengths: [130, 130],
    widths: [128, 128],
    growth: 20,
    rules: {
      mask: { kind: "band", left: 90, right: 0 },
      scale: 0.3,
      softcap: 50,
      hasBias: true,
      hasSinks: true,
    },
  },
];

/** f16 attention of the matrix units beside float64. */
export const matrixAttention: readonly MatrixCheck[] = calls.map((call) => ({
  name: `attention: ${call.name}`,
  async error(device, units) {
    const [actual, expected] = [await attend(device, call, units), await attend(reference(), call)];
    // Weights and results are rounded to halves; log-sum-exps are f32.
    const errors = [
      errorInBounds(actual.out, expected.out, (value) => 2 ** -10 * Math.abs(value) + 1e-3),
      errorInBounds(actual.lse, expected.lse, (value) => 1e-5 * Math.abs(value) + 2e-5),
    ];
    return Math.max(...errors);
  },
}));

/** Attention over the same numbers: halves on matrix units, or float64. */
async function attend(
  on: Device,
  { heads: [B, H, G], lengths: [T, S], widths: [D, Dv], rules, growth = 1 }: Call,
  units?: MatrixUnits,
) {
  const host = reference();
  const place = async (made: Tensor, dtype: "f16" | "f32") => {
    const values = Float64Array.from(await made.cast(dtype).cast("f64").data());
    return tensor(on, values, { shape: made.shape, dtype: units ? dtype : "f64" });
  };
  const sizes = Float64Array.from({ length: S }, (_, j) => 1 + ((growth - 1) * j) / S);
  const params: FlashParams = { scale: 0.125, numMaskInputs: 0, hasBias: false, hasSinks: false, ...rules };
  const ids = [documentIds([S - 30, 25], { total: S }), documentIds([40, S - 40])].flatMap((row) => [...row]);
  const inputs = [
    await place(randn(host, [B, H, T, D], { seed: 1 }), "f16"),
    await place(randn(host, [B, G, S, D], { seed: 2 }).mul(tensor(host, sizes, { shape: [S, 1] })), "f16"),
    await place(randn(host, [B, G, S, Dv], { seed: 3 }), "f16"),
    ...(params.numMaskInputs > 0 ? [tensor(on, Int32Array.from(ids), { shape: [2, S] })] : []),
    ...(params.hasBias ? [await place(randn(host, [1, H, T, S], { seed: 4 }), "f32")] : []),
    ...(params.hasDistanceBias ? [await place(randn(host, [H, T + S - 1], { seed: 6 }), "f32")] : []),
    ...(params.hasSinks ? [await place(randn(host, [H], { seed: 5 }), "f32")] : []),
  ];
  const op = units ? onMatrixUnits(flashAttention, units) : flashAttention;
  const [out, lse] = op.apply(inputs, params) as [Tensor, Tensor];
  const values = {
    out: Float64Array.from(await out.data()),
    lse: Float64Array.from(await lse.data()),
  };
  disposeTree([...inputs, out, lse]);
  return values;
}
