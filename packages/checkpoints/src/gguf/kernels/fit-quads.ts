import { argument, i32, kernelStep, type Local, type WasmKernelFactory } from "@heddle/tensor/kernel";
import type { Quad } from "./quads.js";

type I32 = Local<"i32">;

/** Quads of a unit. */
const QUADS = 32;

interface QuadFit {
  readonly key: string;
  readonly size: Quad["size"];
  /** Vectors of the room for each number. */
  readonly numTables: number;
  /** Fits the four sub-blocks at `source`; each target takes four results. */
  readonly fit: (quad: Quad, source: I32, options: { readonly targets: readonly I32[] }) => void;
}

/** The kernel that fits every sub-block of x. Buffers: x [count], count a multiple of 4 size, then results [count / size]. */
export function fitQuads({ key, size, numTables, fit }: QuadFit): WasmKernelFactory<unknown> {
  const [quadBytes, roomBytes] = [16 * size, 16 * size * numTables];
  return ({ inputs: [x], outputs }, features) => {
    const quads = (x?.shape[0] ?? 0) / (4 * size);
    const units = Math.ceil(quads / QUADS);
    const results = outputs.map((_, i) => argument.buffer(1 + i));
    const step = kernelStep(
      {
        key: `${key}:${outputs.length}`,
        features,
        args: [argument.scratch(0), argument.i32(quads), argument.buffer(0), ...results],
        units,
        grain: 1, // a unit is some ten thousand operations on vectors
      },
      (f, [rooms, count, numbers, ...starts], { begin, end }) => {
        const room = f.let(i32.add(rooms, i32.mul(begin, roomBytes)));
        const last = f.let(i32.mul(end, QUADS));
        f.if(i32.gtS(last, count), () => f.set(last, count));
        f.for(i32.mul(begin, QUADS), last, 1, (quad) => {
          const source = f.let(i32.add(numbers, i32.mul(quad, quadBytes)));
          const targets = starts.map((result) => f.let(i32.add(result, i32.shl(quad, 4))));
          fit({ f, room, size }, source, { targets });
        });
      },
    );
    return { steps: [step], scratchBytes: units * roomBytes };
  };
}
