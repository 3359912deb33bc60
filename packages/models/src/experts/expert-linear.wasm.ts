import { byteWidth } from "@heddle/tensor";
import {
  assemble,
  type FunctionBuilder,
  f32,
  f32x4,
  i32,
  type LaneDType,
  type Local,
  loadLanes,
  v128,
  type WasmKernelFactory,
} from "@heddle/tensor/kernel";

/** Outputs of one unit: their rows of the matrix stay in cache while the rows of the expert pass. */
const block = 4;

/**
 * WebAssembly kernel of `expertLinear` for f32, with matrices in f32 or half precision. One unit is four outputs of one expert: it
 * looks through the rows for those of the expert and makes four dot products for each, so that weights of experts that no row names
 * are never read.
 */
export const expertLinearWasm: WasmKernelFactory<Record<string, never>> = (call, features) => {
  const [x, weight] = call.inputs;
  if (x?.dtype !== "f32" || weight === undefined) return undefined;
  const [numExperts = 0, out = 0, into = 0] = weight.shape;
  const rows = x.shape[0] ?? 0;
  if (rows === 0 || out === 0 || into === 0) return undefined;
  const dtype = weight.dtype as LaneDType;
  const bytes = byteWidth(dtype);
  const blocks = Math.ceil(out / block);
  const emit = () =>
    assemble({ sharedMemory: features.sharedMemory }, (f) => {
      const next = () => f.param("i32");
      const [xs, weights, experts, ys, numRows, begin, end] = [
        next(),
        next(),
        next(),
        next(),
        next(),
        next(),
        next(),
      ];
      const dots = dotsOf(f, { dtype, into, isRelaxed: features.relaxedSimd });
      f.for(begin, end, 1, (unit) => {
        const expert = f.let(i32.divU(unit, blocks));
        const first = f.let(i32.mul(i32.sub(unit, i32.mul(expert, blocks)), block));
        const w = f.let(i32.add(weights, i32.mul(i32.add(i32.mul(expert, out), first), into * bytes)));
        f.for(0, numRows, 1, (row) => {
          f.if(i32.eq(i32.load(i32.add(experts, i32.shl(row, 2))), expert), () => {
            const from = f.let(i32.add(xs, i32.mul(row, into * 4)));
            const y = f.let(i32.add(ys, i32.shl(i32.add(i32.mul(row, out), first), 2)));
            const at = { w, x: from, y };
            if (out % block === 0) dots(block, at);
            else
              f.if(
                i32.leS(first, out - block),
                () => dots(block, at),
                () => dots(out % block, at),
              );
          });
        });
      });
    });
  const buffer = (index: number) => ({ kind: "buffer", index }) as const;
  return {
    steps: [
      {
        module: {
          key: `expert-linear ${dtype} ${out} ${into} ${features.relaxedSimd} ${features.sharedMemory}`,
          emit,
        },
        args: [...[0, 1, 2, 3].map(buffer), { kind: "i32", value: rows }],
        units: numExperts * blocks,
        grain: Math.max(1, Math.ceil((16_384 * numExperts) / (rows * block * into))),
      },
    ],
  };
};

/** Addresses of the first of the matrix's rows, of a row of x, and of the first output. */
interface DotsAt {
  readonly w: Local<"i32">;
  readonly x: Local<"i32">;
  readonly y: Local<"i32">;
}

/** Emits the dot products of `count` consecutive rows of the matrix with one row of x. */
function dotsOf(
  f: FunctionBuilder,
  {
    dtype,
    into,
    isRelaxed,
  }: { readonly dtype: LaneDType; readonly into: number; readonly isRelaxed: boolean },
): (count: number, at: DotsAt) => void {
  const bytes = byteWidth(dtype);
  const sums = Array.from({ length: block }, () => f.local("v128"));
  const whole = into - (into % 4);
  return (count, at) => {
    const used = sums.slice(0, count);
    for (const sum of used) f.set(sum, f32x4.splat(0));
    f.for(0, whole * 4, 16, (offset) => {
      const xv = f.let(v128.load(i32.add(at.x, offset)));
      const from = f.let(i32.add(at.w, bytes === 4 ? offset : i32.shrU(offset, 1)));
      for (const [k, sum] of used.entries()) {
        const wv = loadLanes(f, dtype, from, { width: 4, byteOffset: k * into * bytes });
        f.set(sum, isRelaxed ? f32x4.relaxedMadd(wv, xv, sum) : f32x4.add(f32x4.mul(wv, xv), sum));
      }
    });
    for (const [k, sum] of used.entries()) {
      let total = f32.add(
        f32.add(f32x4.extract(sum, 0), f32x4.extract(sum, 1)),
        f32.add(f32x4.extract(sum, 2), f32x4.extract(sum, 3)),
      );
      for (let i = whole; i < into; i++) {
        const one = loadLanes(f, dtype, at.w, { width: 1, byteOffset: (k * into + i) * bytes });
        total = f32.add(total, f32.mul(f32x4.extract(one, 0), f32.load(at.x, i * 4)));
      }
      f.store("f32", at.y, total, k * 4);
    }
  };
}
