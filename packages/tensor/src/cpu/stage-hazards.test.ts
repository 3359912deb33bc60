import { expect, test } from "vitest";
import type { BufferRef, Launch } from "../device.js";
import type { KernelArgument, KernelStep } from "./kernel.js";
import { StageHazards } from "./stage-hazards.js";

const arena = (byteOffset: number, byteLength = 64): BufferRef => ({
  kind: "arena",
  memory: byteOffset,
  byteOffset,
  byteLength,
});
const slot = (index: number): BufferRef => ({ kind: "slot", index });
const buffer = (index: number): KernelArgument => ({ kind: "buffer", index });
const scratch: KernelArgument = { kind: "scratch", byteOffset: 0 };

function step(buffers: readonly BufferRef[], options: { mutates?: number[]; args?: KernelArgument[] } = {}) {
  const args = options.args ?? buffers.map((_, i) => buffer(i));
  const kernelStep: KernelStep = {
    module: { key: "", emit: () => new Uint8Array() },
    args,
    units: 9,
    grain: 1,
  };
  const launch: Launch = {
    kernel: { name: "x" },
    buffers,
    outputs: options.mutates ? 0 : 1,
    mutates: options.mutates ?? [],
  };
  return [kernelStep, launch] as const;
}

/** Which of the steps need no barrier before them. */
function free(...steps: (readonly [KernelStep, Launch])[]): boolean[] {
  const hazards = new StageHazards();
  return steps.map(([kernelStep, launch]) => hazards.add(kernelStep, launch));
}

test("steps that read one memory and write others are free of each other", () => {
  expect(free(step([slot(0), arena(0)]), step([slot(0), arena(64)]), step([slot(1), slot(2)]))).toEqual([
    true,
    true,
    true,
  ]);
});

test("a step waits for what it reads, and for readers and writers of what it writes", () => {
  expect(free(step([slot(0), arena(0)]), step([arena(32), arena(128)]))).toEqual([true, false]);
  expect(free(step([arena(0), slot(0)]), step([slot(1), arena(32)]))).toEqual([true, false]);
  expect(free(step([slot(0), arena(0)]), step([slot(1), arena(0)]))).toEqual([true, false]);
  expect(free(step([slot(0), slot(1)]), step([slot(1), slot(2)]))).toEqual([true, false]);
});

test("after a barrier only what came since counts", () => {
  const [first, second, third] = [
    step([slot(0), arena(0)]),
    step([arena(0), arena(64)]),
    step([slot(0), arena(128)]),
  ];
  expect(free(first, second, third)).toEqual([true, false, true]);
});

test("scratch is shared, and a slot that is changed in place may be any other", () => {
  const withScratch = (at: number) => step([slot(0), arena(at)], { args: [buffer(0), buffer(1), scratch] });
  expect(free(withScratch(0), withScratch(64))).toEqual([true, false]);
  expect(free(step([slot(0), arena(0)]), step([slot(1), arena(64)], { mutates: [0] }))).toEqual([
    true,
    false,
  ]);
});

test("a launch that does not say what it writes writes everything", () => {
  const [kernelStep, { kernel, buffers }] = step([slot(0), arena(0)]);
  expect(free([kernelStep, { kernel, buffers }], step([slot(0), arena(64)]))).toEqual([true, false]);
});
