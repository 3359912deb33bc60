import { HeddleError } from "@heddle/tensor";
import type { NativeDevice } from "./native.js";

/**
 * What went wrong on a device. WebGPU reports errors later than the calls that cause them: they are kept here and thrown by
 * the next call that waits.
 */
export class Health {
  #lost: HeddleError | undefined;
  #pending: HeddleError | undefined;
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
    const listener = (event: { readonly error: { readonly message: string } }) => {
      const { message } = event.error;
      this.report(
        new HeddleError(
          "device",
          `webgpu: the GPU must accept every command; got ${message.trim()}. Please report it.`,
          {
            message,
          },
        ),
      );
    };
    native.addEventListener("uncapturederror", listener);
    this.#stop = () => native.removeEventListener("uncapturederror", listener);
  }

  /** Keeps the first error until somebody is told. */
  report(error: HeddleError): void {
    this.#pending ??= error;
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

  /** Waits for a promise of the device, or for its loss. */
  async wait<T>(promise: Promise<T>): Promise<T> {
    try {
      return await Promise.race([promise, this.loss]);
    } catch (error) {
      // A rejected map of a lost device may come before the news of the loss.
      await Promise.race([this.loss, new Promise((resolve) => setTimeout(resolve, 50))]);
      this.check();
      throw error;
    }
  }

  stop(): void {
    this.#stop();
  }
}
