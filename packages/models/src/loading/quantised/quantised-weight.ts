import type { StoredTensor } from "@heddle/checkpoints";
import type { QuantStack } from "@heddle/quant";
import type { Device, FloatDType, RowPieces, Tensor } from "@heddle/tensor";
import type { LocatedWeight } from "../weight-map.js";

/** A weight in memory: dense, in pieces, or in fewer bits. */
export type LoadedPart = Tensor | RowPieces | QuantStack;

/** Loads the parts of a stored weight, in the rule's order; the caller disposes them. */
export type LoadParts = (
  weight: LocatedWeight,
  options: { readonly device: Device; readonly dtype?: FloatDType | "stored" | undefined },
) => Promise<readonly LoadedPart[]>;

/** Tensors that together store one weight. */
export interface QuantisedWeight {
  /** Names of the tensors that hold it. */
  readonly holders: readonly string[];
  /** How it is listed: the place of its codes, the shape of the weight. */
  readonly listed: StoredTensor;
  readonly load: LoadParts;
}

/** What a method finds in a checkpoint: weights by name, and what does not fit together. */
export interface QuantisedWeights {
  readonly weights: ReadonlyMap<string, QuantisedWeight>;
  readonly problems: readonly string[];
}

/** "x U8 [2, 3]", for lists of problems. */
export function shownTensor(name: string, stored: StoredTensor | undefined): string {
  return stored === undefined ? `no ${name}` : `${name} ${stored.dtype} [${stored.shape.join(", ")}]`;
}
