import type { BufferRef, Device, DeviceBuffer, OpCall, Plan } from "../device.js";
import { HeddleError, invariant } from "../error.js";
import { deviceOfTree, tensorsOf } from "../grad/value-and-grad.js";
import { byteLengthOf } from "../reference/host-array.js";
import { runtimeOf, scope } from "../scope.js";
import { formatType, type TensorType } from "../shape.js";
import { Storage } from "../storage.js";
import { Tensor } from "../tensor.js";
import { disposeTree, flattenTree, formOf } from "../tree.js";
import { fuse } from "./fuse.js";
import { dropUnused, Graph } from "./graph.js";
import { groupSteps } from "./group-steps.js";
import { joinProducts } from "./join-products.js";
import { planMemory } from "./plan-memory.js";
import type { Step } from "./step.js";

/** What `compiled.plans()` tells of one input signature. */
export interface PlanReport {
  readonly signature: string;
  /** The kernels in the order of their launch, and what runs each: "javascript" is a slow fallback. */
  readonly launches: readonly { readonly name: string; readonly executedOn: string }[];
  /** Ops that the function called, before fusion. */
  readonly ops: number;
  /** Bytes of the plan's own memory for everything in between. */
  readonly arenaBytes: number;
}

export interface Compiled<Args extends readonly unknown[], Result> {
  (...args: Args): Result;
  /** One report for each signature seen so far. */
  plans(): readonly PlanReport[];
  /**
   * Runs the plan of these arguments launch by launch and tells how long each took, in milliseconds. What it writes in place is
   * written; results are freed. Empty on a device that cannot time its launches.
   */
  profile(...args: Args): readonly LaunchTime[];
  /**
   * Prepares runs on the same arguments again and again, whose content may change between them: what changes from run to run
   * is written in place by `fn` itself. Costs the least JavaScript a run.
   */
  bind(...args: Args): BoundRun<Result>;
  /** Frees the plans and what they captured; bound runs cannot run any more, their results stay. */
  dispose(): void;
}

/** A compiled function with its arguments; it keeps their memory alive until it is disposed. */
export interface BoundRun<Result> extends Disposable {
  /** What a run computes, overwritten by the next; owned by the bound run. */
  readonly result: Result;
  run(): void;
  dispose(): void;
}

/** One kernel of a plan and how long it ran. */
export interface LaunchTime {
  readonly name: string;
  readonly executedOn: string;
  readonly ms: number;
}

/** Where a result of a run comes from. */
type ResultRef =
  | { readonly kind: "output"; readonly index: number; readonly type: TensorType }
  | { readonly kind: "argument"; readonly index: number; readonly type: TensorType }
  | { readonly kind: "constant"; readonly storage: Storage; readonly type: TensorType }
  | { readonly kind: "static"; readonly value: unknown };

interface CompiledPlan {
  readonly report: PlanReport;
  readonly plan: Plan;
  readonly graph: Graph;
  readonly outputs: readonly TensorType[];
  readonly constants: readonly Storage[];
  readonly results: readonly ResultRef[];
  rebuild(leaves: readonly unknown[]): unknown;
  /** True after the compiled function's dispose(). */
  isDisposed: boolean;
}

/**
 * Makes a function that traces `fn` once per signature of its arguments and afterwards replays a flat list of launches.
 *
 * The signature is the device, the form of the argument trees, the shape and dtype of each tensor, which tensors share
 * memory, and every other leaf: numbers, strings and booleans by value, objects and functions by identity. `fn` must be
 * synchronous and depend on nothing else; tensors that it catches from outside or creates become constants. `writeInto` is
 * replayed in order, so a training step can update weights in place. Results are those of `fn` run directly. Inside
 * `valueAndGrad` or another `compile` the function is traced as part of it.
 * @returns `fn` with `plans()` and `dispose()`; the caller owns the tensors that a call returns
 * @throws HeddleError "config" if no argument holds a tensor, "device" if they live on several devices, "unsupported" if `fn`
 * reads values or writes into a constant; what `fn` throws. No call that throws leaves memory behind
 */
export function compile<Args extends readonly unknown[], Result>(
  fn: (...args: Args) => Result,
): Compiled<Args, Result> {
  const plans = new Map<string, CompiledPlan>();
  const identities = new Map<unknown, number>();
  const prepare = (args: Args): { device: Device; plan: CompiledPlan; slots: Storage[] } => {
    const tensors = tensorsOf(args);
    const device = deviceOfTree("compile", args);
    checkOneDevice(tensors, device);
    const slots = [...new Set(tensors.map((x) => x.storage("compile")))];
    const signature = signatureOf(args, { device, slots, identities });
    let plan = plans.get(signature);
    if (plan === undefined) {
      const graph = new Graph(device);
      try {
        plan = trace(graph, fn, { args, slots, signature });
      } catch (error) {
        graph.dispose();
        throw error;
      }
      plans.set(signature, plan);
    }
    return { device, plan, slots };
  };
  const compiled = (...args: Args): Result => {
    if (tensorsOf(args).some((x) => x.source.kind !== "storage")) return fn(...args);
    const { device, plan, slots } = prepare(args);
    return run(device, plan, slots) as Result;
  };
  return Object.assign(compiled, {
    plans: () => [...plans.values()].map((plan) => plan.report),
    bind(...args: Args) {
      const { device, plan, slots } = prepare(args);
      return bind(device, plan, slots) as BoundRun<Result>;
    },
    profile(...args: Args) {
      const { device, plan, slots } = prepare(args);
      return profile(device, plan, slots);
    },
    dispose() {
      for (const compiled of plans.values()) {
        compiled.isDisposed = true;
        compiled.plan.dispose();
        compiled.graph.dispose();
      }
      plans.clear();
    },
  });
}

/** Text that is equal for calls which may share a plan. */
function signatureOf(
  args: readonly unknown[],
  {
    device,
    slots,
    identities,
  }: {
    readonly device: Device;
    readonly slots: readonly Storage[];
    readonly identities: Map<unknown, number>;
  },
): string {
  const identity = (value: unknown): string => {
    if (!identities.has(value)) identities.set(value, identities.size);
    return `#${identities.get(value)}`;
  };
  const leaf = (value: unknown): string => {
    if (value instanceof Tensor) return `${formatType(value)}@${slots.indexOf(value.storage("compile"))}`;
    if (typeof value === "string") return JSON.stringify(value);
    if (Object.is(value, -0)) return "-0";
    if (typeof value === "bigint") return `${value}n`;
    const isIdentified =
      typeof value === "symbol" || typeof value === "function" || typeof value === "object";
    return isIdentified && value !== null ? identity(value) : String(value);
  };
  const forms = args.map((arg) => formOf(arg, { leaf, maker: identity }));
  return [`${device.kind}${identity(device)}`, ...forms].join(";");
}

function checkOneDevice(tensors: readonly Tensor[], device: Device): void {
  const other = tensors.find((x) => x.device !== device);
  if (other === undefined) return;
  throw new HeddleError(
    "device",
    `compile: all tensors must live on one device; got ${device.kind} and ${other.device.kind}. Move one with \`await tensor.to(device)\`.`,
    { devices: [device.kind, other.device.kind] },
  );
}

interface TraceInput<Args> {
  readonly args: Args;
  readonly slots: readonly Storage[];
  readonly signature: string;
}

function trace<Args extends readonly unknown[]>(
  graph: Graph,
  fn: (...args: Args) => unknown,
  { args, slots, signature }: TraceInput<Args>,
): CompiledPlan {
  const { leaves, rebuild } = flattenTree<unknown, Args>(args);
  const traced = rebuild(
    leaves.map((leaf) =>
      leaf instanceof Tensor ? graph.argument(leaf, slots.indexOf(leaf.storage("compile"))) : leaf,
    ),
  );
  // The constants that `fn` makes are kept by the graph; the scope frees the rest.
  const result = scope(graph.device, () => {
    const tree = flattenTree<unknown, unknown>(fn(...traced));
    const made = runtimeOf(graph.device).scopes.at(-1);
    const values = tree.leaves.map((leaf) => {
      if (!(leaf instanceof Tensor)) return undefined;
      // Each call returns its own copy of what `fn` makes anew at each call.
      return graph.valueOf(leaf.source.kind === "storage" && made?.has(leaf) ? graph.copy(leaf) : leaf);
    });
    return {
      values,
      statics: tree.leaves.map((leaf) => (leaf instanceof Tensor ? undefined : leaf)),
      rebuild: tree.rebuild,
    };
  });
  const wanted = result.values.filter((value): value is number => value !== undefined);
  const nodes = dropUnused(graph, wanted);
  const steps = joined(graph, groupSteps(fuse(graph, nodes, wanted)), wanted);
  const outputMemories = [...new Set(wanted.map((value) => graph.values[value]?.memory ?? -1))].filter(
    (memory) => graph.homes[memory]?.kind === "computed",
  );
  const constantMemories = graph.homes.flatMap((home, memory) => (home.kind === "constant" ? [memory] : []));
  const { plan, arenaBytes, launches } = buildPlan(graph, steps, {
    slots: slots.length,
    outputMemories,
    constantMemories,
  });
  return {
    report: { signature, launches, ops: nodes.length, arenaBytes },
    plan,
    graph,
    outputs: outputMemories.map((memory) => {
      const value = graph.values.find((candidate) => candidate.memory === memory);
      invariant(value, `memory ${memory} has no value`);
      return value.type;
    }),
    constants: constantMemories.map((memory) => storageOf(graph, memory)),
    results: result.values.map((value, i) =>
      value === undefined
        ? { kind: "static", value: result.statics[i] }
        : resultRef(graph, value, outputMemories),
    ),
    rebuild: result.rebuild,
    isDisposed: false,
  };
}

/** Products with their neighbours as one launch each, on devices that have kernels for it. */
function joined(graph: Graph, steps: readonly Step[], wanted: readonly number[]): readonly Step[] {
  const { device } = graph;
  if (device.joinsProducts !== true) return steps;
  return joinProducts(steps, {
    kept: new Set(wanted.map((value) => graph.values[value]?.memory ?? -1)),
    maxBuffers: device.limits.maxLaunchBuffers ?? Number.POSITIVE_INFINITY,
    canRun: (step) => device.lower(callOf(step)) !== undefined,
  });
}

function callOf(step: Step): OpCall {
  return {
    op: step.spec,
    params: step.params,
    inputs: step.inputs.map(({ type }) => type),
    outputs: step.outputs.map(({ type }) => type),
    ...overwritten(step),
  };
}

function storageOf(graph: Graph, memory: number): Storage {
  const home = graph.homes[memory];
  invariant(home?.kind === "constant", `memory ${memory} is not a constant`);
  return home.storage;
}

function resultRef(graph: Graph, id: number, outputMemories: readonly number[]): ResultRef {
  const value = graph.values[id];
  const home = value && graph.homes[value.memory];
  invariant(value && home, `graph value ${id} is unknown`);
  const { type } = value;
  if (home.kind === "argument") return { kind: "argument", index: home.index, type };
  if (home.kind === "constant") return { kind: "constant", storage: home.storage, type };
  return { kind: "output", index: outputMemories.indexOf(value.memory), type };
}

interface Places {
  readonly slots: number;
  readonly outputMemories: readonly number[];
  readonly constantMemories: readonly number[];
}

/** Decides where every memory lives (arguments, then outputs, then constants are slots; the rest is the arena) and lowers. */
function buildPlan(
  graph: Graph,
  steps: readonly Step[],
  { slots, outputMemories, constantMemories }: Places,
): { plan: Plan; arenaBytes: number; launches: PlanReport["launches"] } {
  const lives = new Map<number, { bytes: number; first: number; last: number }>();
  const slotOf = new Map<number, number>();
  graph.homes.forEach((home, memory) => {
    if (home.kind === "argument") slotOf.set(memory, home.index);
  });
  for (const [i, memory] of [...outputMemories, ...constantMemories].entries()) slotOf.set(memory, slots + i);
  steps.forEach((step, at) => {
    for (const { type, memory } of [...step.inputs, ...step.outputs]) {
      if (slotOf.has(memory)) continue;
      const life = lives.get(memory);
      lives.set(memory, {
        bytes: Math.max(life?.bytes ?? 0, byteLengthOf(type)),
        first: life?.first ?? at,
        last: at,
      });
    }
  });
  const memories = [...lives.keys()];
  const { offsets, arenaBytes } = planMemory([...lives.values()]);
  const arenaRef = new Map(memories.map((memory, i) => [memory, offsets[i] ?? 0]));
  const refOf = ({ type, memory }: Step["inputs"][number]): BufferRef => {
    const index = slotOf.get(memory);
    if (index !== undefined) return { kind: "slot", index };
    return {
      kind: "arena",
      memory: memories.indexOf(memory),
      byteOffset: arenaRef.get(memory) ?? 0,
      byteLength: byteLengthOf(type),
    };
  };
  const launches = steps.map((step) => {
    const call = callOf(step);
    const kernel = graph.device.lower(call);
    if (kernel === undefined) {
      throw new HeddleError(
        "unsupported",
        `compile: the ${graph.device.kind} device has no kernel for ${step.spec.name}; got ${call.inputs.map(formatType).join(", ")}. Cast to f32 first.`,
        { op: step.spec.name },
      );
    }
    const buffers = [...step.inputs, ...step.outputs].map(refOf);
    return { kernel, buffers, outputs: step.outputs.length, mutates: step.spec.mutates ?? [] };
  });
  const plan = graph.device.plan({
    launches,
    arenaBytes,
    slots: slots + outputMemories.length + constantMemories.length,
  });
  return {
    plan,
    arenaBytes: plan.arenaBytes ?? arenaBytes,
    launches: launches.map(({ kernel }) => ({
      name: kernel.name,
      executedOn: kernel.executedOn ?? graph.device.kind,
    })),
  };
}

/** Which inputs of a step lie in the memory of one of its outputs. */
function overwritten({ inputs, outputs }: Step): Pick<OpCall, "overwrittenBy"> {
  const overwrittenBy = inputs.map(({ memory }) => {
    const output = outputs.findIndex((candidate) => candidate.memory === memory);
    return output < 0 ? undefined : output;
  });
  return overwrittenBy.some((output) => output !== undefined) ? { overwrittenBy } : {};
}

function buffersOf(
  compiled: CompiledPlan,
  slots: readonly Storage[],
  outputs: readonly Storage[],
): DeviceBuffer[] {
  return [...slots, ...outputs, ...compiled.constants].map((storage) => storage.buffer);
}

function profile(device: Device, compiled: CompiledPlan, slots: readonly Storage[]): LaunchTime[] {
  const outputs: Storage[] = [];
  try {
    for (const type of compiled.outputs) outputs.push(Storage.allocate(device, byteLengthOf(type)));
    const times = compiled.plan.profile?.(buffersOf(compiled, slots, outputs)) ?? [];
    return times.map((ms, i) => ({
      ...(compiled.report.launches[i] ?? { name: "?", executedOn: device.kind }),
      ms,
    }));
  } finally {
    for (const storage of outputs) storage.release();
  }
}

function run(device: Device, compiled: CompiledPlan, slots: readonly Storage[]): unknown {
  const outputs: Storage[] = [];
  try {
    for (const type of compiled.outputs) outputs.push(Storage.allocate(device, byteLengthOf(type)));
    compiled.plan.run(buffersOf(compiled, slots, outputs));
  } catch (error) {
    for (const storage of outputs) storage.release();
    throw error;
  }
  return resultOf(device, compiled, { slots, outputs });
}

function bind(device: Device, compiled: CompiledPlan, slots: readonly Storage[]): BoundRun<unknown> {
  const outputs: Storage[] = [];
  let runBound: () => void;
  try {
    for (const type of compiled.outputs) outputs.push(Storage.allocate(device, byteLengthOf(type)));
    const buffers = buffersOf(compiled, slots, outputs);
    runBound = compiled.plan.bind?.(buffers) ?? (() => compiled.plan.run(buffers));
  } catch (error) {
    for (const storage of outputs) storage.release();
    throw error;
  }
  const kept = slots.map((storage) => storage.retain());
  const result = resultOf(device, compiled, { slots, outputs });
  let isDisposed = false;
  const dispose = () => {
    if (isDisposed) return;
    isDisposed = true;
    disposeTree(result);
    for (const storage of kept) storage.release();
  };
  return {
    result,
    run() {
      if (isDisposed || compiled.isDisposed) {
        throw new HeddleError(
          "disposed",
          `compile: a bound run must be alive; got one after ${isDisposed ? "its" : "the compiled function's"} dispose(). Bind it again.`,
        );
      }
      runBound();
    },
    dispose,
    [Symbol.dispose]: dispose,
  };
}

/** The tensors of a run's results, as `fn` returned them. */
function resultOf(
  device: Device,
  compiled: CompiledPlan,
  { slots, outputs }: { readonly slots: readonly Storage[]; readonly outputs: readonly Storage[] },
): unknown {
  const used = new Set<Storage>();
  /** The first tensor of a fresh output owns it; further views, and views of arguments, count as more owners. */
  const own = (storage: Storage, fresh: boolean): Storage => {
    if (fresh && !used.has(storage)) {
      used.add(storage);
      return storage;
    }
    return storage.retain();
  };
  const leaves = compiled.results.map((ref) => {
    if (ref.kind === "static") return ref.value;
    const storage =
      ref.kind === "output" ? outputs[ref.index] : ref.kind === "argument" ? slots[ref.index] : ref.storage;
    invariant(storage, "a compiled result has no memory");
    return new Tensor(device, ref.type, {
      kind: "storage",
      storage: own(storage, ref.kind === "output"),
      executedOn: "compiled",
    });
  });
  return compiled.rebuild(leaves);
}
