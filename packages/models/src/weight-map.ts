import { HeddleError } from "@heddle/tensor";
import type { DecoderConfig } from "./config.js";
import type { WeightRule } from "./families/family.js";
import { findFamily } from "./parse-config.js";
import { weightShapes } from "./weights.js";

/** One tensor of a checkpoint and the weights of our tree that it holds, in order along the first axis. */
export interface StoredWeight {
  readonly name: string;
  /** As stored. */
  readonly shape: readonly number[];
  /** Stored as [in, out]: transposed, it is the parts joined along the first axis. */
  readonly isTransposed: boolean;
  readonly parts: readonly { readonly path: string; readonly shape: readonly number[] }[];
}

/** Lists every tensor that a checkpoint of this configuration holds, as its family names them. */
export function storedWeights(config: DecoderConfig): readonly StoredWeight[] {
  const { weights } = findFamily(config.family);
  const shapes = weightShapes(config);
  return weights.rules.flatMap((rule) => {
    const isPerLayer = rule.name.includes("*");
    const layers = isPerLayer ? Array.from({ length: config.numLayers }, (_, layer) => String(layer)) : [""];
    return layers.flatMap((layer) => storedWeight(rule, layer, shapes));
  });
}

/** One rule in one layer; nothing where the configuration has no such weights. */
function storedWeight(
  { paths, name, isTransposed = false }: WeightRule,
  layer: string,
  shapes: ReadonlyMap<string, readonly number[]>,
): StoredWeight[] {
  const parts = paths.flatMap((pattern) => {
    const path = pattern.replace("*", layer);
    const shape = shapes.get(path);
    return shape === undefined ? [] : [{ path, shape }];
  });
  const first = parts[0];
  if (first === undefined) return [];
  const rows = parts.reduce((sum, { shape }) => sum + (shape[0] ?? 0), 0);
  const joined = [rows, ...first.shape.slice(1)];
  return [
    {
      name: name.replace("*", layer),
      shape: isTransposed ? joined.toReversed() : joined,
      isTransposed,
      parts,
    },
  ];
}

/** The name under which a checkpoint holds a weight: as its family says, or without the optional prefix. */
export interface LocatedWeight extends StoredWeight {
  readonly storedName: string;
}

/**
 * Matches a checkpoint's tensors with a configuration.
 *
 * @param found  shape of every tensor in the checkpoint, by name
 * @throws HeddleError "format" with one list of all tensors that are missing, unexpected or of another shape
 */
export function locateWeights(
  config: DecoderConfig,
  found: ReadonlyMap<string, { readonly shape: readonly number[] }>,
): readonly LocatedWeight[] {
  const { weights } = findFamily(config.family);
  const prefix = weights.optionalPrefix ?? "";
  const hasPrefix = prefix === "" || [...found.keys()].some((name) => name.startsWith(prefix));
  const bare = (name: string) => (name.startsWith(prefix) ? name.slice(prefix.length) : name);
  const located = storedWeights(config).map((weight) => ({
    ...weight,
    storedName: hasPrefix || found.has(weight.name) ? weight.name : bare(weight.name),
  }));
  const expected = new Set(located.map(({ storedName }) => storedName));
  const isIgnored = (name: string) => {
    const full = hasPrefix ? name : prefix + name;
    // A tied checkpoint may still hold its output projection: a second copy of the embedding.
    return (
      weights.ignored.some((pattern) => pattern.test(full)) ||
      (config.tieEmbeddings && name === unembedding(weights.rules))
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

function misfit(config: DecoderConfig, problems: readonly string[]): HeddleError {
  const shown =
    problems.slice(0, 20).join("; ") + (problems.length > 20 ? `; and ${problems.length - 20} more` : "");
  const message = `loadModel: the checkpoint must hold the tensors that config.json calls for; got ${problems.length} that differ: ${shown}. Use the config.json that belongs to this checkpoint.`;
  return new HeddleError("format", message, { family: config.family, problems });
}
