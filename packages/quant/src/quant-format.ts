import type { TensorType } from "@heddle/tensor";

/**
 * How the numbers of a quantised weight are stored: w = (code - offset) * scale + min, in groups of inputs that share scale
 * and minimum. Plain data, the same for every device and every file format that it came from.
 */
export interface QuantFormat {
  /** Bits of a stored code. 4 and 6 bits are unsigned, 8 bits are signed. */
  readonly codeBits: 4 | 6 | 8;
  /** Subtracted from a code; whole. */
  readonly offset: number;
  /** Inputs that share a scale: 16, or a multiple of 32. */
  readonly groupSize: number;
  /** Dtype of the stored scales. Whole numbers (u8, i8) are multiplied by a second scale for each 256 inputs. */
  readonly scaleDType: "f16" | "f32" | "u8" | "i8";
  /** Whether groups have a minimum, stored like the scale. */
  readonly hasMin: boolean;
}

/** A format with the extents of one weight: the parameters of every op on quantised weights. */
export interface QuantLayout extends QuantFormat {
  readonly inFeatures: number;
  readonly outFeatures: number;
}

/** The layout of a stack's matrices below each other, and how many they are. */
export interface StackLayout extends QuantLayout {
  readonly numMatrices: number;
}

/**
 * Names how numbers lie in the tensors of a weight. It changes whenever the same weight comes to have other bytes, so that packed
 * forms that were saved by another version are told apart.
 */
export const PANEL_LAYOUT_VERSION = 1;

/** Rows of a panel: outputs whose codes lie side by side. */
export const PANEL_ROWS = 16;
/** Inputs of a block: codes of one panel that lie together. */
export const BLOCK_SIZE = 32;
/** Inputs that share a scale of the second level. */
export const SUPER_SIZE = 256;

/** Whether scales are products of a whole number and a second-level scale. */
export function isNested({ scaleDType }: QuantFormat): boolean {
  return scaleDType === "u8" || scaleDType === "i8";
}

/** Counts of panels, blocks, groups and second-level groups of a weight; the last of each may be padding in part. */
export function panelCounts({ inFeatures, outFeatures, groupSize }: QuantLayout) {
  const numBlocks = Math.ceil(inFeatures / BLOCK_SIZE);
  return {
    numPanels: Math.ceil(outFeatures / PANEL_ROWS),
    numBlocks,
    numGroups: Math.ceil((numBlocks * BLOCK_SIZE) / groupSize),
    numSupers: Math.ceil((numBlocks * BLOCK_SIZE) / SUPER_SIZE),
  };
}

/** Bytes of one block of a panel: 512 codes. */
export function blockBytes({ codeBits }: QuantFormat): number {
  return codeBits * 64;
}

/** The tensors of a weight by name, in the order in which ops take them. */
export const partNames = ["codes", "scales", "mins", "superScales", "superMins"] as const;
export type PartName = (typeof partNames)[number];

/** Shape and dtype of each tensor that the layout has; the others are absent. */
export function partTypes(layout: QuantLayout): Partial<Record<PartName, TensorType>> {
  const { numPanels, numBlocks, numGroups, numSupers } = panelCounts(layout);
  const perGroup = { shape: [numPanels, numGroups, PANEL_ROWS], dtype: layout.scaleDType } as const;
  const perSuper = { shape: [numPanels, numSupers, PANEL_ROWS], dtype: "f32" } as const;
  return {
    codes: { shape: [numPanels, numBlocks, blockBytes(layout)], dtype: "u8" },
    scales: perGroup,
    ...(layout.hasMin ? { mins: perGroup } : {}),
    ...(isNested(layout) ? { superScales: perSuper } : {}),
    ...(isNested(layout) && layout.hasMin ? { superMins: perSuper } : {}),
  };
}

/** The tensors that a weight of this layout has, in order. */
export function presentParts(layout: QuantLayout): readonly PartName[] {
  const types = partTypes(layout);
  return partNames.filter((name) => types[name] !== undefined);
}

/** What stands for the tensors of a weight, by name, as a list in the order in which ops take them. */
export function listParts<T>(parts: Partial<Record<PartName, T>>): T[] {
  return partNames.flatMap((name) => parts[name] ?? []);
}

/** The way back: what stands in a list for the tensors of a weight of this layout, by name. */
export function nameParts<T>(layout: QuantLayout, given: readonly T[]): Partial<Record<PartName, T>> {
  return Object.fromEntries(presentParts(layout).map((name, i) => [name, given[i]]));
}

/** A piece of a code inside a block: bits `shift`.. of a byte, worth `1 << weight` of the code. */
interface CodePiece {
  readonly byte: number;
  readonly shift: number;
  readonly bits: number;
  readonly weight: number;
}

/**
 * Where the code of panel row r, input k of a block lies.
 *
 * 4 bits: 16 bytes hold 4 rows x 4 inputs; the low half of a byte is input k, the high half input k + 16.
 * 6 bits: the low four bits as with 4 bits (256 bytes); then the upper two, four codes to a byte: inputs k, k + 8, k + 16, k + 24.
 * 8 bits: 16 bytes hold 8 rows x 2 inputs.
 */
export function codePieces({ codeBits }: QuantFormat, row: number, k: number): readonly CodePiece[] {
  if (codeBits === 8) {
    const byte = ((k >> 1) * 2 + (row >> 3)) * 16 + (row & 7) * 2 + (k & 1);
    return [{ byte, shift: 0, bits: 8, weight: 0 }];
  }
  const inChunk = (row & 3) * 4 + (k & 3);
  const quad = k >> 2;
  const low = {
    byte: ((quad & 3) * 4 + (row >> 2)) * 16 + inChunk,
    shift: (quad >> 2) * 4,
    bits: 4,
    weight: 0,
  };
  if (codeBits === 4) return [low];
  const high = {
    byte: 256 + ((quad & 1) * 4 + (row >> 2)) * 16 + inChunk,
    shift: (quad >> 1) * 2,
    bits: 2,
    weight: 4,
  };
  return [low, high];
}
