import type { HeadOrder, PartInput, PartTarget, ProductPart } from "../../compile/product-group.js";
import { isHalf } from "../../dtype.js";
import { sizeOf, type TensorType } from "../../shape.js";
import { lanesOf, valueType } from "../dtype.js";
import { expressionCode } from "../expression.js";
import { each } from "../kernels/team.js";
import { bufferAt } from "../step.js";
import { laneOf, vectorOf, type Words, wordTypes } from "../vectors.js";
import type { GroupCall } from "./group-step.js";
import { type GroupText, pieceOf } from "./group-text.js";
import type { RotationPiece } from "./piece.js";

/** Where a part's outputs lie among the columns of its tiles. */
export interface PartShape {
  readonly N: number;
  readonly stack: number;
  /** Columns of the part. */
  readonly end: number;
  /** So many columns in a row are neighbouring outputs. */
  readonly run: number;
  readonly order: HeadOrder | undefined;
  /** Output of a slot for column `c`, as an expression (u32). */
  row(slot: number, c: string): string;
}

/** Writes the functions that finish sums of a tile and store them, a vector of neighbours at a time. */
export class TilePlacer {
  readonly #call: GroupCall;
  readonly #M: number;
  /** Neighbouring outputs of a call. */
  readonly #width: 2 | 4 | 8;
  readonly #text: GroupText;

  constructor(of: {
    readonly call: GroupCall;
    readonly M: number;
    readonly perStore: 2 | 4 | 8;
    readonly text: GroupText;
  }) {
    this.#call = of.call;
    this.#M = of.M;
    this.#width = of.perStore;
    this.#text = of.text;
  }

  /** Adds `NAME(m, c, sums of slot 0.., sums of slot 1..)` for row m and columns from c on; undefined where a type does not fit. */
  place(
    part: ProductPart,
    {
      rotation,
      shape,
      at,
    }: { readonly rotation: RotationPiece | undefined; readonly shape: PartShape; readonly at: number },
  ): string | undefined {
    const { stack } = shape;
    const name = `place${at}`;
    const targets = part.targets.map((target, i) => this.#target(target, { name: `p${at}y${i}`, shape }));
    if (targets.includes(undefined)) return undefined;
    const puts = targets as string[];
    const slots = Array.from({ length: stack }, (_, slot) => slot);
    const sums = slots.map((slot) => this.#each((j) => `s${slot}_${j}`));
    const turn = rotation && this.#turn(part, rotation);
    const body =
      part.expression === undefined
        ? this.#plain({ puts, sums, shape, turn })
        : this.#finished(part, part.expression, { puts, sums, shape, turn, at });
    if (body === undefined) return undefined;
    const parameters = sums.flat().map((sum) => `${sum}: f32`);
    this.#text.functions.set(
      name,
      `fn ${name}(m: u32, c: u32, ${parameters.join(", ")}) {
${slots.map((slot) => `  let n${slot} = ${shape.row(slot, "c")};`).join("\n")}
${body}
}`,
    );
    return name;
  }

  #each<T>(make: (j: number) => T): T[] {
    return Array.from({ length: this.#width }, (_, j) => make(j));
  }

  /** Stores sums as they are, or turned. */
  #plain({
    puts,
    sums,
    shape: { N },
    turn,
  }: {
    readonly puts: readonly string[];
    readonly sums: readonly (readonly string[])[];
    readonly shape: PartShape;
    readonly turn: Turn | undefined;
  }): string {
    const store = (values: readonly string[], slot: number) =>
      puts.map((put) => `  if (n${slot} < ${N}u) { ${put}(m, n${slot}, ${values.join(", ")}); }`).join("\n");
    if (turn === undefined) return sums.map(store).join("\n");
    const [low = [], high] = sums;
    if (turn.layout === "half") {
      return `${each(this.#width, (j) => `  let t${j} = ${turn.name}(m, n0 % ${turn.width}u + ${j}u);`)}
${store(
  low.map((a, j) => `${a} * t${j}.x - ${high?.[j]} * t${j}.y`),
  0,
)}
${store(
  low.map((a, j) => `${high?.[j]} * t${j}.x + ${a} * t${j}.y`),
  1,
)}`;
    }
    const turned = (slot: number, values: readonly string[]) => {
      const pairs = values.length / 2;
      const lines = Array.from({ length: pairs }, (_, p) => {
        const [a, b] = [values[2 * p], values[2 * p + 1]];
        const pair = `(n${slot} % ${turn.width}u) / 2u + ${p}u`;
        return `  let t${slot}_${p} = ${turn.name}(m, min(${pair}, ${turn.pairs - 1}u));
  let v${slot}_${p} = select(vec2f(${a}, ${b}), vec2f(${a} * t${slot}_${p}.x - ${b} * t${slot}_${p}.y, ${b} * t${slot}_${p}.x + ${a} * t${slot}_${p}.y), ${pair} < ${turn.pairs}u);`;
      });
      const results = values.map((_, j) => `v${slot}_${j >> 1}.${"xy"[j & 1]}`);
      return `${lines.join("\n")}\n${store(results, slot)}`;
    };
    return sums.map((values, slot) => turned(slot, values)).join("\n");
  }

  #turn({ rotation: member }: ProductPart, piece: RotationPiece): Turn | undefined {
    if (member === undefined) return undefined;
    const prefix = this.#text.addFunctions(member, piece, "turn");
    return { name: `${prefix}_turn`, ...piece };
  }

  /** Stores what an expression makes of the sums, or turns it first. */
  #finished(
    { products }: ProductPart,
    of: PartExpression,
    {
      puts,
      sums,
      shape,
      turn,
      at,
    }: {
      readonly puts: readonly string[];
      readonly sums: readonly (readonly string[])[];
      readonly shape: PartShape;
      readonly turn: Turn | undefined;
      readonly at: number;
    },
  ): string | undefined {
    const numProducts = products.length;
    if (turn === undefined) {
      const finish = (slot: number, values: (output: number) => readonly string[]) =>
        puts.map((put, i) => `    ${put}(m, n${slot}, ${values(i).join(", ")});`).join("\n");
      return this.#expression(of, { sums, shape, at, numProducts, finish });
    }
    const kept = sums.map((_, slot) => this.#each((j) => `d${slot}_${j}`));
    const finish = (slot: number, values: (output: number) => readonly string[]) =>
      values(0)
        .map((value, j) => `    d${slot}_${j} = ${value};`)
        .join("\n");
    const code = this.#expression(of, { sums, shape, at, numProducts, finish });
    const variables = kept
      .flat()
      .map((name) => `  var ${name} = 0.0;`)
      .join("\n");
    return code && `${variables}\n${code}\n${this.#plain({ puts, sums: kept, shape, turn })}`;
  }

  /** Computes an expression of the sums and of other inputs, and hands its results to `finish`. */
  #expression(
    { expression, inputs }: PartExpression,
    {
      sums,
      shape,
      at,
      numProducts,
      finish,
    }: {
      readonly sums: readonly (readonly string[])[];
      readonly shape: PartShape;
      readonly at: number;
      readonly numProducts: number;
      finish(slot: number, values: (output: number) => readonly string[]): string;
    },
  ): string | undefined {
    const name = `p${at}values`;
    const loads = inputs.map((input, i) =>
      input.kind === "input" ? this.#load(input, { name: `p${at}x${i}`, N: shape.N }) : "",
    );
    if (loads.includes(undefined)) return undefined;
    const code = expressionCode(
      expression,
      inputs.map((_, i) => `x${i}`),
      `p${at}e`,
    );
    const types = expression.outputs.map((node) => valueType(expression.nodes[node]?.dtype ?? "f32"));
    if (types.some((type) => type !== "f32")) return undefined;
    Object.assign(this.#text.params, code.params);
    this.#text.functions.set(
      name,
      `struct ${name}_s { ${types.map((_, i) => `v${i}: f32,`).join(" ")} };
fn ${name}(${inputs.map((_, i) => `x${i}: f32`).join(", ")}) -> ${name}_s {
${code.code}
  return ${name}_s(${code.outputs.join(", ")});
}`,
    );
    const own = (slot: number) => {
      const n = `n${slot}`;
      const args = (j: number) =>
        inputs.map((input, i) =>
          input.kind === "product" ? sums[numProducts > 1 ? input.index : slot]?.[j] : `x${i}_${j}`,
        );
      return `  if (n${slot} < ${shape.N}u) {
${loads.map((load, i) => load?.replaceAll("NAME", `x${i}`).replaceAll("COLUMN", n)).join("\n")}
${each(this.#width, (j) => `    let r${j} = ${name}(${args(j).join(", ")});`)}
${finish(slot, (output) => this.#each((j) => `r${j}.v${output}`))}
  }`;
    };
    return numProducts > 1 ? own(0) : each(shape.stack, own);
  }

  /** Statements that read the `width` neighbours of an input from output COLUMN on as NAME_0, ..; undefined where they lie otherwise. */
  #load(
    { index, type }: PartInput & { readonly kind: "input" },
    { name, N }: { readonly name: string; readonly N: number },
  ): string | undefined {
    const { dtype, shape } = type;
    if (dtype !== "f32" && !isHalf(dtype)) return undefined;
    const size = sizeOf(shape);
    if (size === 1) {
      this.#text.read(name, index, dtype);
      return each(this.#width, (j) => `    let NAME_${j} = load_${name}(0u);`);
    }
    const isWhole = size === N * this.#M;
    if (!isWhole && !(size === N && shape.at(-1) === N)) return undefined;
    const { words, vectors } = this.#vectors(type);
    this.#text.buffers.push({
      name,
      memory: bufferAt(index),
      dtype,
      access: "read",
      element: wordTypes[words],
    });
    const from = isWhole ? `(m * ${N}u + COLUMN)` : "COLUMN";
    const lanes = lanesOf(dtype) * words;
    const lane = (j: number) => laneOf(dtype, `NAME_w${Math.floor(j / lanes)}`, j % lanes, words);
    return `${each(vectors, (v) => `    let NAME_w${v} = ${name}[${from} / ${lanes}u + ${v}u];`)}
${each(this.#width, (j) => `    let NAME_${j} = ${lane(j)};`)}`;
  }

  /** Words of a vector of storage, and vectors that `width` elements take. */
  #vectors({ dtype }: Pick<TensorType, "dtype">): { readonly words: Words; readonly vectors: number } {
    const all = this.#width / lanesOf(dtype);
    const words = all >= 4 ? 4 : all === 2 ? 2 : 1;
    return { words, vectors: all / words };
  }

  /** Adds `put_NAME(m, n, values..)` for a target and returns its name. */
  #target(
    target: PartTarget,
    { name, shape: { N, order } }: { readonly name: string; readonly shape: PartShape },
  ): string | undefined {
    if (target.kind === "store") return this.#storeTarget(target, { name, order });
    const index = this.#call.inputs.length + target.index;
    return this.#put(name, { index, type: target.type, at: `  let at = ${placeOf(N, order)};` });
  }

  /** Values go to a store's cell of their token and head, if there is one. */
  #storeTarget(
    { placement, fresh }: PartTarget & { readonly kind: "store" },
    { name, order }: { readonly name: string; readonly order: HeadOrder | undefined },
  ): string | undefined {
    const piece = pieceOf(placement, "placement");
    const store = piece?.stores.find((candidate) => candidate.fresh === fresh);
    if (piece === undefined || store === undefined || piece.rows !== this.#M) return undefined;
    const { width } = store;
    const isOrdered =
      order === undefined ? piece.tokens === 1 : order.length === piece.tokens && order.width === width;
    if (!isOrdered || width % this.#width !== 0) return undefined;
    const prefix = this.#text.addFunctions(placement, piece, "cell");
    return this.#put(name, {
      index: placement.inputs[store.store] ?? -1,
      type: { dtype: store.dtype },
      at: `  let cell = ${prefix}_cell(m, n / ${width}u);
  if (cell < 0) { return; }
  let at = u32(cell) * ${width}u + n % ${width}u;`,
    });
  }

  /** Adds a function that stores `width` neighbours from element `at` on, which statements find. */
  #put(
    name: string,
    to: { readonly index: number; readonly type: Pick<TensorType, "dtype">; readonly at: string },
  ): string | undefined {
    const { dtype } = to.type;
    if (dtype !== "f32" && !isHalf(dtype)) return undefined;
    const { words, vectors } = this.#vectors(to.type);
    const lanes = lanesOf(dtype) * words;
    const memory = bufferAt(to.index);
    const values = this.#each((j) => `v${j}`);
    this.#text.buffers.push({ name, memory, dtype, access: "words", element: wordTypes[words] });
    const vector = (v: number) => vectorOf(dtype, values.slice(v * lanes, (v + 1) * lanes), words);
    this.#text.functions.set(
      `put ${name}`,
      `fn put_${name}(m: u32, n: u32, ${values.map((value) => `${value}: f32`).join(", ")}) {
${to.at}
${each(vectors, (v) => `  ${name}[at / ${lanes}u + ${v}u] = ${vector(v)};`)}
}`,
    );
    return `put_${name}`;
  }
}

type PartExpression = NonNullable<ProductPart["expression"]>;

interface Turn extends Pick<RotationPiece, "layout" | "pairs" | "width"> {
  readonly name: string;
}

/** Element of row m and output n: rows of N, or heads of all tokens one after another. */
function placeOf(N: number, order: HeadOrder | undefined): string {
  if (order === undefined) return `m * ${N}u + n`;
  const { length, width } = order;
  return `((m / ${length}u * ${N / width}u + n / ${width}u) * ${length}u + m % ${length}u) * ${width}u + n % ${width}u`;
}
