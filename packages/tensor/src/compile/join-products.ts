import type { Expression } from "../expression.js";
import { sizeOf, stridesOf } from "../shape.js";
import { groupedSpec } from "./grouped-op.js";
import type { GroupMember, HeadOrder, PartInput, PartTarget, ProductPart } from "./product-group.js";
import { isIndependent, type Step } from "./step.js";

/** How far behind the first product of a group its last member may stand, in steps. */
const MAX_SPAN = 16;

type Place = Step["inputs"][number];

export interface JoinOptions {
  /** Memories that are read after the last step. */
  readonly kept: ReadonlySet<number>;
  readonly maxBuffers: number;
  /** Whether the device has a kernel for a step. */
  canRun(step: Step): boolean;
}

/**
 * Joins products by weights with their neighbours, where the device has kernels for such groups: the norm that makes x, other
 * products of the same x, and elementwise work, rotation and cache writes on what they make. A group takes the place of its
 * last member. What does not fit stays as it is.
 */
export function joinProducts(steps: readonly Step[], options: JoinOptions): Step[] {
  let current = [...steps];
  for (let at = 0; at < current.length; at++) {
    const joined = current[at]?.spec.kernels?.pieces?.product && joinAt(current, at, options);
    if (!joined) continue;
    current = joined.steps;
    // What stood between the members has moved up.
    at = joined.next - 1;
  }
  return current;
}

/** Tries groups from the largest to the smallest around the product at a place. */
function joinAt(
  steps: readonly Step[],
  at: number,
  options: JoinOptions,
): { readonly steps: Step[]; readonly next: number } | undefined {
  const tried = new Set<string>();
  for (const wish of wishes) {
    const members = collect(steps, at, { wish, options });
    if (members === undefined || members.all.length < 2) continue;
    const key = members.all.join();
    if (tried.has(key)) continue;
    tried.add(key);
    const step = groupStep(steps, members);
    if (step === undefined || step.inputs.length + step.outputs.length > options.maxBuffers) continue;
    const place = meetingPlace(steps, members.all);
    if (place === undefined || !options.canRun(step)) continue;
    const inside = new Set(members.all);
    const result = steps.flatMap((other, i) => (i === place ? [step] : inside.has(i) ? [] : [other]));
    return { steps: result, next: Math.min(...members.all) };
  }
  return undefined;
}

/** What a group may hold, in the order in which it is tried. */
interface Wish {
  readonly norm: boolean;
  readonly siblings: boolean;
  readonly writes: boolean;
  readonly rotations: boolean;
  readonly expressions: boolean;
  /** Of results by head, and of rotations behind elementwise work; a group must then have such a one. */
  readonly orders: boolean;
}

const everything: Wish = {
  norm: true,
  siblings: true,
  writes: true,
  rotations: true,
  expressions: true,
  orders: false,
};
const wishes: readonly Wish[] = [
  { ...everything, orders: true, norm: false },
  { ...everything, orders: true, norm: false, writes: false },
  { ...everything, orders: true, norm: false, writes: false, rotations: false },
  everything,
  { ...everything, writes: false },
  { ...everything, writes: false, rotations: false },
  { ...everything, norm: false },
  { ...everything, norm: false, writes: false },
  { ...everything, norm: false, writes: false, rotations: false },
  { ...everything, siblings: false, writes: false },
  { ...everything, siblings: false, writes: false, norm: false },
  { ...everything, writes: false, rotations: false, expressions: false },
];

/** Members by their places among the steps. */
interface Members {
  readonly norm: number | undefined;
  readonly parts: readonly PartMembers[];
  readonly write: number | undefined;
  readonly all: readonly number[];
}

interface PartMembers {
  readonly products: readonly number[];
  readonly order?: number;
  readonly rotation?: number;
  readonly expression?: number;
}

function collect(
  steps: readonly Step[],
  at: number,
  { wish, options }: { readonly wish: Wish; readonly options: JoinOptions },
): Members | undefined {
  const x = steps[at]?.inputs[0]?.memory;
  if (x === undefined) return undefined;
  const end = Math.min(steps.length, at + MAX_SPAN);
  const products = [at];
  for (let i = at + 1; wish.siblings && i < end; i++) {
    const step = steps[i];
    if (step === undefined || writesOf(step).includes(x)) break;
    if (step.spec.kernels?.pieces?.product && step.inputs[0]?.memory === x && !reads(step, 1).includes(x))
      products.push(i);
  }
  const readers = (memory: number) =>
    steps.flatMap((step, i) => (step.inputs.some((input) => input.memory === memory) ? [i] : []));
  /** The only step that reads what a step makes. */
  const onlyReader = (from: number): number | undefined => {
    const [output, ...others] = steps[from]?.outputs ?? [];
    if (output === undefined || others.length > 0 || options.kept.has(output.memory)) return undefined;
    const found = readers(output.memory);
    const isOnce =
      steps[found[0] ?? -1]?.inputs.filter(({ memory }) => memory === output.memory).length === 1;
    return found.length === 1 && isOnce && (found[0] ?? -1) > from && (found[0] ?? -1) < end
      ? found[0]
      : undefined;
  };
  /** The order of heads and the rotation that alone read what a step makes. */
  const headsBehind = (from: number, turns: boolean): Pick<PartMembers, "order" | "rotation"> => {
    const order = onlyReader(from) ?? -1;
    const isOrder = kindOf(steps[order]) === "order";
    const rotation = (isOrder ? onlyReader(order) : order) ?? -1;
    return {
      ...(isOrder && { order }),
      ...(turns && kindOf(steps[rotation]) === "rotation" && { rotation }),
    };
  };
  const parts: PartMembers[] = [];
  const seen = new Set<number>();
  for (const product of products) {
    if (seen.has(product)) continue;
    const reader = onlyReader(product);
    const kind = kindOf(steps[reader ?? -1]);
    if (wish.orders && kind === "order") {
      parts.push({ products: [product], ...headsBehind(product, wish.rotations) });
      continue;
    }
    if (wish.rotations && kind === "rotation" && reader !== undefined) {
      parts.push({ products: [product], rotation: reader });
      continue;
    }
    if (wish.expressions && kind === "expression" && reader !== undefined) {
      const stacked = products.filter((other) => onlyReader(other) === reader);
      for (const other of stacked) seen.add(other);
      const behind = wish.orders && stacked.length === 1 ? headsBehind(reader, wish.rotations) : {};
      parts.push({ products: stacked, expression: reader, ...behind });
      continue;
    }
    parts.push({ products: [product] });
  }
  const isByHead = ({ order, expression, rotation }: PartMembers) =>
    order !== undefined || (expression !== undefined && rotation !== undefined);
  if (wish.orders && !parts.some(isByHead)) return undefined;
  const made = new Map(
    parts.map((part) => [lastOf(part), steps[lastOf(part)]?.outputs[0]?.memory ?? -1] as const),
  );
  const write = wish.writes ? writeOf(steps, { parts, made, onlyReader }) : undefined;
  const norm = wish.norm ? normOf(steps, at, { products, kept: options.kept, readers }) : undefined;
  const all = [
    norm,
    write,
    ...parts.flatMap((part) => [...part.products, part.order, part.rotation, part.expression]),
  ];
  return { norm, parts, write, all: all.filter((i) => i !== undefined).sort((a, b) => a - b) };
}

const lastOf = ({ products, order, rotation, expression }: PartMembers) =>
  rotation ?? order ?? expression ?? products[0] ?? -1;

function kindOf(step: Step | undefined): "rotation" | "expression" | "write" | "order" | undefined {
  const pieces = step?.spec.kernels?.pieces;
  if (pieces?.rotation) return "rotation";
  if (pieces?.placement) return "write";
  if (step === undefined) return undefined;
  if (orderOf(step) !== undefined) return "order";
  return expressionOf(step) !== undefined ? "expression" : undefined;
}

/** What a step that lays [B, T, H, D] out as [B, H, T, D] says; undefined for any other. */
function orderOf({ spec, params, inputs, outputs }: Step): HeadOrder | undefined {
  const [output] = outputs;
  const types = inputs.map(({ type }) => type);
  const copies = output && spec.copies?.(types, output.type, params);
  const [region, ...others] = copies?.regions ?? [];
  if (region === undefined || others.length > 0 || copies?.fill !== undefined) return undefined;
  const { shape, inputOffset, outputOffset, inputStrides, outputStrides } = region;
  const [, heads = 1, length = 1, width = 1] = shape;
  const wanted = [length * heads * width, width, heads * width, 1];
  const isAt = (strides: readonly number[], of: readonly number[]) =>
    shape.every((extent, axis) => extent === 1 || strides[axis] === of[axis]);
  const isWhole =
    shape.length === 4 && inputOffset + outputOffset === 0 && sizeOf(types[0]?.shape ?? []) === sizeOf(shape);
  return isWhole && isAt(inputStrides, wanted) && isAt(outputStrides, stridesOf(shape))
    ? { length, width }
    : undefined;
}

function expressionOf(step: Step): Expression | undefined {
  const { spec, params, inputs } = step;
  return spec.expression?.(
    inputs.map(({ type }) => type),
    params,
  );
}

/** The step that puts what parts make into stores, if all that it puts there comes from them. */
function writeOf(
  steps: readonly Step[],
  {
    parts,
    made,
    onlyReader,
  }: {
    readonly parts: readonly PartMembers[];
    readonly made: ReadonlyMap<number, number>;
    onlyReader(from: number): number | undefined;
  },
): number | undefined {
  const found = new Set(
    parts
      .map((part) => onlyReader(lastOf(part)))
      .filter((i) => i !== undefined && kindOf(steps[i]) === "write"),
  );
  const [write] = found;
  const step = steps[write ?? -1];
  if (found.size !== 1 || step === undefined) return undefined;
  const stores = step.spec.mutates?.length ?? 0;
  const fresh = step.inputs.slice(stores, 2 * stores).map(({ memory }) => memory);
  const own = [...made].filter(([last]) => onlyReader(last) === write).map(([, memory]) => memory);
  return fresh.every((memory) => own.includes(memory)) ? write : undefined;
}

/** The norm that makes x, if nobody else reads it. */
function normOf(
  steps: readonly Step[],
  at: number,
  {
    products,
    kept,
    readers,
  }: {
    readonly products: readonly number[];
    readonly kept: ReadonlySet<number>;
    readers(memory: number): readonly number[];
  },
): number | undefined {
  const x = steps[at]?.inputs[0]?.memory ?? -1;
  const norm = steps.findLastIndex((step, i) => i < at && step.outputs.some(({ memory }) => memory === x));
  const step = steps[norm];
  if (step === undefined || !step.spec.kernels?.pieces?.norm || kept.has(x) || at - norm > MAX_SPAN)
    return undefined;
  return readers(x).every((i) => products.includes(i)) ? norm : undefined;
}

/** Where a group can stand: at its last member if the others can wait for it, else at its first if the others can come up to it. */
function meetingPlace(steps: readonly Step[], members: readonly number[]): number | undefined {
  const [first, last] = [Math.min(...members), Math.max(...members)];
  const others = steps.slice(first, last).flatMap((step, i) => (members.includes(first + i) ? [] : [step]));
  const at = (step: Step) => steps.indexOf(step);
  const isFree = (isBetween: (other: number, member: number) => boolean) =>
    members.every((member) => {
      const step = steps[member];
      return step && others.every((other) => !isBetween(at(other), member) || isIndependent(step, other));
    });
  if (isFree((other, member) => other > member)) return last;
  return isFree((other, member) => other < member) ? first : undefined;
}

/** The launch of a group; undefined where an output lies in the memory of an input, or a member reads what another part makes. */
function groupStep(steps: readonly Step[], { norm, parts, write, all }: Members): Step | undefined {
  const inputs: Place[] = [];
  const outputs: Place[] = [];
  const internal = new Set(all.flatMap((i) => steps[i]?.outputs ?? []).map(({ memory }) => memory));
  const place = (input: Place): number => {
    const known = inputs.findIndex(({ memory }) => memory === input.memory);
    return known >= 0 ? known : inputs.push(input) - 1;
  };
  const member = (at: number): GroupMember => {
    const step = steps[at] as Step;
    return {
      spec: step.spec,
      params: step.params,
      types: step.inputs.map(({ type }) => type),
      output: step.outputs[0]?.type,
      inputs: step.inputs.map((input) => (internal.has(input.memory) ? -1 : place(input))),
    };
  };
  const before = norm === undefined ? undefined : member(norm);
  const written = write === undefined ? undefined : member(write);
  const made = parts.map((part): ProductPart => {
    const products = part.products.map(member);
    const last = steps[lastOf(part)] as Step;
    const memory = last.outputs[0]?.memory ?? -1;
    const fresh =
      write === undefined ? -1 : (steps[write]?.inputs.findIndex((input) => input.memory === memory) ?? -1);
    const targets: PartTarget[] =
      written !== undefined && fresh >= 0
        ? [{ kind: "store", placement: written, fresh }]
        : last.outputs.map((output) => ({
            kind: "output",
            index: outputs.push(output) - 1,
            type: output.type,
          }));
    const order = part.order === undefined ? undefined : orderOf(steps[part.order] as Step);
    return {
      products,
      ...(order && { order }),
      ...(part.rotation === undefined ? {} : { rotation: member(part.rotation) }),
      ...(part.expression === undefined
        ? {}
        : { expression: expressionPart(steps, part, { place, at: part.expression }) }),
      targets,
    };
  });
  const mutates = (write === undefined ? [] : (steps[write]?.spec.mutates ?? [])).map(
    (index) => written?.inputs[index] ?? -1,
  );
  const overlaps = outputs.some(({ memory }) => inputs.some((input) => input.memory === memory));
  if (overlaps || inputs.some(({ memory }) => internal.has(memory))) return undefined;
  const group = { ...(before && { norm: before }), parts: made };
  const names = [...new Set(all.map((i) => steps[i]?.spec.name ?? ""))];
  const types = outputs.map(({ type }) => type);
  return {
    spec: groupedSpec(group, { name: names.join("+"), mutates, outputs: types }),
    params: undefined,
    inputs,
    outputs,
    ops: all.reduce((sum, i) => sum + (steps[i]?.ops ?? 0), 0),
  };
}

function expressionPart(
  steps: readonly Step[],
  { products }: PartMembers,
  { place, at }: { place(input: Place): number; readonly at: number },
): NonNullable<ProductPart["expression"]> {
  const step = steps[at] as Step;
  const made = products.map((product) => steps[product]?.outputs[0]?.memory);
  return {
    expression: expressionOf(step) as Expression,
    inputs: step.inputs.map((input): PartInput => {
      const index = made.indexOf(input.memory);
      return index >= 0
        ? { kind: "product", index }
        : { kind: "input", index: place(input), type: input.type };
    }),
  };
}

const reads = ({ inputs }: Step, from: number): number[] => inputs.slice(from).map(({ memory }) => memory);

function writesOf({ spec, inputs, outputs }: Step): number[] {
  const mutated = (spec.mutates ?? []).map((index) => inputs[index]?.memory ?? -1);
  return [...outputs.map(({ memory }) => memory), ...mutated];
}
