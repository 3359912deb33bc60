import type { Device } from "@heddle/tensor";
import { afterAll, beforeAll, expect } from "vitest";

/**
 * Loads a model for all tests of a `describe`, and checks after them that nothing is left of it on its device.
 *
 * @returns what gives the model to a test
 */
export function holdModel<Model extends { dispose(): void }>(
  make: () => Device,
  load: (device: Device) => Promise<Model>,
): () => { readonly device: Device; readonly model: Model } {
  const held: { device: Device; model: Model }[] = [];
  const use = () => {
    const [only] = held;
    if (only === undefined) throw new Error("the model is not loaded");
    return only;
  };
  beforeAll(async () => {
    const device = make();
    held.push({ device, model: await load(device) });
  });
  afterAll(() => {
    const { device, model } = use();
    model.dispose();
    expect(device.memory().buffers).toBe(0);
    device.dispose();
  });
  return use;
}
