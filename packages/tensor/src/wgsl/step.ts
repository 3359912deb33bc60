import type { DType } from "../dtype.js";
import { decodeBits, encodeBits, lanesOf, storageType, valueType } from "./dtype.js";
import { libraryFor } from "./functions.js";
import type { BufferUse, StepOptions, StepParam, WgslMemory, WgslStep } from "./kernel.js";

export type { BufferUse, StepOptions, StepParam };

/** Shows buffer `index` of the launch. */
export const bufferAt = (index: number): WgslMemory => ({ kind: "buffer", index });
/** Shows scratch buffer `index` of the kernel. */
export const scratchAt = (index: number): WgslMemory => ({ kind: "scratch", index });

/**
 * A line of a body, in uniform control flow: what is read before it, no step among those that may be joined writes (weights). A joined
 * step waits there for the step before it.
 */
export const waitsHere = "  // What other steps write is read from here on.";

const maxGroupsPerAxis = 65535;

/** Lays `groups` workgroups out in a grid; they may be a few more. */
export function gridOf(groups: number): [number, number, number] {
  if (groups <= maxGroupsPerAxis) return [groups, 1, 1];
  const rows = Math.ceil(groups / maxGroupsPerAxis);
  return [Math.ceil(groups / rows), rows, 1];
}

/** Writes a whole WGSL module around a body: bindings, typed access to them, uniforms, and the functions that it calls. */
export function wgslStep(options: StepOptions): WgslStep {
  const { buffers, threads = 256, groups, enable = "", declarations = "", body } = options;
  const { tables = {}, isFixed = false } = options;
  const place = placeOf(groups);
  const params = { ...place.params, ...options.params };
  const access = buffers.map(accessorsOf).join("\n");
  const text = `${access}
${declarations}
@compute @workgroup_size(${threads})
fn main(@builtin(local_invocation_index) thread: u32, ${place.builtins}) {
${place.code}
${body}
}`;
  const uniforms = isFixed ? constantsOf(params) : uniformsOf(params, { tables, binding: buffers.length });
  return {
    code: [enable, uniforms.code, libraryFor(text), text].filter((part) => part !== "").join("\n"),
    bindings: buffers.map(({ memory, access: kind }) => ({
      memory,
      access: kind === "read" ? "read" : "read_write",
    })),
    ...(uniforms.words.length > 0 ? { params: uniforms.words } : {}),
    grid: gridOf(groups),
    source: options,
  };
}

/** Names `group`; a grid of two axes may hold a few more than wanted. */
function placeOf(groups: number): {
  readonly builtins: string;
  readonly code: string;
  readonly params: Readonly<Record<string, StepParam>>;
} {
  if (groups <= maxGroupsPerAxis)
    return { builtins: "@builtin(workgroup_id) h_id: vec3u", code: "  let group = h_id.x;", params: {} };
  return {
    builtins: "@builtin(workgroup_id) h_id: vec3u, @builtin(num_workgroups) h_count: vec3u",
    code: "  let group = h_id.y * h_count.x + h_id.x;\n  if (group >= P.groups) { return; }",
    params: { groups },
  };
}

/** Declares the uniform that holds the params, `P`, and the tables behind them; nothing where there are none. */
function uniformsOf(
  params: Readonly<Record<string, StepParam>>,
  { tables, binding }: { readonly tables: Readonly<Record<string, Uint32Array>>; readonly binding: number },
): { readonly code: string; readonly words: Uint32Array } {
  const { struct, readers, words } = paramsStruct(params, tables);
  if (words.length === 0) return { code: "", words };
  return { code: `${struct}\n@group(0) @binding(${binding}) var<uniform> P: Params;${readers}`, words };
}

/** `struct Params` with the params and the tables behind them, functions that read the tables of `P`, and the words. */
export function paramsStruct(
  params: Readonly<Record<string, StepParam>>,
  tables: Readonly<Record<string, Uint32Array>>,
): { readonly struct: string; readonly readers: string; readonly words: Uint32Array } {
  const lists = Object.entries(tables);
  const arrays = lists.map(([name, words]) => `  t_${name}: array<vec4u, ${Math.ceil(words.length / 4)}>,`);
  const readers = lists.map(
    ([name]) => `\nfn table_${name}(i: u32) -> u32 { return P.t_${name}[i / 4u][i % 4u]; }`,
  );
  return {
    struct: `struct Params {\n${[...fieldsOf(params), ...arrays].join("\n")}\n}`,
    readers: readers.join(""),
    words: joinWords([paramWords(Object.values(params)), ...Object.values(tables)]),
  };
}

const fieldsOf = (params: Readonly<Record<string, StepParam>>) =>
  Object.entries(params).map(([name, value]) => `  ${name}: ${typeof value === "number" ? "u32" : "f32"},`);

/** Declares `P` as a constant. */
export function constantsOf(params: Readonly<Record<string, StepParam>>): {
  readonly code: string;
  readonly words: Uint32Array;
} {
  const values = Object.values(params).map((value) =>
    typeof value === "number" ? `${value >>> 0}u` : `${Math.fround(value.f32)}f`,
  );
  const code = `struct Params {\n${fieldsOf(params).join("\n")}\n}\nconst P = Params(${values.join(", ")});`;
  return { code: values.length === 0 ? "" : code, words: new Uint32Array() };
}

/** Puts lists behind each other, each at a multiple of 16 bytes. */
export function joinWords(lists: readonly Uint32Array[]): Uint32Array {
  const rounded = lists.map(({ length }) => Math.ceil(length / 4) * 4);
  const words = new Uint32Array(rounded.reduce((total, length) => total + length, 0));
  let at = 0;
  lists.forEach((list, i) => {
    words.set(list, at);
    at += rounded[i] ?? 0;
  });
  return words;
}

function paramWords(values: readonly StepParam[]): Uint32Array {
  const words = new Uint32Array(Math.ceil(values.length / 4) * 4);
  const floats = new Float32Array(words.buffer);
  values.forEach((value, i) => {
    if (typeof value === "number") words[i] = value >>> 0;
    else floats[i] = value.f32;
  });
  return words;
}

function accessorsOf(use: BufferUse, binding: number): string {
  const mode = use.access === "read" ? "read" : "read_write";
  const declaration = `@group(0) @binding(${binding}) var<storage, ${mode}> ${use.name}: array<${elementOf(use)}>;`;
  return [declaration, ...accessFunctions(use)].join("\n");
}

/** Stores change lanes of words that other threads may be writing too. */
const sharesWords = ({ dtype, access, element }: BufferUse) =>
  element === undefined && (access === "write" || access === "readWrite") && lanesOf(dtype) > 1;

/** What the array of a buffer holds. */
export function elementOf(use: BufferUse): string {
  return use.element ?? (sharesWords(use) ? "atomic<u32>" : storageType(use.dtype));
}

/** `load_NAME` and `store_NAME`, where the use has them. */
export function accessFunctions(use: BufferUse): string[] {
  const { name, dtype, access, element } = use;
  if (element !== undefined) return [];
  return [
    ...(access === "write" ? [] : [loadFunction(name, dtype, sharesWords(use))]),
    ...(access === "write" || access === "readWrite" ? [storeFunction(name, dtype)] : []),
  ];
}

function loadFunction(name: string, dtype: DType, isAtomic: boolean): string {
  const type = valueType(dtype);
  const lanes = lanesOf(dtype);
  if (lanes === 1) return `fn load_${name}(i: u32) -> ${type} { return ${name}[i]; }`;
  const [shift, mask, bits] = lanes === 2 ? [1, 1, 16] : [2, 3, 8];
  const word = `${name}[i >> ${shift}u]`;
  const value = `(${isAtomic ? `atomicLoad(&${word})` : word} >> ((i & ${mask}u) * ${bits}u))`;
  return `fn load_${name}(i: u32) -> ${type} { return ${decodeBits(dtype, value)}; }`;
}

function storeFunction(name: string, dtype: DType): string {
  const type = valueType(dtype);
  const lanes = lanesOf(dtype);
  if (lanes === 1) return `fn store_${name}(i: u32, value: ${type}) { ${name}[i] = value; }`;
  const [shift, mask, bits, ones] = lanes === 2 ? [1, 1, 16, "0xffffu"] : [2, 3, 8, "0xffu"];
  return `fn store_${name}(i: u32, value: ${type}) {
  let shift = (i & ${mask}u) * ${bits}u;
  atomicAnd(&${name}[i >> ${shift}u], ~(${ones} << shift));
  atomicOr(&${name}[i >> ${shift}u], ${encodeBits(dtype, "value")} << shift);
}`;
}
