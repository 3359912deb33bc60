import { libraryFor } from "./functions.js";
import { type JoinedMemory, type JoinPart, joinMemories, WorkgroupMemory } from "./joined-memory.js";
import type { WgslBinding, WgslStep } from "./kernel.js";
import { rename, replaceAccess } from "./replace-access.js";
import {
  accessFunctions,
  bufferAt,
  constantsOf,
  elementOf,
  joinWords,
  paramsStruct,
  type StepOptions,
  scratchAt,
  waitsHere,
} from "./step.js";

export interface JoinLimits {
  /** Storage buffers of a dispatch. */
  readonly maxBuffers: number;
  readonly maxWorkgroupBytes: number;
  /** Whether a memory may be bound as a uniform. */
  readonly canBeUniform: (memory: number) => boolean;
}

/** Words from one that workgroups count in to the next, so that they do not wait for each other's. */
const stride = 64;
const maxParts = 13;
/** Words that the workgroups of joined steps count in: zero at first, and zero again behind each run. */
export const syncWords = (maxParts + 3) * stride;
/** The word of the numbers that workgroups draw; part k counts in word k + 1. */
const ticketWord = 0;
/** Counts nothing that matters. */
const spareWord = (maxParts + 2) * stride;

const maxGroups = 65535;

/**
 * One dispatch in place of several that follow each other: workgroups of a step wait until those of the step before are done.
 * Undefined where the steps cannot be joined. The binding with scratch memory holds `syncWords` words.
 *
 * Workgroups draw numbers when they begin and take up the parts in that order, so that whoever waits, waits for workgroups that
 * have begun: nothing more is asked of the device than that what has begun goes on, as by the scan with decoupled look-back of
 * Merrill and Garland 2016. What one part writes and another reads goes through atomics, which see the memory that all
 * workgroups share; a write is an exchange whose old value has come back before its part counts as done.
 *
 * Twin: the steps one after another.
 */
export function joinSteps(parts: readonly JoinPart[], limits: JoinLimits): WgslStep | undefined {
  const threads = Math.max(...parts.map(({ source }) => source.threads ?? 256));
  const groups = parts.map(({ source }) => source.groups);
  const allGroups = groups.reduce((total, count) => total + count, 0);
  if (parts.length < 2 || parts.length > maxParts || allGroups > maxGroups) return undefined;
  if (!parts.every(({ source }) => fits(source, threads))) return undefined;
  const memories = joinMemories(parts, limits.canBeUniform);
  if (memories.filter(({ access }) => access !== "uniform").length + 1 > limits.maxBuffers) return undefined;
  const workgroup = new WorkgroupMemory();
  const phases: Phase[] = [];
  for (const [k, part] of parts.entries()) {
    const wait = k === 0 ? "" : `h_wait(thread, ${k * stride}u, ${groups[k - 1]}u);`;
    const phase = phaseOf(part, { k, memories, workgroup, threads, wait });
    if (phase === undefined) return undefined;
    phases.push(phase);
  }
  if (workgroup.bytes > limits.maxWorkgroupBytes) return undefined;
  const words = joinWords(phases.map((phase) => phase.words));
  const members = phases.map(({ words: own }, k) =>
    own.length > 0 ? `  @align(16) s${k}: Params_${k},\n` : "",
  );
  const uniform = `struct Params {\n${members.join("")}}
@group(0) @binding(${memories.length + 1}) var<uniform> U: Params;`;
  const text = `${memories.map((memory, binding) => memory.declaration(binding)).join("\n")}
@group(0) @binding(${memories.length}) var<storage, read_write> h_sync: array<atomic<u32>>;
${phases.map(({ struct }) => struct).join("\n")}
${words.length > 0 ? uniform : ""}
${workgroup.declarations()}
var<private> h_seen: u32;
var<workgroup> h_ticket: u32;
fn h_wait(thread: u32, word: u32, count: u32) {
  if (thread == 0u) { while (atomicLoad(&h_sync[word]) < count) {} }
  workgroupBarrier();
}
${memories.map((memory) => memory.functions()).join("\n")}
${phases.map((phase) => phase.text).join("\n")}
@compute @workgroup_size(${threads})
fn main(@builtin(local_invocation_index) thread: u32) {
  if (thread == 0u) { h_ticket = atomicAdd(&h_sync[${ticketWord}], 1u); }
  let ticket = workgroupUniformLoad(&h_ticket);
  var part = 0u;
  ${phases.map((_, k) => turnOf(k, groups)).join(" else ")}
  // Its condition needs what the exchanges gave back.
  if (h_seen == 0x9e3779b9u) { atomicAdd(&h_sync[${spareWord}], 1u); }
  workgroupBarrier();
  if (thread == 0u && atomicAdd(&h_sync[part * ${stride}u], 1u) == ${(groups.at(-1) ?? 0) - 1}u && part == ${parts.length}u) {
    for (var i = 0u; i <= part; i++) { atomicStore(&h_sync[i * ${stride}u], 0u); }
  }
}`;
  const enable = [...new Set(parts.flatMap(({ source }) => (source.enable ?? "").split("\n")))];
  // WGSL wants what is enabled before other directives.
  enable.sort((a, b) => Number(a.startsWith("diagnostic")) - Number(b.startsWith("diagnostic")));
  return {
    code: [...enable, libraryFor(text), text].filter((piece) => piece !== "").join("\n"),
    bindings: [
      ...memories.map(({ memory, access }): WgslBinding => ({ memory: bufferAt(memory), access })),
      { memory: scratchAt(0), access: "read_write" },
    ],
    ...(words.length > 0 ? { params: words } : {}),
    grid: [allGroups, 1, 1],
  };
}

/** Steps with fewer threads than others can be joined where no thread waits for another. */
function fits({ threads = 256, groups, body, declarations = "" }: StepOptions, all: number): boolean {
  return groups > 0 && (threads === all || !/Barrier|subgroup/.test(body + declarations));
}

interface Phase {
  readonly struct: string;
  readonly words: Uint32Array;
  readonly text: string;
}

/** The text of a part as a function `phase_K(thread, group)`, with names of its own. */
function phaseOf(
  { source, memory, bytes }: JoinPart,
  {
    k,
    memories,
    workgroup,
    threads,
    wait,
  }: {
    readonly k: number;
    readonly memories: readonly JoinedMemory[];
    readonly workgroup: WorkgroupMemory;
    readonly threads: number;
    readonly wait: string;
  },
): Phase | undefined {
  const { params = {}, tables = {}, isFixed = false, declarations = "", body, threads: own = 256 } = source;
  const { struct, readers, words } = isFixed
    ? { struct: constantsOf(params).code, readers: "", words: new Uint32Array() }
    : paramsStruct(params, tables);
  const idle = own < threads ? `  if (thread >= ${own}u) { return; }\n` : "";
  let text: string | undefined = [
    readers,
    ...source.buffers.flatMap(accessFunctions),
    declarations,
    `fn phase(thread: u32, group: u32) {
${body.includes(waitsHere) ? "" : `${waitsHere}\n`}${idle}${body}\n}`,
  ].join("\n");
  text = workgroup.take(text);
  const waits = [wait];
  const stage = workgroup.stage(threads);
  for (const [i, use] of source.buffers.entries()) {
    const element = elementOf(use);
    const found = memories.find((of) => of.shows(memory[i] ?? -1, element));
    if (found === undefined) return undefined;
    if (found.isStaged(use)) {
      const { copy, read } = stage({ from: found.name, element, bytes: bytes[i] ?? 0 });
      waits.push(copy);
      text = replaceAccess(text, use.name, { read, write: () => "" });
    } else text = found.replaceIn(text, use);
    if (text === undefined) return undefined;
  }
  if (waits.length > 1) waits.push("workgroupBarrier();");
  text = text.replaceAll(waitsHere, `  ${waits.join("\n  ")}`);
  for (const name of namesIn(text)) text = rename(text, name, `${name}_${k}`);
  return {
    struct: isFixed || words.length > 0 ? rename(rename(struct, "Params", `Params_${k}`), "P", `P_${k}`) : "",
    words,
    text: rename(text, "P", isFixed ? `P_${k}` : `U.s${k}`),
  };
}

/** Names that a text declares at module scope. */
function namesIn(text: string): string[] {
  const found = text.matchAll(/^(?:fn|struct|alias|const|var<private>) (\w+)/gm);
  return [...new Set([...found].map(([, name]) => name ?? ""))];
}

/** Runs part k where the workgroup's number is one of its numbers. */
function turnOf(k: number, groups: readonly number[]): string {
  const start = groups.slice(0, k).reduce((total, count) => total + count, 0);
  const isLast = k === groups.length - 1;
  return `${isLast ? "" : `if (ticket < ${start + (groups[k] ?? 0)}u) `}{
    part = ${k + 1}u;
    phase_${k}(thread, ticket - ${start}u);
  }`;
}
