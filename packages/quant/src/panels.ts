import type { HostData } from "@heddle/tensor";
import {
  BLOCK_SIZE,
  blockBytes,
  codePieces,
  isNested,
  PANEL_ROWS,
  type PartName,
  panelCounts,
  partTypes,
  type QuantLayout,
  SUPER_SIZE,
} from "./quant-format.js";

/** The tensors of a weight as plain numbers. */
export type PanelArrays = Partial<Record<PartName, HostData>>;

/** Empty arrays for a weight. */
export function createPanels(layout: QuantLayout): PanelArrays {
  const arrays: PanelArrays = {};
  for (const [name, { shape, dtype }] of Object.entries(partTypes(layout))) {
    const size = shape.reduce((product, extent) => product * extent, 1);
    const isCode = dtype === "u8";
    arrays[name as PartName] = isCode
      ? new Uint8Array(size)
      : dtype === "i8"
        ? new Int8Array(size)
        : new Float32Array(size);
  }
  return arrays;
}

/** Reads and writes the numbers of single weights in panels; the slow twin of every kernel. */
export interface PanelAccess {
  code(row: number, k: number): number;
  setCode(row: number, k: number, code: number): void;
  /** Index of the group's entry in `scales` and `mins`. */
  groupAt(row: number, group: number): number;
  /** Index of the entry in `superScales` and `superMins`. */
  superAt(row: number, index: number): number;
  /** The weight, computed in float64. */
  weight(row: number, k: number): number;
}

/** Access to the numbers of one weight. */
export function accessPanels(layout: QuantLayout, arrays: PanelArrays): PanelAccess {
  const { numBlocks, numGroups, numSupers } = panelCounts(layout);
  const { groupSize, offset, codeBits } = layout;
  const nested = isNested(layout);
  const places = Array.from({ length: PANEL_ROWS * BLOCK_SIZE }, (_, i) =>
    codePieces(layout, Math.floor(i / BLOCK_SIZE), i % BLOCK_SIZE),
  );
  const { codes, scales, mins, superScales, superMins } = arrays;
  const placeOf = (row: number, k: number) =>
    places[(row % PANEL_ROWS) * BLOCK_SIZE + (k % BLOCK_SIZE)] ?? [];
  const startOf = (row: number, k: number) =>
    (Math.floor(row / PANEL_ROWS) * numBlocks + Math.floor(k / BLOCK_SIZE)) * blockBytes(layout);
  const groupAt = (row: number, group: number) =>
    (Math.floor(row / PANEL_ROWS) * numGroups + group) * PANEL_ROWS + (row % PANEL_ROWS);
  const superAt = (row: number, index: number) =>
    (Math.floor(row / PANEL_ROWS) * numSupers + index) * PANEL_ROWS + (row % PANEL_ROWS);
  const code = (row: number, k: number) => {
    const start = startOf(row, k);
    let value = 0;
    for (const { byte, shift, bits, weight } of placeOf(row, k)) {
      value |= (((codes?.[start + byte] ?? 0) >> shift) & ((1 << bits) - 1)) << weight;
    }
    return codeBits === 8 ? (value << 24) >> 24 : value;
  };
  return {
    code,
    setCode(row, k, value) {
      if (codes === undefined) return;
      const start = startOf(row, k);
      for (const { byte, shift, bits, weight } of placeOf(row, k)) {
        const mask = (1 << bits) - 1;
        const kept = (codes[start + byte] ?? 0) & ~(mask << shift);
        codes[start + byte] = kept | (((value >> weight) & mask) << shift);
      }
    },
    groupAt,
    superAt,
    weight(row, k) {
      const group = groupAt(row, Math.floor(k / groupSize));
      const top = superAt(row, Math.floor(k / SUPER_SIZE));
      const scale = (scales?.[group] ?? 0) * (nested ? (superScales?.[top] ?? 0) : 1);
      const product = (code(row, k) - offset) * scale;
      // Not + 0: the sign of a zero is that of the file's definition, too.
      return mins === undefined
        ? product
        : product + (mins[group] ?? 0) * (nested ? (superMins?.[top] ?? 0) : 1);
    },
  };
}
