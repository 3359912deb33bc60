import { invariant } from "@heddle/tensor";
import {
  canEvaluateLanes,
  constantArguments,
  type Epilogue,
  expressionKey,
  expressionLanes,
  type FunctionBuilder,
  i32,
  type KernelArgument,
  type LaneMath,
  type Local,
  v128,
} from "@heddle/tensor/kernel";

/** Elementwise ops on the results of a product while they are in the cache. */
export interface ProductEpilogue {
  /** Over the results of the products and then over `inputs`; f32 in, f32 out. */
  readonly expression: Epilogue["expression"];
  /** [rows, out], or [out] where `isRow`. */
  readonly inputs: readonly { readonly argument: KernelArgument; readonly isRow: boolean }[];
}

/** Whether there is a kernel: all inputs and the output are f32 and every step has a vector form. */
export function hasEpilogueKernel({ expression, inputs }: Epilogue): boolean {
  const isF32 = (index: number) => expression.nodes[index]?.dtype === "f32";
  return (
    canEvaluateLanes(expression) &&
    expression.outputs.length === 1 &&
    expression.outputs.every(isF32) &&
    inputs.every(({ dtype }) => dtype === "f32")
  );
}

export function epilogueKey({ expression, inputs }: ProductEpilogue): string {
  return `${expressionKey(expression)}/${inputs.map(({ isRow }) => (isRow ? "row" : "all")).join()}`;
}

/** What the kernel takes for an epilogue, in this order: its inputs, then its constants. */
export function epilogueArguments({ expression, inputs }: ProductEpilogue): KernelArgument[] {
  return [...inputs.map(({ argument }) => argument), ...constantArguments(expression)];
}

/** Vectors whose values are computed side by side: a pair, which the engine joins. */
const VECTORS = 2;

/** 16 results of one row, and where they and what belongs to them lie. */
export interface ResultPlace {
  /** Results of the first product, which the epilogue's replace. */
  readonly target: Local<"i32">;
  /** Results of the second product. */
  readonly second?: Local<"i32"> | undefined;
  /** Byte offset in an input of all rows, and in one that is the same for all. */
  readonly offset: Local<"i32">;
  readonly rowOffset: Local<"i32">;
}

/** Emits the epilogue of 16 results of one row. */
export function emitEpilogue(
  f: FunctionBuilder,
  {
    epilogue: { expression, inputs },
    addresses,
    constants,
    math,
  }: {
    readonly epilogue: ProductEpilogue;
    readonly addresses: readonly Local<"i32">[];
    readonly constants: readonly Local<"v128">[];
    readonly math: LaneMath;
  },
  { target, second, offset, rowOffset }: ResultPlace,
): void {
  const results = second === undefined ? [target] : [target, second];
  const others = inputs.map(({ isRow }, i) => {
    const address = addresses[i];
    invariant(address, "every input of an epilogue has an address");
    return f.let(i32.add(address, isRow ? rowOffset : offset));
  });
  for (let vector = 0; vector < 4; vector += VECTORS) {
    const at = Array.from({ length: VECTORS }, (_, v) => 16 * (vector + v));
    const values = at.map((byte) => {
      const lanes = [...results, ...others].map((address) => f.let(v128.load(address, byte)));
      const [value] = expressionLanes(f, math, expression, { inputs: lanes, constants });
      invariant(value, "an epilogue has one result");
      return { byte, value };
    });
    for (const { byte, value } of values) f.store("v128", target, value, byte);
  }
}
