import { expect, test, vi } from "vitest";

/** Every op that a module of this package defines. */
const { defined } = vi.hoisted(() => ({
  defined: [] as { readonly name: string; readonly alias?: boolean }[],
}));
vi.mock("../src/op.js", async (original) => {
  const actual = await original<typeof import("../src/op.js")>();
  const defineOp: typeof actual.defineOp = (spec) => {
    defined.push(spec);
    return actual.defineOp(spec);
  };
  return { ...actual, defineOp };
});

const { reference } = await import("../src/index.js");
const { conformanceCases, outcomeOf } = await import("./conformance.js");

test("every op runs in a case of the conformance suite, forward or backward", async () => {
  const device = reference();
  const run = new Set<string>();
  const lower = device.lower.bind(device);
  vi.spyOn(device, "lower").mockImplementation((call) => {
    run.add(call.op.name);
    return lower(call);
  });
  const small = conformanceCases.filter(({ shapes }) => shapes.flat().every((extent) => extent < 50));
  for (const example of small) await outcomeOf(device, example, "eager");
  // A view of the same memory is no launch.
  const launched = defined.filter(({ alias }) => alias !== true).map(({ name }) => name);
  expect(launched.length).toBeGreaterThan(50);
  expect(launched.filter((name) => !run.has(name))).toEqual([]);
  device.dispose();
});
