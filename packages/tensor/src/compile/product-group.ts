import type { Expression } from "../expression.js";
import type { OpSpec } from "../op.js";
import type { TensorType } from "../shape.js";

/**
 * Products that share x, with the norm before them and what happens to their results, as one launch. Plain data; numbers are
 * places among the inputs or outputs of the launch.
 */
export interface ProductGroup {
  /** Makes x out of its first input; without it x is an input. */
  readonly norm?: GroupMember;
  readonly parts: readonly ProductPart[];
}

/** An op as part of a group. */
export interface GroupMember {
  readonly spec: OpSpec;
  readonly params: unknown;
  /** The op's own types, which may be other views of the launch's inputs. */
  readonly types: readonly TensorType[];
  readonly output: TensorType | undefined;
  /** Input of the launch behind each input of the op; -1 for what the group itself makes. */
  readonly inputs: readonly number[];
}

/** Outputs [B, T, H D] of tokens are laid out by head: [B, H, T, D]. */
export interface HeadOrder {
  /** T */
  readonly length: number;
  /** D */
  readonly width: number;
}

/** Products whose outputs belong together, element by element. */
export interface ProductPart {
  readonly products: readonly GroupMember[];
  /** Where the results of the only product lie, behind elementwise work and before they are turned. */
  readonly order?: HeadOrder;
  /** Turns pairs of what the only product and the elementwise work behind it give. */
  readonly rotation?: GroupMember;
  /** Elementwise work on the products' outputs and other inputs. */
  readonly expression?: {
    readonly expression: Expression;
    /** Products first, then inputs of the launch, in the order of the expression's inputs. */
    readonly inputs: readonly PartInput[];
  };
  readonly targets: readonly PartTarget[];
}

export type PartInput =
  | { readonly kind: "product"; readonly index: number }
  | { readonly kind: "input"; readonly index: number; readonly type: TensorType };

/** Where values go: into an output, or into a store that an op changes in place. */
export type PartTarget =
  | { readonly kind: "output"; readonly index: number; readonly type: TensorType }
  | { readonly kind: "store"; readonly placement: GroupMember; readonly fresh: number };
