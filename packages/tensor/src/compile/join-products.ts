import type { Expression } from "../expression.js";
import { groupedSpec } from "./grouped-op.js";
import type { GroupMember, PartInput, PartTarget, ProductPart } from "./product-group.js";
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
    if (!isMovable(steps, members.all) || !options.canRun(step)) continue;
    const last = Math.max(...members.all);
    const inside = new Set(members.all);
    const result = steps.flatMap((other, i) => (i === last ? [step] : inside.has(i) ? [] : [other]));
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
}

const everything: Wish = { norm: true, siblings: true, writes: true, rotations: true, expressions: true };
const wishes: readonly Wish[] = [
  everything,
  { ...everything, writes: false },
  { ...everything, writes: false, rotations: false },
  { ...everything, norm: false },
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
  readonly rotation: number | undefined;
  readonly expression: number | undefined;
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
  const parts: PartMembers[] = [];
  const seen = new Set<number>();
  for (const product of products) {
    if (seen.has(product)) continue;
    const reader = onlyReader(product);
    const kind = reader === undefined ? undefined : kindOf(steps[reader]);
    if (wish.rotations && kind === "rotation") {
      parts.push({ products: [product], rotation: reader, expression: undefined });
      continue;
    }
    if (wish.expressions && kind === "expression" && reader !== undefined) {
      const stacked = products.filter((other) => onlyReader(other) === reader);
      for (const other of stacked) seen.add(other);
      parts.push({ products: stacked, rotation: undefined, expression: reader });
      continue;
    }
    parts.push({ products: [product], rotation: undefined, expression: undefined });
  }
  const made = new Map(
    parts.map((part) => [lastOf(part), steps[lastOf(part)]?.outputs[0]?.memory ?? -1] as const),
  );
  const write = wish.writes ? writeOf(steps, { parts, made, onlyReader }) : undefined;
  const norm = wish.norm ? normOf(steps, at, { products, kept: options.kept, readers }) : undefined;
  const all = [norm, write, ...parts.flatMap((part) => [...part.products, part.rotation, part.expression])];
  return { norm, parts, write, all: all.filter((i) => i !== undefined).sort((a, b) => a - b) };
}

const lastOf = ({ products, rotation, expression }: PartMembers) =>
  rotation ?? expression ?? products[0] ?? -1;

function kindOf(step: Step | undefined): "rotation" | "expression" | "write" | undefined {
  const pieces = step?.spec.kernels?.pieces;
  if (pieces?.rotation) return "rotation";
  if (pieces?.placement) return "write";
  return step !== undefined && expressionOf(step) !== undefined ? "expression" : undefined;
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

/** Whether every member can wait until the last of them runs. */
function isMovable(steps: readonly Step[], members: readonly number[]): boolean {
  const last = Math.max(...members);
  return members.every((member) => {
    const step = steps[member];
    for (let i = member + 1; step !== undefined && i < last; i++) {
      const other = steps[i];
      if (other !== undefined && !members.includes(i) && !isIndependent(step, other)) return false;
    }
    return true;
  });
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
    return {
      products,
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
