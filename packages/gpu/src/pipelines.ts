import type { WgslBinding, WgslKernel, WgslStep } from "@heddle/tensor/kernel";
import { computeStage, type NativeBuffer, type NativeDevice, usage } from "./native.js";

/** A step that can be dispatched: its pipeline, its layout and its uniforms. */
export interface PreparedStep {
  /** Compiled when it is first asked for: not every kernel that a device could run is run. */
  readonly pipeline: object;
  readonly layout: object;
  readonly bindings: readonly WgslBinding[];
  readonly uniforms: UniformRange | undefined;
  readonly grid: readonly [number, number, number];
  readonly source: WgslStep["source"];
}

interface UniformRange {
  readonly buffer: NativeBuffer;
  readonly offset: number;
  readonly size: number;
}

const bindingTypes = { read: "read-only-storage", read_write: "storage", uniform: "uniform" } as const;
const uniformAlignment = 256;
const uniformChunkBytes = 65536;
/** Beyond so many different uniforms the memo is begun anew; kernels keep the ranges that they have. */
const maxUniforms = 65536;

/** Compiles WGSL, once for equal text, and keeps uniforms, once for equal words. */
export class Pipelines {
  readonly #native: NativeDevice;
  readonly #layouts = new Map<string, { readonly group: object; readonly pipeline: object }>();
  readonly #pipelines = new Map<string, object>();
  readonly #uniforms = new Map<string, UniformRange>();
  readonly #chunks: NativeBuffer[] = [];
  #chunk: { readonly buffer: NativeBuffer; used: number } | undefined;

  constructor(native: NativeDevice) {
    this.#native = native;
  }

  dispose(): void {
    for (const buffer of this.#chunks) buffer.destroy();
  }

  prepare(name: string, { steps }: WgslKernel): PreparedStep[] {
    return steps.flatMap((step) => (step.grid.includes(0) ? [] : [this.#prepareStep(name, step)]));
  }

  #prepareStep(name: string, step: WgslStep): PreparedStep {
    const { code, bindings, params, grid } = step;
    const layout = this.#layoutOf(bindings, params !== undefined);
    const uniforms = params && this.#uniformsOf(params);
    const compile = () => this.#pipelineOf(name, code, layout.pipeline);
    let pipeline: object | undefined;
    return {
      get pipeline() {
        pipeline ??= compile();
        return pipeline;
      },
      layout: layout.group,
      bindings,
      uniforms,
      grid,
      source: step.source,
    };
  }

  #pipelineOf(label: string, code: string, layout: object): object {
    const known = this.#pipelines.get(code);
    if (known) return known;
    const module = this.#native.createShaderModule({ code, label });
    const pipeline = this.#native.createComputePipeline({
      label,
      layout,
      compute: { module, entryPoint: "main" },
    });
    this.#pipelines.set(code, pipeline);
    return pipeline;
  }

  #layoutOf(bindings: readonly WgslBinding[], hasParams: boolean): { group: object; pipeline: object } {
    const key = `${bindings.map(({ access }) => access).join()}${hasParams ? " params" : ""}`;
    const known = this.#layouts.get(key);
    if (known) return known;
    const types = bindings.map(({ access }) => bindingTypes[access]);
    const entries = [...types, ...(hasParams ? ["uniform"] : [])].map((type, binding) => ({
      binding,
      visibility: computeStage,
      buffer: { type },
    }));
    const group = this.#native.createBindGroupLayout({ entries });
    const layout = { group, pipeline: this.#native.createPipelineLayout({ bindGroupLayouts: [group] }) };
    this.#layouts.set(key, layout);
    return layout;
  }

  #uniformsOf(words: Uint32Array): UniformRange {
    const key = words.join();
    const known = this.#uniforms.get(key);
    if (known) return known;
    if (this.#uniforms.size >= maxUniforms) this.#uniforms.clear();
    const size = Math.ceil(words.byteLength / 16) * 16;
    if (this.#chunk === undefined || this.#chunk.used + size > uniformChunkBytes) {
      const bytes = Math.max(uniformChunkBytes, size);
      this.#chunk = {
        buffer: this.#native.createBuffer({ size: bytes, usage: usage.uniform | usage.copyTarget }),
        used: 0,
      };
      this.#chunks.push(this.#chunk.buffer);
    }
    const range = { buffer: this.#chunk.buffer, offset: this.#chunk.used, size };
    this.#chunk.used += Math.ceil(size / uniformAlignment) * uniformAlignment;
    const padded = new Uint32Array(size / 4);
    padded.set(words);
    this.#native.queue.writeBuffer(range.buffer, range.offset, padded.buffer, 0, size);
    this.#uniforms.set(key, range);
    return range;
  }
}
