import {
  byteWidth,
  fromDeviceBuffer,
  HeddleError,
  type Shape,
  sizeOf,
  type Tensor,
  type TensorType,
} from "@heddle/tensor";
import type { WebGpuDevice } from "./device.js";
import type { GpuBuffer } from "./gpu-buffer.js";
import type { NativeBuffer } from "./native.js";

/**
 * Makes a tensor of a caller's GPUBuffer, without a copy. The buffer is never destroyed; freeing the tensor lets go of it.
 *
 * Shapes: -> type.shape; the bytes are row-major in `type.dtype`, little-endian.
 * @param buffer  made on `device.native` with STORAGE | COPY_SRC | COPY_DST
 * @param options.byteOffset  where the tensor begins, a multiple of minStorageBufferOffsetAlignment (256); default 0
 * @returns a tensor that the caller owns
 * @throws HeddleError "capacity" if it does not fit into the buffer
 */
export function fromBuffer(
  device: WebGpuDevice,
  type: { readonly shape: Shape; readonly dtype: TensorType["dtype"] },
  buffer: object,
  options: { readonly byteOffset?: number } = {},
): Tensor {
  const byteLength = sizeOf(type.shape) * byteWidth(type.dtype);
  const { byteOffset = 0 } = options;
  return fromDeviceBuffer(device, type, device.adopt(buffer as NativeBuffer, { byteOffset, byteLength }));
}

/**
 * The GPUBuffer behind a tensor, for commands of one's own. It stays the tensor's: it holds the values as long as the tensor
 * lives and is reused afterwards. Work that computes them has been submitted when this returns.
 *
 * @throws HeddleError "device" if the tensor does not live on a webgpu device
 */
export function toBuffer(tensor: Tensor): {
  readonly buffer: NativeBuffer;
  readonly byteOffset: number;
  readonly byteLength: number;
} {
  const { device } = tensor;
  if (device.kind !== "webgpu") {
    throw new HeddleError(
      "device",
      `toBuffer: the tensor must live on a webgpu device; got ${device.kind}. Move it with \`await tensor.to(device)\`.`,
      { device: device.kind },
    );
  }
  const { native, byteOffset } = tensor.storage("toBuffer").buffer as GpuBuffer;
  (device as WebGpuDevice).flush();
  return { buffer: native, byteOffset, byteLength: tensor.byteLength };
}
