import {
  assemble,
  type CpuFeatures,
  type FunctionBuilder,
  f32x4,
  i32,
  type Local,
  laneMath,
  type Value,
  v128,
  type WasmKernelFactory,
} from "@heddle/tensor/kernel";

/**
 * WebAssembly kernel of `wkvScan` for f32 and I a multiple of 4: one unit runs four channels of one row through time, their
 * state in registers. Twin: the op's `evaluate`.
 */
export const wkvScanWasm: WasmKernelFactory<Record<string, never>> = (call, features) => {
  const [key] = call.inputs;
  const [B = 0, T = 0, I = 0] = key?.shape ?? [];
  if (key?.dtype !== "f32" || I % 4 !== 0 || B * I === 0) return undefined;
  const args = Array.from({ length: 7 }, (_, index) => ({ kind: "buffer", index }) as const);
  return {
    steps: [
      {
        module: {
          key: `wkv-scan ${I} relaxed ${features.relaxedSimd} shared ${features.sharedMemory}`,
          emit: () => emitScan(I, features),
        },
        args: [...args, { kind: "i32", value: T }],
        units: (B * I) / 4,
        grain: Math.max(1, Math.ceil(2048 / T)),
      },
    ],
  };
};

/** Four channels' numerators, denominators and exponents. */
type Past = Readonly<Record<"sum" | "weight" | "exponent", Value<"v128">>>;

function emitScan(I: number, features: CpuFeatures): Uint8Array {
  return assemble({ sharedMemory: features.sharedMemory }, (f) => {
    const next = () => f.param("i32");
    const [keys, values, decays, bonuses, before] = [next(), next(), next(), next(), next()];
    const [out, after, T, begin, end] = [next(), next(), next(), next(), next()];
    const join = joiner(f, features);
    const past = { sum: f.local("v128"), weight: f.local("v128"), exponent: f.local("v128") };
    const parts = [past.sum, past.weight, past.exponent];
    const [decay, bonus] = [f.local("v128"), f.local("v128")];
    f.for(begin, end, 1, (unit) => {
      const row = f.let(i32.divU(unit, I / 4));
      const column = f.let(i32.shl(i32.sub(unit, i32.mul(row, I / 4)), 4)); // bytes
      f.set(decay, v128.load(i32.add(decays, column)));
      f.set(bonus, v128.load(i32.add(bonuses, column)));
      const stateAt = f.let(i32.add(i32.mul(row, 12 * I), column));
      for (const [at, part] of parts.entries()) f.set(part, v128.load(i32.add(before, stateAt), at * 4 * I));
      const place = f.let(i32.add(i32.mul(i32.mul(row, T), 4 * I), column));
      f.for(0, T, 1, () => {
        const key = f.let(v128.load(i32.add(keys, place)));
        const value = f.let(v128.load(i32.add(values, place)));
        const seen = join(past, { value, exponent: f.let(f32x4.add(key, bonus)) });
        f.store("v128", i32.add(out, place), f32x4.div(seen.sum, seen.weight));
        const faded = { ...past, exponent: f.let(f32x4.add(past.exponent, decay)) };
        const kept = join(faded, { value, exponent: key });
        f.set(past.sum, kept.sum);
        f.set(past.weight, kept.weight);
        f.set(past.exponent, kept.exponent);
        f.increase(place, 4 * I);
      });
      for (const [at, part] of parts.entries()) f.store("v128", i32.add(after, stateAt), part, at * 4 * I);
    });
  });
}

/** Makes the code that adds one token of weight 1 to a past. */
function joiner(f: FunctionBuilder, features: CpuFeatures) {
  const math = laneMath(f, features);
  return (
    past: Past,
    now: { readonly value: Local<"v128">; readonly exponent: Local<"v128"> },
  ): Readonly<Record<"sum" | "weight" | "exponent", Local<"v128">>> => {
    const exponent = f.let(f32x4.max(past.exponent, now.exponent));
    const old = math.expNonPositive(f.let(f32x4.sub(past.exponent, exponent)));
    const fresh = math.expNonPositive(f.let(f32x4.sub(now.exponent, exponent)));
    return {
      sum: f.let(f32x4.add(f32x4.mul(past.sum, old), f32x4.mul(now.value, fresh))),
      weight: f.let(f32x4.add(f32x4.mul(past.weight, old), fresh)),
      exponent,
    };
  };
}
