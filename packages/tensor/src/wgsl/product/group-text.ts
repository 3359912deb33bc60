import type { GroupMember, ProductGroup } from "../../compile/product-group.js";
import type { DType } from "../../dtype.js";
import type { OpCall } from "../../op.js";
import { sizeOf } from "../../shape.js";
import { valueType } from "../dtype.js";
import type { WgslFeatures } from "../kernel.js";
import { type BufferUse, bufferAt, type StepParam } from "../step.js";
import type {
  FunctionPiece,
  NormPiece,
  PlacementPiece,
  ProductPiece,
  RotationPiece,
  TilePiece,
} from "./piece.js";

/** What the members of a group contribute to its kernel: bindings, uniforms, tables and functions. */
export class GroupText {
  readonly buffers: BufferUse[] = [];
  /** Numbers that follow from what the text is written for. */
  readonly fixed: Record<string, StepParam> = {};
  readonly params: Record<string, StepParam> = {};
  readonly tables: Record<string, Uint32Array> = {};
  readonly functions = new Map<string, string>();
  readonly #prefixes = new Map<string, string>();

  /** Adds the functions of a piece under a prefix, once for equal pieces over equal inputs. */
  addFunctions(member: GroupMember, piece: FunctionPiece, kind: string): string {
    const sources = piece.inputs.map(({ input }) => member.inputs[input] ?? -1);
    const tables = Object.entries(piece.tables).map(([name, words]) => [name, words.join()]);
    const key = JSON.stringify([kind, sources, piece.params, tables, piece.code("h")]);
    const known = this.#prefixes.get(key);
    if (known !== undefined) return known;
    const prefix = `${kind}${this.#prefixes.size}`;
    this.#prefixes.set(key, prefix);
    for (const [i, { name, dtype }] of piece.inputs.entries())
      this.read(`${prefix}_${name}`, sources[i] ?? -1, dtype);
    for (const [name, value] of Object.entries(piece.params)) this.params[`${prefix}_${name}`] = value;
    for (const [name, words] of Object.entries(piece.tables)) this.tables[`${prefix}_${name}`] = words;
    this.functions.set(prefix, piece.code(prefix));
    return prefix;
  }

  /** Binds an input under a name; inputs that are bound already get another accessor. */
  read(name: string, index: number, dtype: DType): void {
    const bound = this.buffers.find(
      ({ memory, access, element }) =>
        memory.kind === "buffer" && memory.index === index && access === "read" && element === undefined,
    );
    if (bound === undefined) {
      this.buffers.push({ name, memory: bufferAt(index), dtype, access: "read" });
      return;
    }
    this.functions.set(
      `load ${name}`,
      `fn load_${name}(i: u32) -> ${valueType(dtype)} { return load_${bound.name}(i); }`,
    );
  }
}

/** Rows of x: as many as the first product has results of all its outputs. */
export function rowsOf({ parts }: ProductGroup): number {
  const { output } = parts[0]?.products[0] ?? {};
  return output === undefined ? 0 : sizeOf(output.shape) / (output.shape.at(-1) ?? 1);
}

/** What the op of a member offers. */
export function pieceOf(
  member: GroupMember,
  kind: "product",
  features: WgslFeatures,
): ProductPiece | undefined;
export function pieceOf(member: GroupMember, kind: "tiles", features: WgslFeatures): TilePiece | undefined;
export function pieceOf(member: GroupMember, kind: "norm"): NormPiece | undefined;
export function pieceOf(member: GroupMember, kind: "rotation"): RotationPiece | undefined;
export function pieceOf(member: GroupMember, kind: "placement"): PlacementPiece | undefined;
export function pieceOf(
  { spec, params, types, output }: GroupMember,
  kind: "product" | "tiles" | "norm" | "rotation" | "placement",
  features?: WgslFeatures,
) {
  const pieces = spec.kernels?.pieces;
  const call: OpCall = { op: spec, params, inputs: types, outputs: output === undefined ? [] : [output] };
  switch (kind) {
    case "product":
      return features && pieces?.product?.(call, features);
    case "tiles":
      return features && pieces?.tiles?.(call, features);
    case "norm":
      return pieces?.norm?.(call);
    case "rotation":
      return pieces?.rotation?.(call);
    case "placement":
      return pieces?.placement?.(call);
    default:
      return kind satisfies never;
  }
}
