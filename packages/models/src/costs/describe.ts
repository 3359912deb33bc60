import type { ModelCosts } from "../architecture.js";
import type { ModelConfig } from "../config.js";
import { findFamily } from "../families/registry.js";
import { weightShapes } from "../loading/weight-map.js";

/** What a model is and needs, known from its configuration alone. */
export interface ModelDescription extends ModelCosts {
  readonly family: string;
  /** Such as "decoder". */
  readonly architecture: string;
  /** Learned numbers. Tied weights count once. */
  readonly parameters: number;
  /** Memory of the weights, in bytes, by the dtype that they are held in. */
  readonly weightBytes: {
    readonly f32: number;
    readonly f16: number;
    readonly int8: number;
    readonly int4: number;
  };
}

/**
 * Tells the size and the costs of a model without loading a weight.
 *
 * int8 and int4 are counted with one f16 scale for 32 weights, as in GGUF's Q8_0 and Q4_0.
 */
export function describe(config: ModelConfig): ModelDescription {
  const { architecture } = findFamily(config.family);
  const shapes = weightShapes(config);
  const parameters = [...shapes.values()].reduce((sum, shape) => sum + sizeOf(shape), 0);
  return {
    family: config.family,
    architecture: architecture.name,
    parameters,
    weightBytes: {
      f32: 4 * parameters,
      f16: 2 * parameters,
      int8: Math.ceil((parameters * 34) / 32),
      int4: Math.ceil((parameters * 18) / 32),
    },
    ...architecture.costs?.(config, shapes),
  };
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((size, extent) => size * extent, 1);
}
