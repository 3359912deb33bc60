import { describe, expectTypeOf, test } from "vitest";
import {
  type Compiled,
  type CpuDevice,
  checkpoint,
  compile,
  cpu,
  type Device,
  type DType,
  disposeTree,
  type FlatTree,
  flattenTree,
  type HeddleError,
  type HeddleErrorCode,
  type HostData,
  type LinearWeight,
  linear,
  mapTree,
  type PlanReport,
  type Ranked,
  scope,
  split,
  type Tensor,
  type TensorOrNumber,
  type Tree,
  topK,
  valueAndGrad,
  where,
  writeInto,
} from "./index.js";

interface Weights {
  readonly layers: readonly { readonly weight: Tensor; readonly bias?: Tensor }[];
  readonly name: string;
}

declare const weights: Weights;
declare const x: Tensor;
const loss = (w: Weights, _input: Tensor, _scale: number): Tensor => w.layers[0]?.weight ?? x;
const lossWithAux = (w: Weights, input: Tensor) => ({
  value: loss(w, input, 1),
  aux: { logits: input, count: 2 },
});

// Never called: only its types matter.
const results = () => ({
  plain: valueAndGrad(loss)(weights, x, 2),
  withAux: valueAndGrad(lossWithAux, { hasAux: true })(weights, x),
  compiled: compile(loss),
  inner: compile(valueAndGrad(loss)),
  kept: scope(x.device, () => ({ a: x, n: 1 })),
  mapped: mapTree<Tensor, Weights>(weights, (leaf) => leaf),
  flat: flattenTree<Tensor, Weights>(weights),
});
type Results = ReturnType<typeof results>;

describe("valueAndGrad", () => {
  test("keeps the form of the weights and the types of further arguments", () => {
    expectTypeOf(valueAndGrad(loss)).parameters.toEqualTypeOf<[Weights, Tensor, number]>();
    expectTypeOf<Results["plain"]["value"]>().toEqualTypeOf<Tensor>();
    expectTypeOf<Results["plain"]["grad"]>().toEqualTypeOf<Weights>();
    expectTypeOf<Results["plain"]>().not.toHaveProperty("aux");
  });

  test("returns aux only where it was asked for", () => {
    expectTypeOf<Results["withAux"]["aux"]>().toEqualTypeOf<{ logits: Tensor; count: number }>();
    expectTypeOf<Results["withAux"]["grad"]>().toEqualTypeOf<Weights>();
    // @ts-expect-error a function with aux needs the option
    expectTypeOf(() => valueAndGrad(lossWithAux)).toBeFunction();
    // @ts-expect-error the option needs a function with aux
    expectTypeOf(() => valueAndGrad(loss, { hasAux: true })).toBeFunction();
    // @ts-expect-error a number is no loss
    expectTypeOf(() => valueAndGrad((w: Tensor) => w.size)).toBeFunction();
  });
});

describe("compile", () => {
  test("keeps the signature of the function and adds plans and dispose", () => {
    expectTypeOf<Results["compiled"]>().toEqualTypeOf<
      Compiled<[w: Weights, _input: Tensor, _scale: number], Tensor>
    >();
    expectTypeOf<Results["compiled"]>().parameters.toEqualTypeOf<[Weights, Tensor, number]>();
    expectTypeOf<Results["compiled"]>().returns.toEqualTypeOf<Tensor>();
    expectTypeOf<Results["compiled"]["plans"]>().returns.toEqualTypeOf<readonly PlanReport[]>();
    expectTypeOf<Results["compiled"]["dispose"]>().returns.toEqualTypeOf<void>();
  });

  test("takes what valueAndGrad and checkpoint return, and the other way round", () => {
    expectTypeOf<ReturnType<Results["inner"]>["grad"]>().toEqualTypeOf<Weights>();
    expectTypeOf(checkpoint(loss)).toEqualTypeOf<(w: Weights, _input: Tensor, _scale: number) => Tensor>();
    expectTypeOf(valueAndGrad<Weights, [Tensor, number]>).toBeCallableWith(checkpoint(loss));
  });
});

describe("trees", () => {
  test("keep their form", () => {
    expectTypeOf<Results["mapped"]>().toEqualTypeOf<Weights>();
    expectTypeOf<Results["flat"]>().toEqualTypeOf<FlatTree<Tensor, Weights>>();
    expectTypeOf<Results["flat"]["leaves"]>().toEqualTypeOf<readonly Tensor[]>();
    expectTypeOf<Results["flat"]["rebuild"]>().returns.toEqualTypeOf<Weights>();
    expectTypeOf<Results["kept"]>().toEqualTypeOf<{ a: Tensor; n: number }>();
    expectTypeOf(disposeTree).returns.toEqualTypeOf<void>();
  });

  test("are leaves, lists and records of each other", () => {
    expectTypeOf<Tensor>().toExtend<Tree<Tensor>>();
    expectTypeOf<{ a: Tensor; b: readonly Tensor[] }>().toExtend<Tree<Tensor>>();
    expectTypeOf<{ a: { b: number } }>().not.toExtend<Tree<string>>();
  });
});

describe("tensors and devices", () => {
  test("a matrix is a LinearWeight", () => {
    expectTypeOf<Tensor>().toExtend<LinearWeight>();
    expectTypeOf(linear).parameter(1).toEqualTypeOf<LinearWeight>();
  });

  test("values come back as typed arrays, at once or later", () => {
    expectTypeOf<Tensor["data"]>().returns.resolves.toEqualTypeOf<HostData>();
    expectTypeOf<Tensor["dataSync"]>().returns.toEqualTypeOf<HostData>();
    expectTypeOf<Tensor>().toExtend<Disposable>();
  });

  test("a cpu device is a device that reads at once", () => {
    expectTypeOf(cpu).returns.toEqualTypeOf<CpuDevice>();
    expectTypeOf<CpuDevice>().toExtend<Device>();
    expectTypeOf<CpuDevice["readSync"]>().not.toBeNullable();
    expectTypeOf<Device["readSync"]>().toBeNullable();
  });

  test("elementwise functions take numbers, where needs a tensor as its condition", () => {
    expectTypeOf<TensorOrNumber>().toEqualTypeOf<Tensor | number>();
    expectTypeOf(where).parameters.toEqualTypeOf<[Tensor, TensorOrNumber, TensorOrNumber]>();
    expectTypeOf(topK).returns.toEqualTypeOf<Ranked>();
    expectTypeOf(split).returns.toEqualTypeOf<Tensor[]>();
    expectTypeOf(writeInto).returns.toEqualTypeOf<void>();
  });

  test("codes and dtypes are closed unions", () => {
    expectTypeOf<HeddleError["code"]>().toEqualTypeOf<HeddleErrorCode>();
    expectTypeOf<HeddleErrorCode>().toEqualTypeOf<
      "shape" | "dtype" | "config" | "unsupported" | "capacity" | "format" | "disposed" | "device"
    >();
    expectTypeOf<DType>().toEqualTypeOf<
      "f64" | "f32" | "f16" | "bf16" | "i32" | "u32" | "i8" | "u8" | "bool"
    >();
  });
});
