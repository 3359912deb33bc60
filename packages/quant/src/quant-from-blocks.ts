import {
  byteWidth,
  type Device,
  fromBytes,
  fromDeviceBuffer,
  type GgmlType,
  ggmlTypeInfo,
  HeddleError,
  type Tensor,
  tensor,
} from "@heddle/tensor";
import { packBlocksOp } from "./ops/pack-blocks.js";
import { panelBytes } from "./panel-bytes.js";
import { createPanels, type PanelArrays } from "./panels.js";
import { type BlockLayout, blockSourceOf, bytesOfRow, fillPanels } from "./panels-from-blocks.js";
import {
  listParts,
  nameParts,
  PANEL_ROWS,
  type PartName,
  partTypes,
  type QuantFormat,
  type QuantLayout,
} from "./quant-format.js";
import { type QuantParts, type QuantTensor, quantFromParts } from "./quant-tensor.js";

/** How the weights of a GGUF type are held: exactly, whatever the type. */
export function formatOfBlocks(type: GgmlType): QuantFormat {
  return blockSourceOf(type).format;
}

/**
 * How a weight [out, in] of a GGUF type is held: its format and extents.
 *
 * @throws HeddleError "unsupported" for a type that is not one of `quantBlockTypes`, "shape" where `in` is no multiple of its block
 */
export function layoutOfBlocks(
  type: GgmlType,
  [outFeatures, inFeatures]: readonly [number, number],
): QuantLayout {
  const format = formatOfBlocks(type);
  if (inFeatures % ggmlTypeInfo(type).blockSize !== 0) throw wrongBytes(type, [outFeatures, inFeatures]);
  return { ...format, inFeatures, outFeatures };
}

function wrongBytes(type: GgmlType, shape: readonly [number, number], byteLength?: number): HeddleError {
  const { blockSize, blockBytes } = ggmlTypeInfo(type);
  const bytes = byteLength === undefined ? "" : `, ${byteLength} bytes`;
  const message = `quantFromBlocks: ${type} takes ${blockBytes} bytes for each ${blockSize} inputs; got [${shape.join(", ")}]${bytes}. Pass the whole tensor with its shape [out, in].`;
  return new HeddleError("shape", message, { type, shape, byteLength });
}

/**
 * Makes a quantised weight from the stored blocks of a GGUF tensor. No weight changes: `dequantize()` gives what the file says.
 *
 * @param type   type of the blocks, one of `quantBlockTypes`
 * @param bytes  all blocks, row after row
 * @param shape  [out, in]; `in` a multiple of the type's block
 * @returns a weight that the caller disposes
 * @throws HeddleError "unsupported" for another type (load F32, F16 and BF16 as dense tensors), "shape" where bytes and shape differ
 */
export function quantFromBlocks(
  device: Device,
  type: GgmlType,
  bytes: Uint8Array,
  shape: readonly [number, number],
): QuantTensor {
  const packer = createBlockPacker(device, type, shape);
  try {
    packer.write(bytes);
    return packer.finish();
  } catch (error) {
    packer.dispose();
    throw error;
  }
}

/** Bytes inside a tensor of the packer's device: u8 [n], from byte `from` on. */
export interface BlockPlace {
  readonly bytes: Tensor;
  readonly from: number;
}

/** Takes the blocks of a weight piece by piece, so that a file of any size can be read in small ones. */
export interface BlockPacker {
  /** Bytes of sixteen rows: a piece is a multiple of them, but for the last. */
  readonly pieceBytes: number;
  /**
   * Takes the next rows; the bytes may be used again afterwards.
   * @param place  where the device holds the same bytes already; without it they are copied there first
   */
  write(bytes: Uint8Array, place?: BlockPlace): void;
  /** The weight, once all rows are there; it is the caller's then. */
  finish(): QuantTensor;
  /** Frees what has been taken so far; not needed after `finish`. */
  dispose(): void;
}

/**
 * Starts a quantised weight that takes its stored blocks piece by piece; see `quantFromBlocks`.
 *
 * @throws HeddleError "unsupported" for a type that is not one of `quantBlockTypes`, "shape" where `in` is no multiple of its
 *   block; `write` and `finish` throw "shape" for bytes that are not the rows of the weight
 */
export function createBlockPacker(
  device: Device,
  type: GgmlType,
  shape: readonly [number, number],
): BlockPacker {
  const [outFeatures] = shape;
  const plain = layoutOfBlocks(type, shape);
  const layout: BlockLayout = { ...plain, type };
  const rowBytes = bytesOfRow(layout);
  const target = device.kind === "cpu" ? deviceTarget(device, layout) : hostTarget(device, layout);
  let taken = 0;
  return {
    pieceBytes: PANEL_ROWS * rowBytes,
    write(bytes, place) {
      const firstRow = taken / rowBytes;
      taken += bytes.byteLength;
      const isPiece = firstRow % PANEL_ROWS === 0 && bytes.byteLength % rowBytes === 0;
      if (!isPiece || taken > outFeatures * rowBytes) throw wrongBytes(type, shape, taken);
      if (bytes.byteLength > 0) target.write(bytes, firstRow, place);
    },
    finish() {
      if (taken !== outFeatures * rowBytes) throw wrongBytes(type, shape, taken);
      return quantFromParts(plain, target.finish());
    },
    dispose: () => target.dispose(),
  };
}

/** Where a packer puts rows. */
interface PackTarget {
  write(bytes: Uint8Array, firstRow: number, place?: BlockPlace): void;
  finish(): QuantParts;
  dispose(): void;
}

/** Packs by a kernel, straight into the tensors of the weight. */
function deviceTarget(device: Device, layout: BlockLayout): PackTarget {
  const panelBytes = PANEL_ROWS * bytesOfRow(layout);
  let made: readonly Tensor[] | undefined;
  const parts = () => {
    made ??= allocateParts(device, layout);
    return made;
  };
  return {
    write(bytes, firstRow, place) {
      const numPanels = Math.ceil(bytes.byteLength / panelBytes);
      const found = numPanels * panelBytes === bytes.byteLength ? place : undefined;
      using uploaded = found === undefined ? uploadPieces(device, bytes, panelBytes) : undefined;
      const from = found?.from ?? 0;
      using range = tensor(device, Int32Array.of(from, firstRow / PANEL_ROWS, numPanels));
      // Few different numbers, so that few kernels are made.
      const mostPanels = 2 ** Math.ceil(Math.log2(numPanels));
      packBlocksOp.apply([uploaded ?? found?.bytes ?? range, range, ...parts()], {
        ...layout,
        mostPanels,
      });
    },
    finish: () => nameParts(layout, parts()),
    dispose() {
      for (const part of made ?? []) part.dispose();
    },
  };
}

function allocateParts(device: Device, layout: BlockLayout): readonly Tensor[] {
  return listParts(partTypes(layout)).map((type) => {
    const buffer = device.alloc(type.shape.reduce((product, size) => product * size, byteWidth(type.dtype)));
    return fromDeviceBuffer(device, type, buffer);
  });
}

/** The bytes on the device, filled up with zeros to whole pieces. */
function uploadPieces(device: Device, bytes: Uint8Array, pieceBytes: number): Tensor {
  const size = Math.ceil(bytes.byteLength / pieceBytes) * pieceBytes;
  const whole = size === bytes.byteLength ? bytes : new Uint8Array(size);
  if (whole !== bytes) whole.set(bytes);
  return fromBytes(device, { shape: [size], dtype: "u8" }, whole);
}

/** Packs in JavaScript and uploads at the end: for devices without kernels. */
function hostTarget(device: Device, layout: BlockLayout): PackTarget {
  const arrays = createPanels(layout);
  return {
    write: (bytes, firstRow) => fillPanels(layout, arrays, { bytes, firstRow }),
    finish: () => partsFromArrays(device, layout, arrays),
    dispose: () => undefined,
  };
}

/** Uploads the arrays of a weight. */
export function quantFromArrays(device: Device, layout: QuantLayout, arrays: PanelArrays): QuantTensor {
  return quantFromParts(layout, partsFromArrays(device, layout, arrays));
}

function partsFromArrays(device: Device, layout: QuantLayout, arrays: PanelArrays): QuantParts {
  const parts = Object.entries(partTypes(layout)).map(([name, type]) => [
    name,
    fromBytes(device, type, panelBytes(type.dtype, arrays[name as PartName])),
  ]);
  return Object.fromEntries(parts);
}
