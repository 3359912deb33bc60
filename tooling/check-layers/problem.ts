/** Every rule by its name, as the allow-list uses it. */
export type Rule =
  | "layer"
  | "cycle"
  | "dependency"
  | "module-let"
  | "default-export"
  | "export-star"
  | "extends"
  | "top-level-await"
  | "file-name"
  | "file-size"
  | "function-size"
  | "parameters"
  | "import-path"
  | "words";

/** One breach: `path` from the root, `line` from 1 (0: the whole file), `text` says the rule and what was found. */
export interface Problem {
  readonly rule: Rule;
  readonly path: string;
  readonly line: number;
  readonly text: string;
}

/** One excused breach: every problem of `rule` in `path`. */
export interface Allowance {
  readonly rule: Rule;
  readonly path: string;
  readonly reason: string;
}

/**
 * Splits problems into those that stand and those that an allowance excuses. An allowance that excuses
 * nothing or gives no reason is itself a problem, so the list can only shrink.
 */
export function applyAllowances(problems: readonly Problem[], allowances: readonly Allowance[]): Problem[] {
  const excuses = (allowance: Allowance, problem: Problem) =>
    allowance.rule === problem.rule && allowance.path === problem.path;
  const standing = problems.filter((problem) => !allowances.some((allowance) => excuses(allowance, problem)));
  const idle = allowances.filter(
    (allowance) => allowance.reason.trim() === "" || !problems.some((problem) => excuses(allowance, problem)),
  );
  const stale = idle.map(({ rule, path }) => ({
    rule,
    path,
    line: 0,
    text: "an allowance has a reason and excuses something. Remove it from tooling/check-layers/allow-list.json.",
  }));
  return [...standing, ...stale];
}
