import type { Tensor } from "@heddle/tensor";
import { type BlockLayout, bytesOfRow } from "./panels-from-blocks.js";

/** Bytes inside a tensor of the packer's device: u8 [n], from byte `from` on. */
export interface BlockPlace {
  readonly bytes: Tensor;
  readonly from: number;
}

/** Longest piece that may wait in the memory of the codes. */
const MOST_PIECE_BYTES = 2 ** 22;

/** Where pieces of the file may wait in the memory of the codes until they are packed. */
export interface PieceRoom {
  roomFor(start: number, byteLength: number): Uint8Array | undefined;
  placeOf(bytes: Uint8Array): BlockPlace | undefined;
}

/**
 * Codes are packed from the front, so that their memory behind is free: a piece that begins at byte s of the file waits two
 * pieces ahead of the codes that it becomes. Nothing of it is overwritten before it is packed, nor is the piece after it.
 */
export function pieceRoom(
  layout: BlockLayout,
  codes: Tensor,
  view: Uint8Array | undefined,
): PieceRoom | undefined {
  if (view === undefined) return undefined;
  const growth = Math.max(1, view.byteLength / (bytesOfRow(layout) * layout.outFeatures));
  return {
    roomFor(start, byteLength) {
      const from = 64 * Math.ceil((growth * (start + 2 * MOST_PIECE_BYTES)) / 64);
      const isInside = byteLength <= MOST_PIECE_BYTES && from + byteLength <= view.byteLength;
      return isInside ? view.subarray(from, from + byteLength) : undefined;
    },
    placeOf(bytes) {
      const from = bytes.byteOffset - view.byteOffset;
      const isInside = bytes.buffer === view.buffer && from >= 0 && from < view.byteLength;
      return isInside ? { bytes: codes, from } : undefined;
    },
  };
}
