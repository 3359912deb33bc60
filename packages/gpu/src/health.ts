import { HeddleError } from "@heddle/tensor";
import type { NativeDevice, NativeError } from "./native.js";

/**
 * What went wrong on a device. WebGPU reports errors later than the calls that cause them: they are kept here and thrown by
 * the next call that waits.
 */
export class Health {
  #lost: HeddleError | undefined;
  #pending: HeddleError | undefined;
  /** The last time that the GPU was full, and the buffers that it could not make and that are still used. */
  #full: HeddleError | undefined;
  #missing = 0;
  readonly #answers = new Set<Promise<unknown>>();
  /** Rejects when the device is lost, so that no wait outlives it. */
  readonly loss: Promise<never>;
  readonly #stop: () => void;

  constructor(native: NativeDevice) {
    this.loss = native.lost.then(({ reason, message }) => {
      this.#lost = new HeddleError(
        "device",
        `webgpu: the GPU device must be there; got lost (${reason}): ${message}. Its tensors are gone: make a new device with webgpu() and load again.`,
        { reason, message },
      );
      throw this.#lost;
    });
    this.loss.catch(() => {});
    const listener = (event: { readonly error: NativeError }) => this.#refuse(event.error);
    native.addEventListener("uncapturederror", listener);
    this.#stop = () => native.removeEventListener("uncapturederror", listener);
  }

  /** Waits with the next check for what a device has been asked. */
  expect(answer: Promise<unknown>): void {
    const done: Promise<unknown> = answer.catch(() => {}).then(() => this.#answers.delete(done));
    this.#answers.add(done);
  }

  /** A buffer could not be made; of how many bytes is said where it is known. */
  reportFull({ message }: NativeError, bytes?: number): void {
    this.#full = new HeddleError(
      "capacity",
      `webgpu: the GPU must have room for every tensor; got no memory for ${bytes ?? "some"} more bytes (${message.trim()}). Free tensors, use a smaller batch or cache, or a quantised model.`,
      { bytes },
    );
    // Commands on the buffer have been refused meanwhile: this is why.
    this.#pending = this.#full;
  }

  /** There are so many more buffers in use that could not be made: commands on them are refused for that. */
  countMissing(more: number): void {
    this.#missing += more;
  }

  /** Throws if the device is lost. */
  checkPresent(): void {
    if (this.#lost) throw this.#lost;
  }

  /** Throws what happened since the last check. */
  check(): void {
    this.checkPresent();
    const error = this.#pending;
    this.#pending = undefined;
    if (error) throw error;
  }

  /** Waits for a promise of the device and for what it has been asked so far, or for its loss. */
  async wait<T>(promise: Promise<T>): Promise<T> {
    try {
      const result = await Promise.race([promise, this.loss]);
      if (this.#answers.size > 0) await Promise.race([Promise.all(this.#answers), this.loss]);
      return result;
    } catch (error) {
      // A rejected map of a lost device may come before the news of the loss.
      await Promise.race([this.loss, new Promise((resolve) => setTimeout(resolve, 50))]);
      this.check();
      throw refused(error instanceof Error ? error.message : String(error), error);
    }
  }

  stop(): void {
    this.#stop();
  }

  #refuse(error: NativeError): void {
    const isMemory = Object.prototype.toString.call(error) === "[object GPUOutOfMemoryError]";
    if (isMemory) this.reportFull(error);
    else this.#pending ??= this.#missing > 0 ? this.#full : refused(error.message);
  }
}

function refused(message: string, cause?: unknown): HeddleError {
  return new HeddleError(
    "device",
    `webgpu: the GPU must accept every command; got ${message.trim()}. Please report it.`,
    { message },
    cause,
  );
}
