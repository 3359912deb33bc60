import type { NativeDevice } from "../src/native.js";

/** A GPUDevice whose calls reach the given one, but for what is replaced: lower limits, say, or calls that are counted. */
export function overriddenDevice<Device extends object = NativeDevice>(
  native: Device,
  replaced: Partial<Record<keyof Device, unknown>>,
): Device {
  return new Proxy(native, {
    get(target, name) {
      if (Object.hasOwn(replaced, name)) return replaced[name as keyof Device];
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
