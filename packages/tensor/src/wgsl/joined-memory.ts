import type { WgslBinding } from "./kernel.js";
import { each } from "./kernels/team.js";
import { rename, replaceAccess } from "./replace-access.js";
import { type BufferUse, elementOf, type StepOptions } from "./step.js";

/** A step among those that are to be joined. */
export interface JoinPart {
  readonly source: StepOptions;
  /** What each buffer of the source shows: a number, equal for equal memory. */
  readonly memory: readonly number[];
  /** Bytes of each that its value takes. */
  readonly bytes: readonly number[];
}

/** Vectors that are read a word at a time cost more than a dispatch saves where there are many of them. */
const maxSharedVectorBytes = 2 ** 17;
/** A buffer of integers that fits in so many bytes is bound as a uniform of as many. */
export const smallUniformBytes = 16;

/** How a word becomes a scalar. */
const fromWord: Readonly<Record<string, string>> = { f32: "bitcast<f32>", i32: "bitcast<i32>", u32: "" };
const isVector = (element: string) => /^vec4[fiu]$/.test(element);

/** A buffer as a joined step binds it. */
export class JoinedMemory {
  readonly name: string;
  readonly memory: number;
  readonly access: WgslBinding["access"];
  /** What the array holds; words where one part writes it and another uses it. */
  readonly #element: string;
  readonly #isShared: boolean;
  readonly #bytes: number;

  constructor(
    of: Pick<JoinedMemory, "name" | "memory" | "access">,
    { element, isShared, bytes }: { element: string; isShared: boolean; bytes: number },
  ) {
    this.name = of.name;
    this.memory = of.memory;
    this.access = of.access;
    this.#element = element;
    this.#isShared = isShared;
    this.#bytes = bytes;
  }

  /** Whether a use of this memory as an array of such elements is served by this binding. */
  shows(memory: number, element: string): boolean {
    return this.memory === memory && (this.access === "read_write" || this.#element === element);
  }

  declaration(binding: number): string {
    const at = `@group(0) @binding(${binding})`;
    if (this.access === "uniform") return `${at} var<uniform> ${this.name}: vec4i;`;
    const element = this.#isShared ? "atomic<u32>" : this.#element;
    return `${at} var<storage, ${this.access}> ${this.name}: array<${element}>;`;
  }

  /** Functions that read and write elements of shared memory. */
  functions(): string {
    const { name } = this;
    if (!this.#isShared) return "";
    const scalars = Object.entries(fromWord).map(
      ([
        type,
        convert,
      ]) => `fn ${name}_${type}(i: u32) -> ${type} { return ${convert}(atomicLoad(&${name}[i])); }
fn ${name}_put_${type}(i: u32, value: ${type}) { h_seen |= atomicExchange(&${name}[i], bitcast<u32>(value)); }`,
    );
    const vectors = Object.keys(fromWord).map((type) => {
      const vector = `vec4${type[0]}`;
      const read = [0, 1, 2, 3].map((lane) => `${name}_${type}(4u * i + ${lane}u)`);
      const put = [0, 1, 2, 3].map((lane) => `${name}_put_${type}(4u * i + ${lane}u, value[${lane}]);`);
      return `fn ${name}_${vector}(i: u32) -> ${vector} { return ${vector}(${read.join(", ")}); }
fn ${name}_put_${vector}(i: u32, value: ${vector}) { ${put.join(" ")} }`;
    });
    return [...scalars, ...vectors].join("\n");
  }

  /** Vectors that a part reads are copied word by word first: neighbours read neighbouring words. */
  isStaged(use: BufferUse): boolean {
    return this.#isShared && use.access === "read" && isVector(elementOf(use)) && !this.#isLarge;
  }

  /** A part's text with this memory in place of a buffer of it; undefined where its uses cannot be replaced. */
  replaceIn(text: string, use: BufferUse): string | undefined {
    const { name } = this;
    if (this.access === "uniform")
      return replaceAccess(text, use.name, { read: (i) => `${name}[${i}]`, write: () => "" });
    if (!this.#isShared) return rename(text, use.name, name);
    const element = elementOf(use);
    if (isVector(element) ? this.#isLarge : !(element in fromWord)) return undefined;
    return replaceAccess(text, use.name, {
      read: (i) => `${name}_${element}(${i})`,
      write: (i, value) => `${name}_put_${element}(${i}, ${value})`,
    });
  }

  get #isLarge(): boolean {
    return this.#bytes > maxSharedVectorBytes;
  }
}

/** What a joined step binds: each memory once, or once for each type of element where it is only read. */
export function joinMemories(
  parts: readonly JoinPart[],
  canBeUniform: (memory: number) => boolean,
): readonly JoinedMemory[] {
  const uses = new Map<number, { k: number; use: BufferUse; bytes: number }[]>();
  for (const [k, { source, memory, bytes }] of parts.entries()) {
    for (const [i, use] of source.buffers.entries()) {
      const number = memory[i] ?? -1;
      uses.set(number, [...(uses.get(number) ?? []), { k, use, bytes: bytes[i] ?? 0 }]);
    }
  }
  const memories: JoinedMemory[] = [];
  for (const [memory, of] of uses) {
    const bytes = Math.max(...of.map((use) => use.bytes));
    const elements = [...new Set(of.map(({ use }) => elementOf(use)))];
    const add = (element: string, access: WgslBinding["access"], isShared: boolean) =>
      memories.push(
        new JoinedMemory({ name: `h_m${memories.length}`, memory, access }, { element, isShared, bytes }),
      );
    if (of.some(({ use }) => use.access !== "read")) {
      add(elements[0] ?? "u32", "read_write", new Set(of.map(({ k }) => k)).size > 1);
      continue;
    }
    const isSmall = bytes <= smallUniformBytes && canBeUniform(memory);
    for (const element of elements) add(element, isSmall && element === "i32" ? "uniform" : "read", false);
  }
  return memories;
}

/** Workgroup memory of all parts: a workgroup has one part, so that equal kinds of memory lie in one place. */
export class WorkgroupMemory {
  /** By kind and number among those of a part. */
  readonly #places = new Map<string, { readonly name: string; readonly type: string; length: number }>();

  /** Takes the declarations out of a part's text and names what they declared anew. */
  take(text: string): string {
    const counts = new Map<string, number>();
    let result = text;
    for (const [line, name = "", type = ""] of text.matchAll(/^var<workgroup> (\w+): (.+);$/gm)) {
      const array = /^array<(.+), (\d+)>$/.exec(type);
      const kind = array === null ? type : `array<${array[1]}, N>`;
      const count = counts.get(kind) ?? 0;
      counts.set(kind, count + 1);
      const place = this.#place(`${kind} ${count}`, kind, Number(array?.[2] ?? 1));
      result = rename(result.replace(line, ""), name, place);
    }
    return result;
  }

  /** For one part: room for copies of what it reads, how they are made and how they are read. */
  stage(threads: number): (of: {
    readonly from: string;
    readonly element: string;
    readonly bytes: number;
  }) => {
    readonly copy: string;
    readonly read: (index: string) => string;
  } {
    let used = 0;
    return ({ from, element, bytes }) => {
      const start = used;
      used += Math.ceil(bytes / 16);
      const name = this.#place("copies", "array<vec4u, N>", used);
      return {
        copy: copyWords({ from, to: name, start, words: Math.ceil(bytes / 4), threads }),
        read: (index) => `bitcast<${element}>(${name}[${start}u + (${index})])`,
      };
    };
  }

  declarations(): string {
    const lines = [...this.#places.values()].map(
      ({ name, type, length }) => `var<workgroup> ${name}: ${type.replace("N", `${length}`)};`,
    );
    return lines.join("\n");
  }

  get bytes(): number {
    let total = 0;
    for (const { type, length } of this.#places.values()) {
      const lanes = Number(/vec([234])/.exec(type)?.[1] ?? 1);
      total += length * 4 * (lanes === 3 ? 4 : lanes);
    }
    return total;
  }

  #place(key: string, type: string, length: number): string {
    const known = this.#places.get(key);
    const place = known ?? { name: `h_w${this.#places.size}`, type, length };
    place.length = Math.max(place.length, length);
    this.#places.set(key, place);
    return place.name;
  }
}

/** Words that a thread requests before it stores the first: each takes as long to come as a dispatch to begin. */
const maxRequested = 16;

/** Copies words to vectors from `start` on: neighbours read neighbouring words. */
function copyWords(of: {
  readonly from: string;
  readonly to: string;
  readonly start: number;
  readonly words: number;
  readonly threads: number;
}): string {
  const { from, to, start, words, threads } = of;
  const requested = Math.min(maxRequested, Math.ceil(words / threads));
  const isWhole = words % (requested * threads) === 0;
  const at = (u: number) => `w + ${u * threads}u`;
  const place = (u: number) => (isWhole ? at(u) : `min(${at(u)}, ${words - 1}u)`);
  return `for (var w = thread; w < ${words}u; w += ${requested * threads}u) {
${each(requested, (u) => `    let word${u} = atomicLoad(&${from}[${place(u)}]);`)}
${each(requested, (u) => `    ${isWhole ? "" : `if (${at(u)} < ${words}u) `}{ let v = ${at(u)}; ${to}[${start}u + (v >> 2u)][v & 3u] = word${u}; }`)}
  }`;
}
