import fc from "fast-check";
import { expect, test } from "vitest";
import {
  compile,
  cpu,
  type Device,
  matmul,
  reference,
  type Shape,
  scope,
  type Tensor,
  tensor,
  where,
  writeInto,
} from "../index.js";

/** Small whole numbers stay exact in every dtype and under every order of summation: runs must agree to the bit. */
const LIMIT = 32;

const shapes: readonly Shape[] = [[2, 3], [2, 3], [2, 3], [3], [2, 1], [3, 2]];
const sameSize: readonly Shape[] = [[2, 3], [6], [3, 2], [1, 2, 3]];

/** One step of a random program; `a`, `b` and `c` pick among the tensors so far: 0 is the newest. */
interface Step {
  readonly kind:
    | "add"
    | "sub"
    | "mul"
    | "maximum"
    | "where"
    | "neg"
    | "matmul"
    | "constant"
    | "captured"
    | "reduce"
    | "reshape"
    | "transpose"
    | "write"
    | "writePart"
    | "narrow";
  readonly a: number;
  readonly b: number;
  readonly c: number;
}

interface Example {
  readonly steps: readonly Step[];
  readonly results: readonly number[];
  /** Whether the second argument is the first one under another shape. */
  readonly isAliased: boolean;
  readonly dtype: "f32" | "f16" | "i32";
}

/** Mostly something recent, so that steps build on each other. */
const pick = fc.oneof({ weight: 6, arbitrary: fc.nat(3) }, { weight: 1, arbitrary: fc.nat(30) });
const example: fc.Arbitrary<Example> = fc.record({
  steps: fc.array(
    fc.record({
      kind: fc.constantFrom<Step["kind"][]>(
        "add",
        "add",
        "sub",
        "mul",
        "maximum",
        "where",
        "neg",
        "matmul",
        "matmul",
        "constant",
        "captured",
        "reduce",
        "reshape",
        "transpose",
        "write",
        "write",
        "write",
        "write",
        "writePart",
        "narrow",
      ),
      a: pick,
      b: pick,
      c: pick,
    }),
    { minLength: 1, maxLength: 16 },
  ),
  results: fc.array(pick, { minLength: 1, maxLength: 4 }),
  isAliased: fc.boolean(),
  dtype: fc.constantFrom("f32", "f16", "i32"),
});

const numbers = (length: number, seed: number) =>
  Float32Array.from({ length }, (_, i) => ((i * 7 + seed * 5) % 7) - 3);

const sizeOf = (shape: Shape) => shape.reduce((size, extent) => size * extent, 1);

const make = (device: Device, shape: Shape, seed: number, dtype: Example["dtype"]) =>
  tensor(device, numbers(sizeOf(shape), seed), { shape, dtype });

function broadcasts(a: Shape, b: Shape): boolean {
  return a.every((_, i) => {
    const [m = 1, n = 1] = [a.at(-1 - i), b.at(-1 - i)];
    return m === n || m === 1 || n === 1;
  });
}

const small = (x: Tensor) => x.clamp({ min: -LIMIT, max: LIMIT });

/** Runs a program over its arguments; steps whose operands do not fit do nothing. */
function interpret(
  { steps, results, dtype }: Example,
  args: readonly Tensor[],
  captured: Tensor,
): readonly Tensor[] {
  const device = captured.device;
  const values = [...args];
  /** Whether each value depends on an argument: only such a one may be written to. */
  const isComputed = values.map(() => true);
  const at = (index: number) => values.at(-1 - (index % values.length)) as Tensor;
  const follows = (index: number) => isComputed.at(-1 - (index % values.length)) === true;
  for (const { kind, a, b, c } of steps) {
    const [x, y] = [at(a), at(b)];
    const [isX, isY, isZ] = [follows(a), follows(b), follows(c)];
    const isBinary =
      kind === "matmul" || kind === "add" || kind === "sub" || kind === "mul" || kind === "maximum";
    const depends = kind === "where" ? isX || isY || isZ : isBinary ? isX || isY : isX;
    const fits = broadcasts(x.shape, y.shape);
    const isWhole = x.shape.length === y.shape.length && x.shape.every((n, i) => n === y.shape[i]);
    switch (kind) {
      case "add":
      case "sub":
      case "maximum":
        if (fits) values.push(small(x[kind](y)));
        break;
      case "mul":
        if (fits) values.push(small(x.mul(y)));
        break;
      case "where":
        if (fits && broadcasts(at(c).shape, x.shape) && broadcasts(at(c).shape, y.shape))
          values.push(where(x.greater(y), at(c), x));
        break;
      case "neg":
        values.push(x.neg());
        break;
      case "matmul":
        if (dtype === "f32" && x.rank === 2 && y.rank === 2 && x.shape[1] === y.shape[0])
          values.push(c % 2 === 0 ? matmul(x, y) : small(matmul(x, y)));
        break;
      case "constant":
        values.push(make(device, shapes[b % shapes.length] ?? [], c, dtype));
        break;
      case "captured":
        values.push(captured);
        break;
      case "reduce": {
        const axes = x.rank === 0 ? [] : [b % x.rank];
        const kinds = ["sum", "max", "min"] as const;
        values.push(small(x[kinds[c % 3] ?? "sum"]({ axes, keepDims: b % 2 === 0 })));
        break;
      }
      case "reshape":
        if (x.size === 6) values.push(x.reshape(sameSize[b % sameSize.length] ?? [6]));
        break;
      case "transpose":
        if (x.rank === 2) values.push(x.transpose());
        break;
      case "write":
        if (isWhole && isX) writeInto(x, y);
        break;
      case "writePart":
        if (isX && x.rank === 2 && y.rank === 2 && x.shape.every((n, i) => n >= (y.shape[i] ?? 0)))
          writeInto(x, y, { starts: x.shape.map((n, i) => (c % 2 === 0 ? 0 : n - (y.shape[i] ?? 0))) });
        break;
      case "narrow":
        if (x.rank > 0 && (x.shape[0] ?? 0) > 1) values.push(x.narrow(0, 1, x.shape[0] ?? 1));
        break;
      default:
        kind satisfies never;
    }
    const isConstant = kind === "constant" || kind === "captured";
    if (values.length > isComputed.length) isComputed.push(!isConstant && depends);
  }
  return results.map((result) => {
    const value = at(result);
    return value.reshape(value.shape);
  });
}

/** Everything that a caller can see after each of three calls: the results, the arguments and the captured tensor. */
function observe(device: Device, program: Example, mode: "eager" | "compiled"): number[][] {
  return scope(device, () => {
    const first = make(device, [2, 3], 1, program.dtype);
    const args = [
      first,
      make(device, [3], 3, program.dtype),
      program.isAliased ? first.reshape([3, 2]) : make(device, [3, 2], 2, program.dtype),
      make(device, [2, 3], 4, program.dtype),
      make(device, [2, 3], 6, program.dtype),
    ];
    const captured = make(device, [2, 3], 5, program.dtype);
    const run = (inputs: readonly Tensor[]) => scope(device, () => interpret(program, inputs, captured));
    const call = mode === "eager" ? run : compile(run);
    const calls = [call(args), call(args), call(args)];
    const seen = [...calls.flat(), ...args, captured].map((x) =>
      Array.from(x.dataSync(), (value) => value + 0),
    );
    if (mode === "compiled") (call as ReturnType<typeof compile>).dispose();
    return seen;
  });
}

const reproduces = (device: Device) =>
  fc.property(example, (program) => {
    const before = device.memory().buffers;
    expect(observe(device, program, "compiled")).toEqual(observe(device, program, "eager"));
    expect(device.memory().buffers).toBe(before);
  });

test("compiled programs give the numbers of eager ones, reference", () => {
  fc.assert(reproduces(reference()), { numRuns: 600 });
});

test("compiled programs give the numbers of eager ones, cpu", () => {
  const device = cpu({ threads: 1 });
  fc.assert(reproduces(device), { numRuns: 200 });
  device.dispose();
});
