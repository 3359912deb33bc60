import {
  assemble,
  type FunctionBuilder,
  f32,
  i32,
  type KernelArgument,
  type KernelStep,
  type Local,
  type WasmKernelFactory,
} from "@heddle/tensor/kernel";
import { type QuantisedFormat, quantisedInputs } from "../quantised-format.js";
import { isInside } from "./cache-view.js";

type Address = Local<"i32">;

/** Extents that the code depends on. */
interface AppendPlan extends QuantisedFormat {
  readonly numKvHeads: number;
  readonly headDim: number;
  readonly valueDim: number;
}

/**
 * WebAssembly kernel of `appendQuantisedKv` for f32 scales: first values and the tail of keys, then the groups that became full.
 * One unit is a batch row and kv head.
 */
export const appendQuantisedWasm: WasmKernelFactory<QuantisedFormat> = (call, features) => {
  const { stores, key, value } = quantisedInputs(call.inputs);
  if (stores.keyTail.dtype !== "f32" || key.dtype !== "f32" || value.dtype !== "f32") return undefined;
  const [numSlots = 0, numKvHeads = 0, maxSeqLen = 0] = stores.value.shape;
  const [batch = 0, , length = 0, headDim = 0] = key.shape;
  const plan: AppendPlan = { ...call.params, numKvHeads, headDim, valueDim: value.shape[3] ?? 0 };
  const numbers = [numSlots, maxSeqLen, stores.keyTail.shape[2] ?? 0, length];
  const args: KernelArgument[] = [
    ...call.inputs.map((_, index) => ({ kind: "buffer", index }) as const),
    ...numbers.map((each) => ({ kind: "i32", value: each }) as const),
  ];
  const step = (name: string, body: (f: FunctionBuilder, row: AppendRow) => void): KernelStep => ({
    module: {
      key: `${name} ${JSON.stringify(plan)} shared ${features.sharedMemory}`,
      emit: () => assemble({ sharedMemory: features.sharedMemory }, (f) => emitRows(f, plan, body)),
    },
    args,
    units: batch * numKvHeads,
    grain: Math.max(1, Math.ceil(8192 / (length * (plan.headDim + plan.valueDim)))),
  });
  return {
    steps: [
      step("append-quantised", (f, row) => emitToken(f, plan, row)),
      step("append-quantised-group", (f, row) => emitGroup(f, plan, row)),
    ],
  };
};

/** One token of one row and head. */
interface AppendRow {
  readonly buffers: ReturnType<typeof quantisedInputs<Address>>;
  /** Head of all slots. */
  readonly head: Address;
  /** Row of the new keys and values. */
  readonly source: Address;
  readonly position: Address;
  readonly maxSeqLen: Address;
  readonly tail: Address;
}

function emitRows(
  f: FunctionBuilder,
  { numKvHeads }: AppendPlan,
  body: (f: FunctionBuilder, row: AppendRow) => void,
): void {
  const next = () => f.param("i32");
  const buffers = quantisedInputs(Array.from({ length: 11 }, next));
  const [numSlots, maxSeqLen, tail, tokens] = [next(), next(), next(), next()];
  const [begin, end] = [next(), next()];
  f.for(begin, end, 1, (unit) => {
    const row = f.let(i32.divU(unit, numKvHeads));
    const slot = f.let(i32.load(i32.add(buffers.slots, i32.shl(row, 2))));
    const start = f.let(i32.load(i32.add(buffers.starts, i32.shl(row, 2))));
    f.if(isInside({ slot, start }, { numSlots, maxSeqLen, length: tokens }), () => {
      const ownHead = i32.sub(unit, i32.mul(row, numKvHeads));
      const head = f.let(i32.add(i32.mul(slot, numKvHeads), ownHead));
      f.for(0, tokens, 1, (token) => {
        const source = f.let(i32.add(i32.mul(unit, tokens), token));
        body(f, { buffers, head, source, position: f.let(i32.add(start, token)), maxSeqLen, tail });
      });
    });
  });
}

/** Emits the copy of a key to the tail and the rounding of a value. */
function emitToken(f: FunctionBuilder, plan: AppendPlan, row: AppendRow): void {
  const { headDim, valueDim, bits } = plan;
  const { stores, key, value } = row.buffers;
  const tailRow = i32.add(i32.mul(row.head, row.tail), i32.remU(row.position, row.tail));
  f.copyMemory(
    i32.add(stores.keyTail, i32.mul(tailRow, headDim * 4)),
    i32.add(key, i32.mul(row.source, headDim * 4)),
    headDim * 4,
  );
  const at = f.let(i32.add(i32.mul(row.head, row.maxSeqLen), row.position));
  const source = f.let(i32.add(value, i32.mul(row.source, valueDim * 4)));
  const range = emitRange(f, { source, count: valueDim, stride: 4 });
  const { inverse } = emitStep(f, plan, range, {
    scale: i32.add(stores.valueScale, i32.shl(at, 2)),
    min: i32.add(stores.valueMin, i32.shl(at, 2)),
  });
  const target = f.let(i32.add(stores.value, i32.mul(at, (valueDim * bits) / 8)));
  const code = (i: Address) =>
    emitCode(f, f32.load(i32.add(source, i32.shl(i, 2))), { min: range.min, inverse });
  if (bits === 8) {
    f.for(0, valueDim, 1, (i) => f.store("i8", i32.add(target, i), code(i)));
    return;
  }
  f.for(0, valueDim, 2, (i) => {
    const low = code(i);
    const high = code(f.let(i32.add(i, 1)));
    f.store("i8", i32.add(target, i32.shrU(i, 1)), i32.or(low, i32.shl(high, 4)));
  });
}

/** Emits the rounding of the group that a token completes, channel by channel. */
function emitGroup(f: FunctionBuilder, plan: AppendPlan, row: AppendRow): void {
  const { headDim, group, bits } = plan;
  const { stores } = row.buffers;
  const after = f.let(i32.add(row.position, 1));
  f.if(i32.eqz(i32.remU(after, group)), () => {
    const first = f.let(i32.sub(after, group));
    // The tail is a whole number of groups long: the rows of a group do not wrap.
    const tailRow = i32.add(i32.mul(row.head, row.tail), i32.remU(first, row.tail));
    const rows = f.let(i32.add(stores.keyTail, i32.mul(tailRow, headDim * 4)));
    const groupRow = i32.add(i32.mul(row.head, i32.divU(row.maxSeqLen, group)), i32.divU(first, group));
    const scales = f.let(i32.mul(groupRow, headDim * 4));
    const rowBytes = (headDim * bits) / 8;
    const codes = i32.mul(i32.add(i32.mul(row.head, row.maxSeqLen), first), rowBytes);
    const target = f.let(i32.add(stores.key, codes));
    const channel = (i: Address) => {
      const source = f.let(i32.add(rows, i32.shl(i, 2)));
      const range = emitRange(f, { source, count: group, stride: headDim * 4 });
      const offset = f.let(i32.add(scales, i32.shl(i, 2)));
      const scale = i32.add(stores.keyScale, offset);
      const { inverse } = emitStep(f, plan, range, { scale, min: i32.add(stores.keyMin, offset) });
      return { source, min: range.min, inverse };
    };
    const each = bits === 8 ? 1 : 2;
    f.for(0, headDim, each, (i) => {
      const low = channel(i);
      const high = each === 2 ? channel(f.let(i32.add(i, 1))) : undefined;
      const to = f.let(i32.add(target, bits === 8 ? i : i32.shrU(i, 1)));
      const offset = f.let(i32.const(0));
      f.for(0, group, 1, () => {
        const code = emitCode(f, f32.load(i32.add(low.source, offset)), low);
        if (high === undefined) f.store("i8", to, code);
        else {
          const upper = emitCode(f, f32.load(i32.add(high.source, offset)), high);
          f.store("i8", to, i32.or(code, i32.shl(upper, 4)));
        }
        f.increase(to, rowBytes);
        f.increase(offset, headDim * 4);
      });
    });
  });
}

interface Range {
  readonly min: Local<"f32">;
  readonly max: Local<"f32">;
}

function emitRange(
  f: FunctionBuilder,
  { source, count, stride }: { readonly source: Address; readonly count: number; readonly stride: number },
): Range {
  const at = f.let(source);
  const [min, max] = [f.let(f32.load(at)), f.let(f32.load(at))];
  f.for(0, count, 1, () => {
    const x = f.let(f32.load(at));
    f.set(min, f32.min(min, x));
    f.set(max, f32.max(max, x));
    f.increase(at, stride);
  });
  return { min, max };
}

/** Emits scale = (max - min) / (2^bits - 1) and its inverse, 0 for equal values. */
function emitStep(
  f: FunctionBuilder,
  { bits }: AppendPlan,
  { min, max }: Range,
  at: { readonly scale: ReturnType<typeof i32.add>; readonly min: ReturnType<typeof i32.add> },
): { readonly inverse: Local<"f32"> } {
  const scale = f.let(f32.mul(f32.sub(max, min), 1 / (2 ** bits - 1)));
  f.store("f32", at.scale, scale);
  f.store("f32", at.min, min);
  const inverse = f.let(f32.const(0));
  f.if(f32.gt(scale, 0), () => f.set(inverse, f32.div(1, scale)));
  return { inverse };
}

/** Emits round((x - min) / scale). */
function emitCode(
  f: FunctionBuilder,
  x: ReturnType<typeof f32.load>,
  { min, inverse }: { readonly min: Local<"f32">; readonly inverse: Local<"f32"> },
): Local<"i32"> {
  return f.let(i32.truncSatF32U(f32.nearest(f32.mul(f32.sub(x, min), inverse))));
}
