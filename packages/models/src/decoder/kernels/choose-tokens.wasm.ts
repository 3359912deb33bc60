import {
  argument,
  type CpuFeatures,
  type FunctionBuilder,
  f32,
  f32x4,
  f64,
  i32,
  i32x4,
  type KernelStep,
  kernelStep,
  type Local,
  laneMath,
  select,
  v128,
  type WasmKernelFactory,
} from "@heddle/tensor/kernel";
import type { ChooseTokensParams } from "./choose-tokens.wgsl.js";

/** Logits of one unit, which stay in the first-level cache; fixed, so that results do not depend on the number of threads. */
const stretch = 2048;

/** What a unit finds: the greatest logit, NaN if there is one, and the sum of exp(x - shift), shift as in `shiftOf`. */
const part = { greatest: 0, sum: 4, bytes: 8 } as const;

/** Vectors that the loops take side by side. */
const VECTORS = 4;

/**
 * WebAssembly kernel of `chooseTokens` for the likeliest tokens of f32 logits: stretches of a row on all threads, each read from
 * memory once, then their join. Twin: the op's reference.
 *
 * Buffers: logits [O, V], tokens i32 [O], results f32 [O, 2].
 */
export const chooseTokensWasm: WasmKernelFactory<ChooseTokensParams> = ({ inputs, params }, features) => {
  const [logits] = inputs;
  const [rows = 0, width = 0] = logits?.shape ?? [];
  if (params.kind !== "likeliest" || logits?.dtype !== "f32" || rows === 0 || width === 0) return undefined;
  const shape = { rows, width, parts: Math.ceil(width / stretch) };
  return {
    steps: [partsStep(shape, features), joinStep(shape, features)],
    scratchBytes: rows * shape.parts * part.bytes,
  };
};

interface ChoiceShape {
  readonly rows: number;
  readonly width: number;
  readonly parts: number;
}

/** What sums are taken relative to: the greatest, or 0 where no logit is above -infinity. */
function shiftOf(greatest: Local<"f32">) {
  return select(f32.eq(greatest, Number.NEGATIVE_INFINITY), f32.const(0), greatest);
}

/** One unit = one stretch of a row. */
function partsStep({ rows, width, parts }: ChoiceShape, features: CpuFeatures): KernelStep {
  const args = [argument.buffer(0), argument.scratch(0), ...[width, parts].map(argument.i32)] as const;
  return kernelStep(
    { key: "chooseTokens/parts", features, args, units: rows * parts, grain: 4 },
    (f, [logits, scratch, ...sizes], { begin, end }) => {
      const [columns, perRow] = sizes as [Local<"i32">, Local<"i32">];
      f.for(begin, end, 1, (unit) => {
        const row = f.let(i32.divU(unit, perRow));
        const first = f.let(i32.mul(i32.sub(unit, i32.mul(row, perRow)), stretch));
        const line = f.let(i32.add(logits, i32.shl(i32.mul(row, columns), 2)));
        const start = f.let(i32.add(line, i32.shl(first, 2)));
        const last = f.let(i32.add(first, stretch));
        f.if(i32.gtS(last, columns), () => f.set(last, columns));
        const stop = f.let(i32.add(line, i32.shl(last, 2)));
        const greatest = greatestOf(f, start, stop);
        const target = f.let(i32.add(scratch, i32.mul(unit, part.bytes)));
        f.store("f32", target, greatest, part.greatest);
        const sum = sumOfPowers(f, features, { start, stop, shift: f.let(shiftOf(greatest)) });
        f.store("f32", target, sum, part.sum);
      });
    },
  );
}

/** Calls `whole` at every address with 16 more numbers, then `single` at each of those left. */
function walk(
  f: FunctionBuilder,
  { start, stop }: { readonly start: Local<"i32">; readonly stop: Local<"i32"> },
  {
    whole,
    single,
  }: { readonly whole: (at: Local<"i32">) => void; readonly single: (at: Local<"i32">) => void },
): void {
  const at = f.let(start);
  f.advance(at, f.let(i32.sub(stop, 16 * VECTORS - 1)), 16 * VECTORS, () => whole(at));
  f.advance(at, stop, 4, () => single(at));
}

/** The greatest of the numbers from `start` to `stop`; NaN if one of them is. */
function greatestOf(f: FunctionBuilder, start: Local<"i32">, stop: Local<"i32">): Local<"f32"> {
  const bests = Array.from({ length: VECTORS }, () => f.let(f32x4.splat(Number.NEGATIVE_INFINITY)));
  const odd = Array.from({ length: VECTORS }, () => f.let(i32x4.splat(0)));
  const meet = (v: number, x: Local<"v128">) => {
    const [best, nan] = [bests[v], odd[v]];
    if (best === undefined || nan === undefined) return;
    f.set(best, f32x4.pmax(best, x));
    f.set(nan, v128.or(nan, f32x4.ne(x, x)));
  };
  walk(
    f,
    { start, stop },
    {
      whole: (at) => {
        const xs = bests.map((_, v) => f.let(v128.load(at, 16 * v)));
        for (const [v, x] of xs.entries()) meet(v, x);
      },
      single: (at) => meet(0, f.let(v128.load32Splat(at))),
    },
  );
  const best = f.let(bests.reduce((a, b) => f.let(f32x4.pmax(a, b))));
  const greatest = f.let(
    [1, 2, 3].reduce((a, lane) => f32.max(a, f32x4.extract(best, lane)), f32x4.extract(best, 0)),
  );
  f.if(i32x4.bitmask(odd.reduce((a, b) => f.let(v128.or(a, b)))), () => f.set(greatest, Number.NaN));
  return greatest;
}

/** Sum of exp(x - shift). */
function sumOfPowers(
  f: FunctionBuilder,
  features: CpuFeatures,
  {
    start,
    stop,
    shift,
  }: { readonly start: Local<"i32">; readonly stop: Local<"i32">; readonly shift: Local<"f32"> },
) {
  const math = laneMath(f, features);
  const shifts = f.let(f32x4.splat(shift));
  const sums = Array.from({ length: VECTORS }, () => f.let(f32x4.splat(0)));
  const rest = f.let(f64.const(0));
  const power = (x: Local<"v128">) => math.expNonPositive(f.let(f32x4.sub(x, shifts)));
  walk(
    f,
    { start, stop },
    {
      whole: (at) => {
        const powers = sums.map((_, v) => power(f.let(v128.load(at, 16 * v))));
        for (const [v, sum] of sums.entries()) f.set(sum, f32x4.add(sum, powers[v] ?? sum));
      },
      single: (at) => {
        const one = f32x4.extract(power(f.let(v128.load32Splat(at))), 0);
        f.set(rest, f64.add(rest, f64.promoteF32(one)));
      },
    },
  );
  const lanes = sums.flatMap((sum) => [0, 1, 2, 3].map((lane) => f64.promoteF32(f32x4.extract(sum, lane))));
  for (const lane of lanes) f.set(rest, f64.add(rest, lane));
  return f32.demoteF64(rest);
}

/** One unit = one row: the first stretch that holds its greatest, where in it, and the logarithm of all sums. */
function joinStep({ rows, width, parts }: ChoiceShape, features: CpuFeatures): KernelStep {
  const buffers = [0, 1, 2].map(argument.buffer);
  const args = [...buffers, argument.scratch(0), ...[width, parts].map(argument.i32)] as const;
  return kernelStep(
    { key: "chooseTokens/join", features, args, units: rows, grain: 4 },
    (f, parameters, { begin, end }) => {
      const [logits, tokens, results, scratch, columns, perRow] = parameters as readonly Local<"i32">[];
      if (!(logits && tokens && results && scratch && columns && perRow)) return;
      const math = laneMath(f, features);
      f.for(begin, end, 1, (row) => {
        const found = f.let(i32.add(scratch, i32.mul(i32.mul(row, perRow), part.bytes)));
        const { greatest, index } = greatestPart(f, found, perRow);
        const shift = f.let(shiftOf(greatest));
        const sum = f.let(f64.const(0));
        f.for(0, perRow, 1, (i) => {
          const at = f.let(i32.add(found, i32.mul(i, part.bytes)));
          const own = f.let(f32.load(at, part.greatest));
          const factor = math.expNonPositive(f.let(f32x4.splat(f32.sub(own, shift))));
          const scaled = f32.mul(f32.load(at, part.sum), f32x4.extract(factor, 0));
          f.set(sum, f64.add(sum, f64.promoteF32(scaled)));
        });
        const log = math.log(f.let(f32x4.splat(f32.demoteF64(sum))));
        const line = f.let(i32.add(logits, i32.shl(i32.mul(row, columns), 2)));
        const token = firstOf(f, { line, from: f.let(i32.mul(index, stretch)), columns, greatest });
        f.store("i32", i32.add(tokens, i32.shl(row, 2)), token);
        const target = f.let(i32.add(results, i32.shl(row, 3)));
        f.store("f32", target, f32.convertI32S(token), 0);
        f.store("f32", target, f32.sub(f32.sub(greatest, shift), f32x4.extract(log, 0)), 4);
      });
    },
  );
}

/** The greatest of all stretches, and the first that has it; the first with a NaN before all. */
function greatestPart(f: FunctionBuilder, found: Local<"i32">, count: Local<"i32">) {
  const greatest = f.let(f32.load(found, part.greatest));
  const index = f.let(i32.const(0));
  f.for(1, count, 1, (i) => {
    const own = f.let(f32.load(i32.add(found, i32.mul(i, part.bytes)), part.greatest));
    const isFirstNaN = i32.and(f32.ne(own, own), f32.eq(greatest, greatest));
    f.if(i32.or(f32.gt(own, greatest), isFirstNaN), () => {
      f.set(greatest, own);
      f.set(index, i);
    });
  });
  return { greatest, index };
}

/** First place from `from` on where the logit is the greatest, or NaN as it is. */
function firstOf(
  f: FunctionBuilder,
  {
    line,
    from,
    columns,
    greatest,
  }: Readonly<Record<"line" | "from" | "columns", Local<"i32">>> & { readonly greatest: Local<"f32"> },
): Local<"i32"> {
  const place = f.let(from);
  const bothNaN = (x: Local<"f32">) => i32.and(f32.ne(x, x), f32.ne(greatest, greatest));
  f.block((done) => {
    f.advance(place, columns, 1, () => {
      const x = f.let(f32.load(i32.add(line, i32.shl(place, 2))));
      f.branchIf(done, i32.or(f32.eq(x, greatest), bothNaN(x)));
    });
  });
  return place;
}
