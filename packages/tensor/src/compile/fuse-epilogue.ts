import type { Device } from "../device.js";
import type { Expression } from "../expression.js";
import { type Shape, sameShape, sizeOf, type TensorType } from "../shape.js";
import type { FusedParams } from "./fused-ops.js";
import { isIndependent, type Step } from "./step.js";

/** What `fuseEpilogue` has to know of the plan so far. */
export interface EpilogueSurroundings {
  readonly device: Device;
  /** Steps before the chain, in order. */
  readonly steps: readonly Step[];
  /** Whether somebody besides the chain reads this memory from here on. */
  isNeeded(memory: number): boolean;
}

/**
 * Joins a chain of elementwise ops with the products that it reads, where their op has a kernel for that: a bias, an activation,
 * a residual, or a gate over two products. The products then run where the chain would.
 *
 * @returns the joined step and the steps that it stands for; undefined where the chain remains a step of its own
 */
export function fuseEpilogue(
  chain: Step,
  around: EpilogueSurroundings,
): { readonly step: Step; readonly products: readonly Step[] } | undefined {
  const found = [...new Set(chain.inputs.map((input) => productBehind(chain, input.memory, around)))].filter(
    (step) => step !== undefined,
  );
  const last = found.sort((a, b) => around.steps.indexOf(a) - around.steps.indexOf(b)).at(-1);
  if (last === undefined) return undefined;
  const alike = found.filter(({ spec }) => spec === last.spec);
  for (const products of alike.length > 1 ? [alike, [last]] : [[last]]) {
    const step = joined(chain, products, around.device);
    if (step !== undefined) return { step, products };
  }
  return undefined;
}

/** The step that computes this memory for the chain alone, if its op takes an epilogue and it may run as late as the chain. */
function productBehind(
  chain: Step,
  memory: number,
  { steps, isNeeded }: EpilogueSurroundings,
): Step | undefined {
  const at = steps.findLastIndex(({ outputs }) => outputs.some((output) => output.memory === memory));
  const [product, [result]] = [steps[at], chain.outputs];
  const [output] = product?.outputs ?? [];
  if (product?.spec.withEpilogue === undefined || output === undefined || result === undefined)
    return undefined;
  if (product.outputs.length > 1 || isNeeded(memory) || !sameRows(output.type, result.type)) return undefined;
  if (chain.inputs.filter((input) => input.memory === memory).length > 1) return undefined;
  return steps.slice(at + 1).every((later) => isIndependent(product, later)) ? product : undefined;
}

const sameRows = (a: TensorType, b: TensorType) =>
  a.dtype === b.dtype && sizeOf(a.shape) === sizeOf(b.shape) && a.shape.at(-1) === b.shape.at(-1);

function joined(chain: Step, products: readonly Step[], device: Device): Step | undefined {
  const [spec, output] = [products[0]?.spec, chain.outputs[0]];
  if (spec?.withEpilogue === undefined || output === undefined) return undefined;
  const results = products.map(({ outputs }) => outputs[0]?.memory ?? -1);
  const others = chain.inputs.filter(({ memory }) => !results.includes(memory));
  // The kernel sees each as rows: a bias of [1, N] is one row as [N] is.
  const rows = others.flatMap((input) => {
    const type = alongRows(input.type, output.type);
    return type === undefined ? [] : [{ ...input, type }];
  });
  if (rows.length < others.length) return undefined;
  const { expression } = chain.params as FusedParams;
  const order = chain.inputs.map((input) => {
    const product = results.indexOf(input.memory);
    return product >= 0 ? product : results.length + others.indexOf(input);
  });
  const epilogue = {
    expression: renumbered(expression, order),
    inputs: rows.map(({ type }) => type),
  };
  const fused = spec.withEpilogue(epilogue, products);
  if (fused === undefined) return undefined;
  const inputs = [...products.flatMap((product) => product.inputs), ...rows];
  const call = { op: fused.spec, params: fused.params, outputs: [output.type] };
  if (device.lower({ ...call, inputs: inputs.map(({ type }) => type) }) === undefined) return undefined;
  const ops = products.reduce((sum, product) => sum + product.ops, chain.ops);
  return { ...fused, inputs, outputs: [output], ops };
}

/** The type of an input with the result's extents in two axes, or the last of them alone; undefined for other broadcasts. */
function alongRows(type: TensorType, { shape }: TensorType): TensorType | undefined {
  const columns = shape.at(-1) ?? 1;
  if (isRow(type.shape, columns)) return { dtype: type.dtype, shape: [columns] };
  if (!sameShape(type.shape, shape)) return undefined;
  return { dtype: type.dtype, shape: [sizeOf(shape) / columns, columns] };
}

const isRow = (shape: Shape, columns: number) => shape.at(-1) === columns && sizeOf(shape) === columns;

/** The expression with its inputs under other numbers. */
function renumbered({ nodes, outputs }: Expression, order: readonly number[]): Expression {
  return {
    nodes: nodes.map((node) => (node.op === "input" ? { ...node, index: order[node.index] ?? 0 } : node)),
    outputs,
  };
}
