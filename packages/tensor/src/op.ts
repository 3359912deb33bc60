import type { WasmKernelFactory } from "./cpu/kernel-factory.js";
import type { Device, OpCall } from "./device.js";
import { HeddleError, invariant } from "./error.js";
import type { Expression } from "./expression.js";
import type { Copies, Epilogue, EpilogueCall, Reduction } from "./op-forms.js";
import type { HostArray } from "./reference/host-array.js";
import { byteLengthOf } from "./reference/host-array.js";
import { scope } from "./scope.js";
import { formatType, type TensorType } from "./shape.js";
import { Storage } from "./storage.js";
import type { Tensor } from "./tensor.js";
import type { WgslKernelFactory } from "./wgsl/kernel-factory.js";
import type { WgslPieces } from "./wgsl/product/piece.js";

/** What a gradient rule is given. */
export interface VjpContext<Params> {
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  /** Gradient of the loss with respect to each output; undefined where the output is not used. */
  readonly grads: readonly (Tensor | undefined)[];
  readonly params: Params;
  /** `needed[i]`: whether a gradient of input i is asked for. */
  readonly needed: readonly boolean[];
}

/**
 * An op as data. A device runs the first of these that it can: its own kernel, one generated from `expression`, `copies` or
 * `reduction`, the composition `reference`, or the loops of `evaluate`. The reference device always prefers `evaluate`.
 */
export interface OpSpec<Params = unknown> {
  readonly name: string;
  /** Types of the outputs, or a HeddleError of code "shape" or "dtype". */
  infer(inputs: readonly TensorType[], params: Params): readonly TensorType[];
  /** Plain loops over numbers: defines a primitive op. Outputs arrive zero-filled. */
  evaluate?(inputs: readonly HostArray[], outputs: readonly HostArray[], params: Params): void;
  /** What runs `evaluate`, for ops that hand it to somebody else; default "javascript". */
  readonly evaluatesOn?: string;
  /** Elementwise ops: the program that devices turn into a kernel and the compiler joins with its neighbours. */
  expression?(inputs: readonly TensorType[], params: Params): Expression;
  /** Ops that only move data. */
  copies?(inputs: readonly TensorType[], output: TensorType, params: Params): Copies;
  /** Reductions. */
  reduction?(inputs: readonly TensorType[], params: Params): Reduction;
  /** The op as a composition of others: runs where there is no kernel, and gives the default gradient. */
  reference?(inputs: readonly Tensor[], params: Params): readonly Tensor[];
  /** Gradients with respect to the inputs; undefined for an input without one. */
  vjp?(context: VjpContext<Params>): readonly (Tensor | undefined)[];
  /** The output is input 0 under another shape and shares its memory. */
  readonly alias?: boolean;
  /**
   * The op as others that a compiled function shares between its calls, for devices that gain by it. What is traced is this
   * instead of the op; undefined for devices and types that do not.
   */
  expand?(inputs: readonly Tensor[], params: Params): readonly Tensor[] | undefined;
  /** A compiled function may reuse the result of an equal call: nobody writes into it. */
  readonly isShared?: boolean;
  /** Calls that do not depend on each other are launched one behind the other, so that a device can run them together. */
  readonly isGrouped?: boolean;
  /**
   * Calls of the op together with the elementwise ops behind them, as one call: its inputs are those of the calls, one call
   * after another, and then those of the epilogue. Undefined where no kernel does that.
   */
  withEpilogue?(
    epilogue: Epilogue,
    calls: readonly EpilogueCall[],
  ): { readonly spec: OpSpec; readonly params: unknown } | undefined;
  /** Inputs that the op changes in place. */
  readonly mutates?: readonly number[];
  readonly kernels?: {
    readonly wasm?: WasmKernelFactory<Params>;
    readonly wgsl?: WgslKernelFactory<Params>;
    /** What the op can contribute to a launch of several ops. */
    readonly pieces?: WgslPieces<Params>;
  };
}

/** A defined op: call `apply` with tensors and parameters. */
export interface Op<Params> {
  readonly spec: OpSpec<Params>;
  /** Runs the op, or records it where an input is being traced. Borrows the inputs; the caller owns the outputs. */
  apply(inputs: readonly Tensor[], params: Params): readonly Tensor[];
  /** `apply` for ops with one output. */
  call(inputs: readonly Tensor[], params: Params): Tensor;
}

/** Makes an op from its description. */
export function defineOp<Params>(spec: OpSpec<Params>): Op<Params> {
  const apply = (inputs: readonly Tensor[], params: Params) => applyOp(spec, inputs, params);
  return {
    spec,
    apply,
    call(inputs, params) {
      const output = apply(inputs, params)[0];
      invariant(output, `op ${spec.name} has no output to return`);
      return output;
    },
  };
}

/** Runs an op at once, or hands it to the innermost trace among the inputs. */
export function applyOp<Params>(
  spec: OpSpec<Params>,
  inputs: readonly Tensor[],
  params: Params,
): readonly Tensor[] {
  const device = commonDevice(spec.name, inputs);
  let innermost: Tensor | undefined;
  for (const input of inputs) {
    if (input.source.kind !== "storage" && (innermost === undefined || levelOf(input) > levelOf(innermost))) {
      innermost = input;
    }
  }
  if (innermost !== undefined && innermost.source.kind !== "storage") {
    return innermost.source.trace.apply(spec as OpSpec, inputs, params);
  }
  return execute(device, spec as OpSpec, inputs, params);
}

function levelOf(tensor: Tensor): number {
  return tensor.source.kind === "storage" ? -1 : tensor.source.trace.level;
}

function commonDevice(name: string, inputs: readonly Tensor[]): Device {
  const first = inputs[0];
  invariant(first, `op ${name} was called without a tensor`);
  for (const input of inputs) {
    if (input.device !== first.device) {
      throw new HeddleError(
        "device",
        `${name}: all tensors must live on one device; got ${first.device.kind} and ${input.device.kind}. Move one with \`await tensor.to(device)\`.`,
        { devices: inputs.map((x) => x.device.kind) },
      );
    }
  }
  return first.device;
}

function execute(
  device: Device,
  spec: OpSpec,
  inputs: readonly Tensor[],
  params: unknown,
): readonly Tensor[] {
  const first = inputs[0];
  invariant(first, `op ${spec.name} was called without a tensor`);
  const storages = inputs.map((input) => input.storage(spec.name));
  const outputs = spec.infer(inputs, params);
  if (spec.alias)
    return [
      first.spawn(outputs[0] ?? first, {
        kind: "storage",
        storage: first.storage(spec.name).retain(),
        executedOn: first.executedOn,
      }),
    ];
  const kernel = device.lower({ op: spec, params, inputs: inputs.map(typeOf), outputs });
  if (kernel === undefined) {
    if (spec.reference) return scope(device, () => spec.reference?.(inputs, params) ?? []);
    throw new HeddleError(
      "unsupported",
      `${spec.name}: the ${device.kind} device has no kernel for these types; got ${inputs.map(formatType).join(", ")}. Cast to f32 first.`,
      { op: spec.name, device: device.kind },
    );
  }
  const results = outputs.map((type) => Storage.allocate(device, byteLengthOf(type)));
  device.launch(
    kernel,
    [...storages, ...results].map((storage) => storage.buffer),
  );
  return results.map((storage, i) =>
    first.spawn(outputs[i] ?? first, {
      kind: "storage",
      storage,
      executedOn: kernel.executedOn ?? device.kind,
    }),
  );
}

/** Shape and dtype of a tensor as plain data, so that a kernel or plan does not keep the tensor alive. */
export function typeOf(tensor: TensorType): TensorType {
  return { shape: tensor.shape, dtype: tensor.dtype };
}

export type { OpCall };
