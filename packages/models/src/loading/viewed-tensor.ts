import {
  byteWidth,
  type Device,
  fromDeviceBuffer,
  sizeOf,
  type Tensor,
  type TensorType,
} from "@heddle/tensor";

/** A tensor and its own memory, to be filled from here. */
export interface ViewedTensor {
  readonly tensor: Tensor;
  readonly bytes: Uint8Array;
}

/**
 * Makes a tensor whose memory can be written from here; undefined on devices whose memory cannot.
 *
 * @returns a tensor of any content, which the caller disposes
 */
export function viewedTensor(device: Device, type: TensorType): ViewedTensor | undefined {
  if (device.view === undefined) return undefined;
  const buffer = device.alloc(bytesOf(type));
  const bytes = device.view(buffer);
  if (bytes !== undefined) return { tensor: fromDeviceBuffer(device, type, buffer), bytes };
  device.free(buffer);
  return undefined;
}

/** Size of a tensor in bytes. */
export function bytesOf({ shape, dtype }: TensorType): number {
  return sizeOf(shape) * byteWidth(dtype);
}
