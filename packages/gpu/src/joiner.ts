import {
  type JoinPart,
  joinSteps,
  syncWords,
  type WgslFeatures,
  withHardwareHalves,
} from "@heddle/tensor/kernel";
import type { GpuBuffer } from "./gpu-buffer.js";
import type { Pipelines, PreparedStep } from "./pipelines.js";

/** A dispatch with its buffers. */
export interface BoundDispatch {
  readonly step: PreparedStep;
  readonly buffers: readonly GpuBuffer[];
  /** Bytes of each buffer that its value takes. */
  readonly sizes: readonly number[];
  /** One buffer may be read and written: to be looked at at each run. */
  readonly mayClash: boolean;
}

export interface JoinerHost {
  readonly pipelines: Pipelines;
  readonly features: WgslFeatures;
  alloc(byteLength: number): GpuBuffer;
  write(buffer: GpuBuffer, words: Uint32Array): void;
}

/** Beyond so many joined steps the memo is begun anew. */
const maxKnown = 4096;

/** Makes one dispatch of several that follow each other: a dispatch costs JavaScript and the card microseconds. */
export class Joiner {
  readonly #host: JoinerHost;
  /** Joined steps, by the steps and by which of their bindings are one memory; undefined for what cannot be joined. */
  readonly #known = new Map<string, PreparedStep | undefined>();
  readonly #numbers = new WeakMap<PreparedStep, number>();
  #numSteps = 0;

  constructor(host: JoinerHost) {
    this.#host = host;
  }

  /** Words for joined steps to count in, zero at first. */
  allocSync(): GpuBuffer {
    const buffer = this.#host.alloc(syncWords * 4);
    this.#host.write(buffer, new Uint32Array(syncWords));
    return buffer;
  }

  /** Joins as many as can be, from the first on. */
  join(dispatches: readonly BoundDispatch[], sync: GpuBuffer): readonly BoundDispatch[] {
    const joined: BoundDispatch[] = [];
    let run: BoundDispatch[] = [];
    let best: BoundDispatch | undefined;
    const end = () => {
      if (best !== undefined) joined.push(best);
      [run, best] = [[], undefined];
    };
    for (const dispatch of dispatches) {
      const longer = [...run, dispatch];
      const found = run.length === 0 ? dispatch : this.#joinRun(longer, sync);
      if (found === undefined) {
        end();
        [run, best] = [[dispatch], dispatch];
      } else {
        [run, best] = [longer, found];
      }
    }
    end();
    return joined;
  }

  #joinRun(run: readonly BoundDispatch[], sync: GpuBuffer): BoundDispatch | undefined {
    if (run.some(({ mayClash, step }) => mayClash || step.source === undefined)) return undefined;
    const memories: GpuBuffer[] = [];
    const parts = run.map(({ step, buffers, sizes }): JoinPart => {
      const memory = buffers.map((buffer) => {
        const at = memories.findIndex(({ native }) => native === buffer.native);
        return at < 0 ? memories.push(buffer) - 1 : at;
      });
      return { source: step.source as JoinPart["source"], memory, bytes: sizes };
    });
    const key = parts
      .map(({ memory, bytes }, i) => {
        const { step } = run[i] as BoundDispatch;
        return `${this.#numberOf(step)}:${memory.join()}:${bytes.join()}`;
      })
      .join(" ");
    let step = this.#known.get(key);
    if (step === undefined && !this.#known.has(key)) {
      step = this.#makeStep(parts, memories);
      if (this.#known.size >= maxKnown) this.#known.clear();
      this.#known.set(key, step);
    }
    if (step === undefined) return undefined;
    const buffers = step.bindings.map(({ memory }) =>
      memory.kind === "scratch" ? sync : (memories[memory.index] as GpuBuffer),
    );
    return { step, buffers, sizes: [], mayClash: false };
  }

  #makeStep(parts: readonly JoinPart[], memories: readonly GpuBuffer[]): PreparedStep | undefined {
    const { features, pipelines } = this.#host;
    const step = joinSteps(parts, {
      ...features,
      canBeUniform: (memory) => memories[memory]?.pooled !== undefined,
    });
    if (step === undefined) return undefined;
    const code = features.f16 ? withHardwareHalves(step.code) : step.code;
    return pipelines.prepare("joined", { steps: [{ ...step, code }] })[0];
  }

  #numberOf(step: PreparedStep): number {
    const known = this.#numbers.get(step) ?? ++this.#numSteps;
    this.#numbers.set(step, known);
    return known;
  }
}
