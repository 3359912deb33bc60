import { cpu, randn } from "@heddle/tensor";
import type { CpuFeatures } from "@heddle/tensor/kernel";
import { expect, test } from "vitest";
import { randomBlocks } from "../../test/random-blocks.js";
import { quantLinearOp } from "../ops/quant-linear.js";
import { listParts } from "../quant-format.js";
import { quantFromBlocks } from "../quant-from-blocks.js";
import { quantLinearWasm } from "./quant-linear.wasm.js";

// Where dot products that add are not one instruction, no device asks for the kernels that use them; they are run here by hand.

const plain = { relaxedSimd: true, revectorized: false, sharedMemory: false, threads: 1 };

/** y = x W^T by the kernel for these features, on a memory of its own. */
function run(
  call: Parameters<typeof quantLinearWasm>[0],
  inputs: readonly Uint8Array[],
  features: CpuFeatures,
): Uint8Array {
  const kernel = quantLinearWasm(call, features);
  const yBytes = 4 * (call.outputs[0]?.shape.reduce((product, extent) => product * extent, 1) ?? 0);
  let end = 0;
  const addresses = [...inputs.map(({ length }) => length), yBytes, kernel?.scratchBytes ?? 0].map(
    (length) => {
      const address = end;
      end = Math.ceil((address + length) / 64) * 64;
      return address;
    },
  );
  const memory = new WebAssembly.Memory({ initial: Math.ceil(end / 65_536) });
  const bytes = new Uint8Array(memory.buffer);
  for (const [i, input] of inputs.entries()) bytes.set(input, addresses[i]);
  for (const { module, args, units } of kernel?.steps ?? []) {
    const { run } = new WebAssembly.Instance(
      new WebAssembly.Module(module.emit() as Uint8Array<ArrayBuffer>),
      {
        env: { memory },
      },
    ).exports as { run: (...args: number[]) => void };
    const numbers = args.map((argument) => {
      if (argument.kind === "buffer") return addresses[argument.index] ?? 0;
      return argument.kind === "scratch" ? (addresses.at(-1) ?? 0) + argument.byteOffset : argument.value;
    });
    run(...numbers, 0, units);
  }
  return bytes.slice(addresses.at(-2), (addresses.at(-2) ?? 0) + yBytes);
}

test.each(["Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "Q3_K"] as const)(
  "%s: dot products that add in one instruction give the same bits",
  async (type) => {
    const device = cpu({ threads: 1 });
    const columns = 1024;
    const weight = quantFromBlocks(device, type, randomBlocks(type, 40 * columns, 7), [40, columns]);
    const parts = listParts(weight.parts);
    for (const rows of [1, 3, 5]) {
      const x = randn(device, [rows, columns], { seed: rows });
      const inputs = [x, ...parts];
      const call = {
        op: quantLinearOp.spec,
        inputs: inputs.map(({ shape, dtype }) => ({ shape, dtype })),
        outputs: [{ shape: [rows, 40], dtype: "f32" }],
        params: weight.layout,
      } as never;
      const bytes = await Promise.all(inputs.map((tensor) => tensor.bytes()));
      const y = quantLinearOp.call([x, ...parts], weight.layout);
      const expected = await y.bytes();
      expect(run(call, bytes, { ...plain, int8Dot: true })).toEqual(expected);
      expect(run(call, bytes, { ...plain, int8Dot: false })).toEqual(expected);
    }
    device.dispose();
  },
);
