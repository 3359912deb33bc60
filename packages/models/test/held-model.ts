import type { Device } from "@heddle/tensor";
import { afterAll, beforeAll, expect } from "vitest";

/**
 * Loads a model for all tests of a `describe`, and checks after them that nothing is left of it on its device.
 *
 * @param load  gives the model, and what else the tests share
 * @param options.isShared  `make` gives a device that holds other things too and that its owner disposes. Default false
 * @returns what gives the model, its device and the rest to a test
 */
export function holdModel<Parts extends { readonly model: { dispose(): void } }>(
  make: () => Device | Promise<Device>,
  load: (device: Device) => Promise<Parts>,
  { isShared = false }: { readonly isShared?: boolean } = {},
): () => Parts & { readonly device: Device } {
  const held: (Parts & { readonly device: Device; readonly buffersBefore: number })[] = [];
  const use = () => {
    const [only] = held;
    if (only === undefined) throw new Error("the model is not loaded");
    return only;
  };
  beforeAll(async () => {
    const device = await make();
    const buffersBefore = isShared ? device.memory().buffers : 0;
    held.push({ ...(await load(device)), device, buffersBefore });
  });
  afterAll(() => {
    const { device, model, buffersBefore } = use();
    model.dispose();
    expect(device.memory().buffers).toBe(buffersBefore);
    if (!isShared) device.dispose();
  });
  return use;
}
