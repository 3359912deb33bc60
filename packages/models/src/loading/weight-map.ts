import { type Device, HeddleError } from "@heddle/tensor";
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
  /** Used as a weight that is applied or looked up; see `MakeWeight`. */
  readonly isMatrix: boolean;
}

/** Slice `index` of `count`. */
export interface Slice {
  readonly index: number;
  readonly count: number;
}

/** Whether a matrix may be loaded in pieces of rows: it is one whole weight and lies as it is used. */
export function isCuttable({ isTransposed, hasUnitRows, parts: [part, ...others] }: StoredWeight): boolean {
  const isWhole = part?.isMatrix === true && part.slice === undefined && others.length === 0;
  return isWhole && !isTransposed && !hasUnitRows && part.shape.length === 2;
}

/** Whether a weight may stay in half precision on a device: on the CPU, whose products read such matrices as they are. */
export function canStayHalf({ parts, hasUnitRows }: StoredWeight, { kind }: Device): boolean {
  return kind === "cpu" && !hasUnitRows && parts.every(({ isMatrix }) => isMatrix);
}

/** Shape of every weight, by its path. */
export function weightShapes(config: ModelConfig): ReadonlyMap<string, readonly number[]> {
  const leaves = leavesOf(findFamily(config.family), config);
  return new Map([...leaves].map(([path, { shape }]) => [path, shape]));
}

/** A leaf of the tree. */
type Leaf = Pick<StoredPart, "shape" | "isMatrix">;

function leavesOf({ architecture }: AnyFamily, config: ModelConfig): ReadonlyMap<string, Leaf> {
  const leaves = new Map<string, Leaf>();
  // The tree itself is not used: only the leaves that are asked for.
  architecture.buildWeights(config, (path, shape, use) => {
    leaves.set(path, { shape, isMatrix: use === "matrix" });
    return undefined as never;
  });
  return leaves;
}

/** Lists every tensor that a checkpoint of this configuration holds, by default as its family names them. */
export function storedWeights(
  config: ModelConfig,
  names: WeightNames = findFamily(config.family).weights(config),
): readonly StoredWeight[] {
  const leaves = leavesOf(findFamily(config.family), config);
  const numbers = numbersByPattern(leaves.keys());
  return names.rules.flatMap((rule) =>
    tuplesOf(rule, { leaves, numbers }).map((tuple) => storedWeight(rule, tuple, leaves)),
  );
}

type NumbersByPattern = ReadonlyMap<string, readonly (readonly string[])[]>;

/** The numbers in paths of one pattern: of layers.3.mlp.up.weight and others like it, under layers.*.mlp.up.weight. */
function numbersByPattern(paths: Iterable<string>): NumbersByPattern {
  const found = new Map<string, (readonly string[])[]>();
  for (const path of paths) {
    const numbers: string[] = [];
    const pattern = path.split(".").map((word) => {
      if (!isNumber(word)) return word;
      numbers.push(word);
      return "*";
    });
    const key = pattern.join(".");
    const others = found.get(key);
    if (others === undefined) found.set(key, [numbers]);
    else others.push(numbers);
  }
  return found;
}

function isNumber(word: string): boolean {
  const first = word.charCodeAt(0);
  return first >= 48 && first <= 57;
}

/** Every tuple of numbers that a rule's stars stand for; none where the configuration has no such weights. */
function tuplesOf(
  { paths }: WeightRule,
  { leaves, numbers }: { readonly leaves: ReadonlyMap<string, Leaf>; readonly numbers: NumbersByPattern },
): readonly (readonly string[])[] {
  const tuples = new Map<string, readonly string[]>();
  for (const pattern of paths) {
    const base = pattern.endsWith("[*]") ? pattern.slice(0, -3) : pattern;
    for (const tuple of numbers.get(base) ?? []) {
      if (base === pattern) tuples.set(tuple.join(), tuple);
      const slices = base === pattern ? 0 : (leaves.get(fill(base, tuple))?.shape[0] ?? 0);
      for (let i = 0; i < slices; i++) tuples.set([...tuple, i].join(), [...tuple, String(i)]);
    }
  }
  return [...tuples.values()];
}

function storedWeight(
  { paths, name, isTransposed = false, groups = 1, axis = 0, hasUnitRows = false }: WeightRule,
  numbers: readonly string[],
  leaves: ReadonlyMap<string, Leaf>,
): StoredWeight {
  const parts = paths.flatMap((pattern) => partOf(fill(pattern, numbers), leaves));
  const ours = [...(parts[0]?.shape ?? [])];
  ours[axis] = parts.reduce((sum, { shape }) => sum + (shape[axis] ?? 0), 0);
  const shape = isTransposed ? [...ours.slice(0, -2), ...ours.slice(-2).toReversed()] : ours;
  return { name: fill(name, numbers), shape, isTransposed, axis, groups, hasUnitRows, parts };
}

function partOf(path: string, leaves: ReadonlyMap<string, Leaf>): StoredPart[] {
  const bracket = path.endsWith("]") ? path.lastIndexOf("[") : path.length;
  const base = path.slice(0, bracket);
  const leaf = leaves.get(base);
  if (leaf === undefined) return [];
  if (base === path) return [{ path, ...leaf }];
  const { shape, isMatrix } = leaf;
  const slice = { index: Number(path.slice(bracket + 1, -1)), count: shape[0] ?? 0 };
  return [{ path: base, slice, shape: shape.slice(1), isMatrix }];
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
