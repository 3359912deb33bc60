import type { PartInput, PartTarget, ProductGroup, ProductPart } from "../../compile/product-group.js";
import type { DType } from "../../dtype.js";
import { sizeOf, type TensorType } from "../../shape.js";
import { lanesOf, valueType } from "../dtype.js";
import { expressionCode } from "../expression.js";
import type { WgslFeatures, WgslKernel } from "../kernel.js";
import { groupJoin } from "../kernels/group-join.js";
import { bufferAt, waitsHere, wgslStep } from "../step.js";
import { GroupText, pieceOf, rowsOf } from "./group-text.js";
import type { NormPiece, PlacementPiece, ProductPiece, ProductTask, RotationPiece } from "./piece.js";
import { placeValues } from "./place-values.js";
import { xFunctions } from "./x-vectors.js";

/** The call of a group: buffers are the launch's inputs, then its outputs. */
export interface GroupCall {
  readonly group: ProductGroup;
  readonly inputs: readonly TensorType[];
  readonly outputs: readonly TensorType[];
}

/** A part with what its ops offer. */
export interface PartPlan {
  readonly part: ProductPart;
  readonly pieces: readonly ProductPiece[];
  readonly weights: readonly string[];
  readonly rotation: { readonly piece: RotationPiece; readonly prefix: string } | undefined;
  readonly slots: ProductTask["slots"];
  readonly numTiles: number;
}

/**
 * One dispatch for a group of products: workgroups are divided among its parts; each makes tiles of outputs and hands them to
 * what follows without a detour through memory. Undefined where a member does not fit. Twin: the ops one after another.
 */
export function groupWgsl(call: GroupCall, features: WgslFeatures): WgslKernel | undefined {
  const writer = new GroupWriter(call, features);
  return writer.write();
}

class GroupWriter {
  readonly #call: GroupCall;
  readonly #features: WgslFeatures;
  readonly #text = new GroupText();
  readonly #declarations = new Set<string>();
  readonly #enable = new Set<string>();

  constructor(call: GroupCall, features: WgslFeatures) {
    this.#call = call;
    this.#features = features;
  }

  write(): WgslKernel | undefined {
    const { group } = this.#call;
    const norm = group.norm && pieceOf(group.norm, "norm");
    if (group.norm !== undefined && norm === undefined) return undefined;
    const plans: PartPlan[] = [];
    for (const part of group.parts) {
      const plan = this.#plan(part, plans.length);
      if (plan === undefined) return undefined;
      plans.push(plan);
    }
    const first = plans[0]?.pieces[0];
    if (first === undefined || !plans.every(({ pieces }) => pieces.every((piece) => sharesX(piece, first))))
      return undefined;
    const threads = Math.max(...plans.map(({ pieces }) => pieces[0]?.threads ?? 0));
    const prologue = this.#readX(first, norm, threads);
    if (prologue === undefined) return undefined;
    return this.#assemble(plans, { norm: norm?.kind ?? "none", threads, prologue });
  }

  #assemble(
    plans: readonly PartPlan[],
    {
      norm,
      threads,
      prologue,
    }: { readonly norm: ProductTask["norm"]; readonly threads: number; readonly prologue: string },
  ): WgslKernel | undefined {
    const { rows = 1, rowBlocks: blocks = 1 } = plans[0]?.pieces[0] ?? {};
    // Every part begins at a multiple of the workgroups that share rows.
    const rowStart = blocks === 1 ? "" : `  rowBase = (group % ${blocks}u) * ${rows}u;\n`;
    const branches: string[] = [];
    let groups = 0;
    let results = 0;
    for (const [i, plan] of plans.entries()) {
      const [piece] = plan.pieces;
      if (piece === undefined) return undefined;
      const epilogue = this.#epilogue(plan, { threads, part: i });
      if (epilogue === undefined) return undefined;
      const { slots } = plan;
      const { rowBlocks } = piece;
      const text = piece.write({ slots, threads, norm, features: this.#features, epilogue });
      if (text === undefined) return undefined;
      if (text.enable !== "") this.#enable.add(text.enable);
      for (const declaration of text.declarations) this.#declarations.add(declaration);
      results = Math.max(results, text.tiles * slots.length * piece.rows * piece.unit);
      if (i > 0) this.#text.fixed[`groups${i}`] = groups;
      this.#text.fixed[`tiles${i}`] = plan.numTiles;
      groups += Math.ceil(plan.numTiles / text.tiles) * rowBlocks;
      const own = i === 0 ? "group" : `(group - P.groups${i})`;
      const start = `  let firstTile = (${own} / ${rowBlocks}u) * ${text.tiles}u;`;
      branches.push(`${start}\n${text.body}`);
    }
    const chain = branches.map((body, i) => {
      if (branches.length === 1) return body;
      const isLast = i === branches.length - 1;
      return `${i === 0 ? "  " : " else "}${isLast ? "" : `if (group < P.groups${i + 1}) `}{\n${body}\n  }`;
    });
    if (this.#text.buffers.length > this.#features.maxBuffers) return undefined;
    const { fixed, params, tables } = this.#text;
    const step = wgslStep({
      buffers: this.#text.buffers,
      params: { ...fixed, ...params },
      tables,
      // One binding less to go through, where none is needed.
      isFixed: [params, tables].every((own) => Object.keys(own).length === 0),
      threads,
      groups,
      enable: [...this.#enable].join("\n"),
      declarations: [
        `var<workgroup> results: array<f32, ${results}>;`,
        "var<private> rowBase: u32;",
        ...this.#text.functions.values(),
        ...this.#declarations,
      ].join("\n"),
      body: `${rowStart}${prologue === "" ? "" : `${waitsHere}\n${prologue}\n`}${chain.join("")}`,
    });
    return { steps: [step] };
  }

  /** Finds what the ops of a part offer, and divides its outputs into tiles. */
  #plan(part: ProductPart, at: number): PartPlan | undefined {
    const pieces = part.products.map((product) => pieceOf(product, "product", this.#features));
    const [piece] = pieces;
    if (piece === undefined) return undefined;
    const isAlike = (other: ProductPiece | undefined) =>
      other !== undefined &&
      other.format === piece.format &&
      other.outFeatures === piece.outFeatures &&
      sharesX(other, piece);
    if (!pieces.every(isAlike)) return undefined;
    const weights = pieces.map((_, i) => `p${at}w${i}`);
    const known = pieces as ProductPiece[];
    for (const [i, { buffers, params }] of known.entries()) {
      const prefix = weights[i] ?? "";
      for (const { name, input, dtype, element } of buffers) {
        const index = part.products[i]?.inputs[input] ?? -1;
        this.#text.buffers.push({
          name: `${prefix}_${name}`,
          memory: bufferAt(index),
          dtype,
          access: "read",
          element,
        });
      }
      for (const [name, value] of Object.entries(params)) this.#text.fixed[`${prefix}_${name}`] = value;
    }
    const units = Math.ceil(piece.outFeatures / piece.unit);
    const turning = part.rotation && pieceOf(part.rotation, "rotation");
    const isTurned =
      turning !== undefined && turning.tokens === 1 && turning.rows === rowsOf(this.#call.group);
    if (part.order !== undefined || (part.rotation !== undefined && (!isTurned || part.expression)))
      return undefined;
    const rotation = part.rotation &&
      turning && { piece: turning, prefix: this.#text.addFunctions(part.rotation, turning, "turn") };
    const tiling = tilesOf(piece, { units, weights, rotation: turning });
    return tiling && { part, pieces: known, weights, rotation, ...tiling };
  }

  /** Functions that read x, and statements before the products; undefined where x is of no readable form. */
  #readX(piece: ProductPiece, norm: NormPiece | undefined, threads: number): string | undefined {
    const { group, inputs } = this.#call;
    const member = group.norm ?? group.parts[0]?.products[0];
    const index = member?.inputs[0] ?? -1;
    const dtype = inputs[index]?.dtype;
    const isOfRows = group.norm === undefined || group.norm.types[0]?.shape.at(-1) === piece.inFeatures;
    if (dtype === undefined || !isOfRows) return undefined;
    const operand = (input: number | undefined) =>
      input === undefined
        ? undefined
        : { index: member?.inputs[input] ?? -1, dtype: member?.types[input]?.dtype ?? "f32" };
    const found = xFunctions({
      x: { index, dtype },
      width: piece.xWidth,
      rows: piece.rows,
      allRows: rowsOf(group),
      columns: piece.inFeatures,
      threads,
      norm: norm && { ...norm, weight: operand(norm.weight), bias: operand(norm.bias) },
    });
    if (found === undefined) return undefined;
    this.#text.buffers.unshift(...found.buffers);
    Object.assign(this.#text.fixed, { columns: { f32: piece.inFeatures } }, found.params);
    this.#text.functions.set("x", found.declarations);
    if (norm?.kind === "layer") this.#declarations.add(groupJoin("sum", "a + b", threads));
    return found.prologue;
  }

  /** What happens to the results of a tile. */
  #epilogue(
    plan: PartPlan,
    { threads, part }: { readonly threads: number; readonly part: number },
  ): ((tiles: number) => string) | undefined {
    const [piece] = plan.pieces;
    if (piece === undefined) return undefined;
    const { rows, unit, outFeatures: N } = piece;
    const M = rowsOf(this.#call.group);
    const { slots } = plan;
    const targets = plan.part.targets.map((target, i) => this.#target(target, { part, i, N, M }));
    if (targets.includes(undefined)) return undefined;
    const values = plan.part.expression && this.#expression(plan.part.expression, { part, N, M });
    if (plan.part.expression !== undefined && values === undefined) return undefined;
    const placed = placeValues(plan, { values, targets: targets as string[] });
    const half = unit / 2;
    return (tiles) => `  workgroupBarrier();
  for (var e = thread; e < ${tiles * rows * half}u; e += ${threads}u) {
    let pair = e % ${half}u;
    let ownRow = (e / ${half}u) % ${rows}u;
    let own = e / ${half * rows}u;
    let tile = firstTile + own;
    let m = rowBase + ownRow;
    if (tile < P.tiles${part} && m < ${M}u) {
${slots
  .map(({ unit: index }, s) => {
    const at = `((own * ${slots.length}u + ${s}u) * ${rows}u + ownRow) * ${unit}u + pair * 2u`;
    return `      let n${s} = (${index}) * ${unit}u + pair * 2u;\n      let r${s} = vec2f(results[${at}], results[${at} + 1u]);`;
  })
  .join("\n")}
${placed}
    }
  }`;
  }

  /** Adds a function `store_pair_..(m, n, value)` for a target and returns its name. */
  #target(
    target: PartTarget,
    { part, i, N, M }: { readonly part: number; readonly i: number; readonly N: number; readonly M: number },
  ): string | undefined {
    const name = `p${part}y${i}`;
    if (target.kind === "output") {
      const { dtype } = target.type;
      if (sizeOf(target.type.shape) !== M * N) return undefined;
      return this.#pairStore(name, {
        index: this.#call.inputs.length + target.index,
        dtype,
        at: `m * ${N}u + n`,
        N,
      });
    }
    const { placement, fresh } = target;
    const piece = pieceOf(placement, "placement");
    const store = piece?.stores.find((candidate) => candidate.fresh === fresh);
    if (piece === undefined || store === undefined || piece.tokens !== 1 || piece.rows !== M)
      return undefined;
    const prefix = this.#text.addFunctions(placement, piece as PlacementPiece, "cell");
    const index = placement.inputs[store.store] ?? -1;
    const { width, dtype } = store;
    if (width % 2 !== 0) return undefined;
    return this.#pairStore(name, {
      index,
      dtype,
      N,
      at: `u32(row) * ${width}u + n % ${width}u`,
      before: `  let row = ${prefix}_cell(m, n / ${width}u);\n  if (row < 0) { return; }\n`,
    });
  }

  #pairStore(
    name: string,
    to: {
      readonly index: number;
      readonly dtype: DType;
      readonly at: string;
      readonly N: number;
      readonly before?: string;
    },
  ): string | undefined {
    const { index, dtype, at, N, before = "" } = to;
    const lanes = lanesOf(dtype);
    if (lanes > 2 || (lanes === 2 && N % 2 !== 0)) return undefined;
    if (dtype !== "f32" && dtype !== "f16" && dtype !== "bf16") return undefined;
    const encode = dtype === "f16" ? "h_toF16" : "h_toBf16";
    const text =
      lanes === 2
        ? `  if (n < ${N}u) { ${name}[(${at}) / 2u] = ${encode}(v.x) | (${encode}(v.y) << 16u); }`
        : `  if (n < ${N}u) { ${name}[${at}] = v.x; }\n  if (n + 1u < ${N}u) { ${name}[${at} + 1u] = v.y; }`;
    this.#text.buffers.push({
      name,
      memory: bufferAt(index),
      dtype,
      access: "words",
      element: lanes === 2 ? "u32" : "f32",
    });
    this.#text.functions.set(name, `fn put_${name}(m: u32, n: u32, v: vec2f) {\n${before}${text}\n}`);
    return `put_${name}`;
  }

  /** Adds a function of the part's expression for one element: `NAME(m, n, products..) -> NAMEValues`. */
  #expression(
    { expression, inputs }: NonNullable<ProductPart["expression"]>,
    { part, N, M }: { readonly part: number; readonly N: number; readonly M: number },
  ): string | undefined {
    const name = `p${part}values`;
    const elements: string[] = [];
    const products: string[] = [];
    for (const [i, input] of inputs.entries()) {
      if (input.kind === "product") {
        const product = `a${input.index}`;
        elements.push(product);
        products[input.index] = product;
        continue;
      }
      const at = placeOf(input, { N, M });
      if (at === undefined) return undefined;
      this.#text.read(`p${part}x${i}`, input.index, input.type.dtype);
      elements.push(`load_p${part}x${i}(${at})`);
    }
    const code = expressionCode(expression, elements, `p${part}e`);
    Object.assign(this.#text.params, code.params);
    const types = expression.outputs.map((node) => valueType(expression.nodes[node]?.dtype ?? "f32"));
    if (types.some((type) => type !== "f32")) return undefined;
    const args = products.map((product) => `${product}: f32`).join(", ");
    this.#text.functions.set(
      name,
      `struct ${name}_s { ${types.map((_, i) => `v${i}: f32,`).join(" ")} };
fn ${name}(m: u32, n: u32, ${args}) -> ${name}_s {
${code.code}
  return ${name}_s(${code.outputs.join(", ")});
}`,
    );
    return name;
  }
}

/** The place of an input's element for row m and output n. */
function placeOf(
  { type: { shape } }: PartInput & { readonly kind: "input" },
  { N, M }: { readonly N: number; readonly M: number },
): string | undefined {
  const size = sizeOf(shape);
  if (size === 1) return "0u";
  if (size === N * M) return `m * ${N}u + n`;
  return size === N && shape.at(-1) === N ? "n" : undefined;
}

/** Divides outputs into tiles: stacked products at one unit, the halves of a head, or neighbours. */
function tilesOf(
  piece: ProductPiece,
  {
    units,
    weights,
    rotation,
  }: {
    readonly units: number;
    readonly weights: readonly string[];
    readonly rotation: RotationPiece | undefined;
  },
): Pick<PartPlan, "slots" | "numTiles"> | undefined {
  const { unit, outFeatures } = piece;
  const [weight = ""] = weights;
  if (rotation !== undefined) {
    const { layout, pairs, width } = rotation;
    if (outFeatures % width !== 0 || width % unit !== 0) return undefined;
    if (layout === "interleaved") return { slots: [{ weight, unit: "tile" }], numTiles: units };
    if (2 * pairs !== width || pairs % unit !== 0) return undefined;
    const half = pairs / unit;
    const lower = `(tile / ${half}u) * ${2 * half}u + tile % ${half}u`;
    return {
      slots: [
        { weight, unit: lower },
        { weight, unit: `${lower} + ${half}u` },
      ],
      numTiles: units / 2,
    };
  }
  if (weights.length > 1)
    return { slots: weights.map((name) => ({ weight: name, unit: "tile" })), numTiles: units };
  const { unitsPerTile } = piece;
  return {
    slots: Array.from({ length: unitsPerTile }, (_, i) => ({
      weight,
      unit: unitsPerTile === 1 ? "tile" : `tile * ${unitsPerTile}u + ${i}u`,
    })),
    numTiles: Math.ceil(units / unitsPerTile),
  };
}

function sharesX(a: ProductPiece, b: ProductPiece): boolean {
  const isSame = a.rows === b.rows && a.rowBlocks === b.rowBlocks;
  return isSame && a.xWidth === b.xWidth && a.inFeatures === b.inFeatures;
}
