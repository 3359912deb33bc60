import type { WgslFeatures } from "../kernel.js";

/**
 * Threads that add up one result together: a subgroup where all subgroups are of one size, else 32 threads that meet in
 * workgroup memory. Team t of a workgroup is threads t * size and up; that subgroups are such runs of threads is not promised
 * by WebGPU, but so on every adapter known to offer them.
 */
export interface Team {
  readonly size: number;
  /** Directives and declarations at module scope. */
  readonly enable: string;
  readonly declarations: string;
  /** Statements that put the team's sums of the named variables (f32) into every thread of the team. */
  sum(names: readonly string[]): string;
}

/** Plans teams for workgroups of `threads`. */
export function teamOf(features: WgslFeatures, threads: number): Team {
  const { subgroups } = features;
  if (subgroups !== undefined && subgroups.min === subgroups.max && subgroups.max <= 64) {
    return {
      size: subgroups.max,
      enable: "enable subgroups;\ndiagnostic(off, subgroup_uniformity);",
      declarations: "",
      sum: (names) => names.map((name) => `  ${name} = subgroupAdd(${name});`).join("\n"),
    };
  }
  const size = 32;
  return {
    size,
    enable: "",
    declarations: `var<workgroup> teamParts: array<f32, ${threads}>;`,
    sum: (names) =>
      names
        .map(
          (name) => `  teamParts[thread] = ${name};
  for (var half = ${size / 2}u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread % ${size}u < half) { teamParts[thread] += teamParts[thread + half]; }
  }
  workgroupBarrier();
  ${name} = teamParts[thread - thread % ${size}u];
  workgroupBarrier();`,
        )
        .join("\n"),
  };
}

/** Names `prefix0`, `prefix1`, ... */
export const numbered = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `${prefix}${i}`);

/** One line of code for each of `count`. */
export const each = (count: number, line: (i: number) => string): string =>
  Array.from({ length: count }, (_, i) => line(i)).join("\n");
