import { HeddleError } from "@heddle/tensor";
import type { ModelConfig } from "../config.js";
import type { AnyFamily, WeightNames, WeightRule } from "../families/family.js";
import { findFamily } from "../families/registry.js";

/** One tensor of a checkpoint and the weights of our tree that it holds. */
export interface StoredWeight {
  readonly name: string;
  /** As stored. */
  readonly shape: readonly number[];
  /** The last two axes are stored the other way round. */
  readonly isTransposed: boolean;
  /** Axis of the rows in our order of axes, and the number of equal groups that they lie in. */
  readonly axis: number;
  readonly groups: number;
  readonly hasUnitRows: boolean;
  readonly parts: readonly StoredPart[];
}

/** A weight of our tree, or one slice of it along the first axis. */
export interface StoredPart {
  readonly path: string;
  readonly slice?: Slice;
  readonly shape: readonly number[];
}

/** Slice `index` of `count`. */
export interface Slice {
  readonly index: number;
  readonly count: number;
}

/** Shape of every weight, by its path. */
export function weightShapes(config: ModelConfig): ReadonlyMap<string, readonly number[]> {
  return shapesOf(findFamily(config.family), config);
}

function shapesOf({ architecture }: AnyFamily, config: ModelConfig): ReadonlyMap<string, readonly number[]> {
  const shapes = new Map<string, readonly number[]>();
  // The tree itself is not used: only the leaves that are asked for.
  architecture.buildWeights(config, (path, shape) => {
    shapes.set(path, shape);
    return undefined as never;
  });
  return shapes;
}

/** Lists every tensor that a checkpoint of this configuration holds, by default as its family names them. */
export function storedWeights(
  config: ModelConfig,
  names: WeightNames = findFamily(config.family).weights(config),
): readonly StoredWeight[] {
  const shapes = shapesOf(findFamily(config.family), config);
  return names.rules.flatMap((rule) => expandRule(rule, shapes));
}

/** A rule for every tuple of numbers that its stars stand for; nothing where the configuration has no such weights. */
function expandRule(rule: WeightRule, shapes: ReadonlyMap<string, readonly number[]>): StoredWeight[] {
  const patterns = rule.paths.map(patternOf);
  const tuples = new Map<string, readonly string[]>();
  for (const [path, shape] of shapes) {
    for (const { matcher, isSliced } of patterns) {
      const numbers = matcher.exec(path)?.slice(1);
      if (numbers === undefined) continue;
      const slices = isSliced ? Array.from({ length: shape[0] ?? 0 }, (_, slice) => [String(slice)]) : [[]];
      for (const slice of slices) tuples.set([...numbers, ...slice].join(), [...numbers, ...slice]);
    }
  }
  return [...tuples.values()].map((numbers) => storedWeight(rule, numbers, shapes));
}

function patternOf(pattern: string): { readonly matcher: RegExp; readonly isSliced: boolean } {
  const isSliced = pattern.endsWith("[*]");
  const base = isSliced ? pattern.slice(0, -3) : pattern;
  const source = base.replaceAll(".", "\\.").replaceAll("*", "(\\d+)");
  return { matcher: new RegExp(`^${source}$`), isSliced };
}

function storedWeight(
  { paths, name, isTransposed = false, groups = 1, axis = 0, hasUnitRows = false }: WeightRule,
  numbers: readonly string[],
  shapes: ReadonlyMap<string, readonly number[]>,
): StoredWeight {
  const parts = paths.flatMap((pattern) => partOf(fill(pattern, numbers), shapes));
  const ours = [...(parts[0]?.shape ?? [])];
  ours[axis] = parts.reduce((sum, { shape }) => sum + (shape[axis] ?? 0), 0);
  const shape = isTransposed ? [...ours.slice(0, -2), ...ours.slice(-2).toReversed()] : ours;
  return { name: fill(name, numbers), shape, isTransposed, axis, groups, hasUnitRows, parts };
}

function partOf(path: string, shapes: ReadonlyMap<string, readonly number[]>): StoredPart[] {
  const [, base = path, slice] = /^(.*)\[(\d+)\]$/.exec(path) ?? [];
  const shape = shapes.get(base);
  if (shape === undefined) return [];
  if (slice === undefined) return [{ path, shape }];
  return [{ path: base, slice: { index: Number(slice), count: shape[0] ?? 0 }, shape: shape.slice(1) }];
}

/** The pattern with its stars replaced by numbers, from left to right. */
function fill(pattern: string, numbers: readonly string[]): string {
  const rest = numbers.values();
  return pattern.replaceAll("*", () => rest.next().value ?? "*");
}

/** The name under which a checkpoint holds a weight: as its family says, or without the optional prefix. */
export interface LocatedWeight extends StoredWeight {
  readonly storedName: string;
}

/**
 * Matches a checkpoint's tensors with a configuration.
 *
 * @param found  shape of every tensor in the checkpoint, by name
 * @param names  how the checkpoint names them; default as the family does
 * @throws HeddleError "format" with one list of all tensors that are missing, unexpected or of another shape
 */
export function locateWeights(
  config: ModelConfig,
  found: ReadonlyMap<string, { readonly shape: readonly number[] }>,
  names: WeightNames = findFamily(config.family).weights(config),
): readonly LocatedWeight[] {
  const { rules, optionalPrefix: prefix = "", earlyEndings = [], ignored = [] } = names;
  const hasPrefix = prefix === "" || [...found.keys()].some((name) => name.startsWith(prefix));
  const bare = (name: string) => (name.startsWith(prefix) ? name.slice(prefix.length) : name);
  const located = storedWeights(config, names).map((weight) => {
    const name = hasPrefix || found.has(weight.name) ? weight.name : bare(weight.name);
    const early = earlyEndings
      .filter(([today]) => name.endsWith(today))
      .map(([today, ending]) => name.slice(0, -today.length) + ending);
    return { ...weight, storedName: [name, ...early].find((candidate) => found.has(candidate)) ?? name };
  });
  const expected = new Set(located.map(({ storedName }) => storedName));
  const isIgnored = (name: string) => {
    const full = hasPrefix ? name : prefix + name;
    // A tied checkpoint may still hold its output projection: a second copy of the embedding.
    return (
      ignored.some((pattern) => pattern.test(full)) || (config.tieEmbeddings && name === unembedding(rules))
    );
  };
  const problems = [
    ...located.flatMap((weight) => shapeProblem(weight, found.get(weight.storedName)?.shape)),
    ...[...found.keys()]
      .filter((name) => !expected.has(name) && !isIgnored(name))
      .map((name) => `unexpected ${name}`),
  ];
  if (problems.length > 0) throw misfit(config, problems);
  return located;
}

function unembedding(rules: readonly WeightRule[]): string | undefined {
  return rules.find(({ paths }) => paths[0] === "unembedding")?.name;
}

function shapeProblem({ storedName, shape }: LocatedWeight, found: readonly number[] | undefined): string[] {
  if (found === undefined) return [`missing ${storedName} [${shape.join(", ")}]`];
  if (found.length === shape.length && found.every((size, axis) => size === shape[axis])) return [];
  return [`${storedName} is [${found.join(", ")}], expected [${shape.join(", ")}]`];
}

function misfit(config: ModelConfig, problems: readonly string[]): HeddleError {
  const shown =
    problems.slice(0, 20).join("; ") + (problems.length > 20 ? `; and ${problems.length - 20} more` : "");
  const message = `loadModel: the checkpoint must hold the tensors that config.json calls for; got ${problems.length} that differ: ${shown}. Use the config.json that belongs to this checkpoint.`;
  return new HeddleError("format", message, { family: config.family, problems });
}
