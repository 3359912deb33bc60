import { createRequire } from "node:module";

/** An adapter of WebGPU whose devices are those of `Device`. */
export interface TestAdapter<Device> {
  readonly features: ReadonlySet<string>;
  requestDevice(descriptor: object): Promise<Device>;
}

/** Dawn's adapter that accepts everything and runs nothing, or why there is none. `keep` must stay referenced. */
export async function nullAdapter<Device>(): Promise<
  | { readonly adapter: TestAdapter<Device>; readonly keep: object; readonly reason?: undefined }
  | { readonly adapter?: undefined; readonly keep?: undefined; readonly reason: string }
> {
  try {
    const dawn = createRequire(import.meta.url)("webgpu") as {
      create(options: string[]): { requestAdapter(): Promise<TestAdapter<Device> | null> };
    };
    const keep = dawn.create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);
    const adapter = await keep.requestAdapter();
    return adapter === null ? { reason: "Dawn has no null backend here" } : { adapter, keep };
  } catch (error) {
    return { reason: error instanceof Error ? error.message : String(error) };
  }
}
