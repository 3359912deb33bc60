import { appendKv, type KvLayer } from "@heddle/attention";
import { ropeFrequencies, rotary } from "@heddle/positional-encodings";
import {
  add,
  compile,
  type Device,
  disposeTree,
  linear,
  mul,
  randn,
  reference,
  swiGLU,
  type Tensor,
  tensor,
} from "@heddle/tensor";
import type { WgslFeatures } from "@heddle/tensor/kernel";
import {
  emulatedMatrices,
  errorInBounds,
  type MatrixCheck,
  type MatrixUnits,
} from "../../tensor/test/emulated-matrices.js";
import { splitHeads } from "../src/blocks/attention-block.js";

/** A check of products that are joined on matrix units, and the launches that they make. */
export interface GroupCheck extends MatrixCheck {
  readonly launches: readonly string[];
  /** Launches of the last run. */
  ran(): readonly string[];
}

interface Case {
  readonly name: string;
  readonly shapes: readonly (readonly number[])[];
  /** Inner extent of the products. */
  readonly K: number;
  readonly launches: readonly string[];
  /** Inputs that `fn` changes in place, as the last ones. */
  readonly stores?: number;
  /** A sum with a bias is rounded to f16 before it is turned. */
  readonly turnsRounded?: boolean;
  /** What is between two products is rounded to f16, and may fall on the other side of a tie than in float64. */
  readonly carriesRounded?: boolean;
  fn(inputs: readonly Tensor[]): readonly Tensor[];
}

/** Heads of a layer, of x, three weights and up to three biases: queries and keys turned, values only ordered. */
function heads(
  { D, counts, layout }: { readonly D: number; readonly counts: readonly number[]; readonly layout: Layout },
  rotaryDim = D,
) {
  const frequencies = ropeFrequencies({ rotaryDim, theta: 100 });
  return ([x, ...others]: readonly Tensor[]): readonly Tensor[] => {
    if (x === undefined) throw new Error("a case has an x");
    const positions = positionsOf(x);
    return others.slice(0, 3).map((weight, i) => {
      const split = splitHeads(linear(x, weight, others[3 + i]), counts[i] ?? 1, D);
      return i === 2 ? split : rotary(split, { frequencies, layout, positions });
    });
  };
}

function gated(inputs: readonly Tensor[]): readonly Tensor[] {
  const [x, gate, up] = sure(inputs);
  return [swiGLU(linear(x, gate), linear(x, up))];
}

/** A whole gated block: what is between its products is rounded to f16, in float64, too. */
function gatedBlock(inputs: readonly Tensor[]): readonly Tensor[] {
  const [x, gate, up, down] = sure(inputs);
  const hidden = swiGLU(linear(x, gate), linear(x, up));
  return [linear(hidden.dtype === "f64" ? hidden.cast("f16").cast("f64") : hidden, down)];
}

type Layout = "half" | "interleaved";

/** Heads of a layer whose keys and values go into a cache: queries remain. */
function cached(
  project: (inputs: readonly Tensor[]) => readonly Tensor[],
  {
    slots,
    starts,
    table,
  }: {
    readonly slots: readonly number[];
    readonly starts: readonly number[];
    readonly table?: readonly number[];
  },
) {
  return (inputs: readonly Tensor[]): readonly Tensor[] => {
    const [key, value] = inputs.slice(-2);
    const [queries, keys, values] = project(inputs.slice(0, -2));
    if (!key || !value || !queries || !keys || !values) throw new Error("a case has heads and a cache");
    const whole = (numbers: readonly number[], shape: readonly number[]) =>
      tensor(key.device, Int32Array.from(numbers), { shape });
    const numRows = slots.length;
    const pages = table && whole(table, [numRows, table.length / numRows]);
    const layer: KvLayer = pages ? { kind: "paged", key, value, table: pages } : { key, value };
    appendKv(layer, keys, values, { slots: whole(slots, [numRows]), starts: whole(starts, [numRows]) });
    return [queries];
  };
}

const range = (length: number) => Array.from({ length }, (_, i) => i);

/** Positions [B, T], other ones for each row. */
function positionsOf(x: Tensor): Tensor {
  const [B = 1, T = 1] = x.shape;
  return tensor(
    x.device,
    Int32Array.from({ length: B * T }, (_, i) => 3 * i + Math.floor(i / T) * 50),
    { shape: [B, T] },
  );
}

const sure = (inputs: readonly Tensor[]) => inputs as readonly [Tensor, Tensor, Tensor, Tensor, Tensor];

/** Tiles of 32 x 16, 32 x 32, 64 x 64 and 128 x 128; extents that no tile divides; 8, 4 and 2 halves at a time; one and two a slot. */
const cases: readonly Case[] = [
  {
    name: "three products of one x, 11 x 46, 6 and 10 over 34",
    shapes: [
      [11, 34],
      [46, 34],
      [6, 34],
      [10, 34],
    ],
    K: 34,
    launches: ["matmul"],
    fn: ([x, ...weights]) => weights.map((weight) => linear(x as Tensor, weight)),
  },
  {
    name: "bias, factor and residual, 31 x 24 over 264",
    shapes: [[31, 264], [24, 264], [24], [31, 24]],
    K: 264,
    launches: ["matmul+fused"],
    fn: (inputs) => {
      const [x, weight, bias, stream] = sure(inputs);
      return [add(stream, mul(linear(x, weight, bias), 0.5))];
    },
  },
  {
    name: "gate and up, 9 x 20 over 36",
    shapes: [
      [9, 36],
      [20, 36],
      [20, 36],
    ],
    K: 36,
    launches: ["matmul+fused"],
    fn: gated,
  },
  {
    name: "gate and up, 131 x 134 over 40",
    shapes: [
      [131, 40],
      [134, 40],
      [134, 40],
    ],
    K: 40,
    launches: ["matmul+fused"],
    fn: gated,
  },
  {
    name: "a gated block, 9 x 20 over 36 and 34 over 20",
    shapes: [
      [9, 36],
      [20, 36],
      [20, 36],
      [34, 20],
    ],
    K: 36,
    carriesRounded: true,
    launches: ["matmul+fused", "matmul"],
    fn: gatedBlock,
  },
  {
    name: "heads of 3 x 13 tokens with a bias, turned by halves, ordered and stored; a row without a slot",
    shapes: [[3, 13, 24], [72, 24], [24, 24], [24, 24], [72], [2, 1, 16, 24], [2, 1, 16, 24]],
    K: 24,
    stores: 2,
    turnsRounded: true,
    launches: ["matmul+fused+transpose+rotary+appendKv"],
    fn: cached(heads({ D: 24, counts: [3, 1, 1], layout: "half" }), { slots: [1, 2, 0], starts: [3, 0, 0] }),
  },
  {
    name: "heads of 1 x 13 tokens with a bias, turned by neighbours, 8 of 12",
    shapes: [[1, 13, 16], [36, 16], [12, 16], [12, 16], [36]],
    K: 16,
    turnsRounded: true,
    launches: ["matmul+fused+transpose+rotary"],
    fn: heads({ D: 12, counts: [3, 1, 1], layout: "interleaved" }, 8),
  },
  {
    name: "heads of 10 rows of one token, stored in pages of which one is missing",
    shapes: [
      [10, 1, 16],
      [36, 16],
      [24, 16],
      [24, 16],
      [30, 2, 4, 12],
      [30, 2, 4, 12],
    ],
    K: 16,
    stores: 2,
    launches: ["matmul+rotary+appendKv"],
    fn: cached(heads({ D: 12, counts: [3, 2, 2], layout: "half" }), {
      slots: [9, 1, 2, 3, -1, 5, 6, 7, 8, 0],
      starts: range(10),
      table: range(30).map((page) => (page === 16 ? -1 : 29 - page)),
    }),
  },
];

/** Groups of f16 products on matrix units beside the same ops in float64. */
export const matrixGroups: readonly GroupCheck[] = cases.map(
  ({ name, shapes, K, launches, stores = 0, turnsRounded = false, carriesRounded = false, fn }) => {
    let ran: readonly string[] = [];
    return {
      name,
      launches,
      ran: () => ran,
      async error(device, units) {
        const [inputs, exact] = [await place(device, shapes, "f16"), await place(reference(), shapes, "f64")];
        const compiled = compile((...args: readonly Tensor[]) => fn(args));
        const results = withUnits(device, units, () => compiled(...inputs));
        ran = compiled.plans()[0]?.launches.map((launch) => launch.name) ?? [];
        const expected = fn(exact);
        const changed = (of: readonly Tensor[]) => of.slice(of.length - stores);
        const wantedValues = [...expected, ...changed(exact)];
        let worst = 0;
        for (const [i, result] of [...results, ...changed(inputs)].entries()) {
          const [actual, wanted] = [await result.data(), await (wantedValues[i] as Tensor).data()];
          const values = Float64Array.from(wanted);
          // Both numbers of a pair, off by 2^-11 of themselves, turn into ones off by that of the pair's length.
          const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
          const turning = turnsRounded ? 2 ** -11 * Math.SQRT2 * largest : 0;
          // A step of a half beside one term of the sum, which is no larger than the largest of all results.
          const carried = carriesRounded ? 2 ** -10 * largest : 0;
          // Up to three roundings to f16, and that of sums of K products of standard normals in f32.
          const bound = (value: number) =>
            3.03 * 2 ** -11 * Math.abs(value) + turning + carried + 2e-6 * K + 2e-5;
          worst = Math.max(worst, errorInBounds(Float64Array.from(actual), values, bound));
          if (Number.isNaN(worst)) break;
        }
        compiled.dispose();
        disposeTree([inputs, exact, results, expected]);
        return worst;
      },
    };
  },
);

/** The same halves on a device. */
async function place(on: Device, shapes: Case["shapes"], dtype: "f16" | "f64"): Promise<readonly Tensor[]> {
  const made: Tensor[] = [];
  for (const [i, shape] of shapes.entries()) {
    const halves = await randn(reference(), shape, { seed: i + 1 })
      .cast("f16")
      .cast("f64")
      .data();
    made.push(tensor(on, Float64Array.from(halves), { shape, dtype }));
  }
  return made;
}

/** Runs with the device's own matrix units, or with their emulation in place of them. */
function withUnits<T>(device: Device, units: MatrixUnits, run: () => T): T {
  if (units === "own") return run();
  const { features } = device as unknown as { features: WgslFeatures };
  // The emulation declares no half floats.
  Object.assign(device, { features: { ...features, f16: false, matrixUnit: emulatedMatrices } });
  try {
    return run();
  } finally {
    Object.assign(device, { features });
  }
}
