import type { Device, DeviceBuffer } from "./device.js";
import { invariant } from "./error.js";

/** A device buffer shared by a tensor and its reshaped views; freed with the last of them. */
export class Storage {
  readonly device: Device;
  readonly buffer: DeviceBuffer;
  #references = 1;

  private constructor(device: Device, buffer: DeviceBuffer) {
    this.device = device;
    this.buffer = buffer;
  }

  static allocate(device: Device, byteLength: number): Storage {
    return new Storage(device, device.alloc(byteLength));
  }

  /** Takes over a buffer that the device already has. */
  static adopt(device: Device, buffer: DeviceBuffer): Storage {
    return new Storage(device, buffer);
  }

  retain(): this {
    invariant(this.#references > 0, "a freed storage was retained");
    this.#references++;
    return this;
  }

  release(): void {
    invariant(this.#references > 0, "a storage was released twice");
    this.#references--;
    if (this.#references === 0) this.device.free(this.buffer);
  }
}
