import { z } from "zod";
import type { DecoderConfig, LayerConfig } from "../config.js";
import { count } from "./size-json.js";

const kinds = ["full_attention", "sliding_attention"] as const;

/** `layer_types`, which current files give for every layer. */
export const layerTypeKeys = { layer_types: z.array(z.enum(kinds)).nullish() };

/** `sliding_window` where every layer has it, and what it says of attention. */
export const windowKey = { sliding_window: count.nullish() };

export function windowFromJson(json: { readonly sliding_window?: number | null | undefined }) {
  return json.sliding_window ? { window: json.sliding_window } : {};
}

/** The inverse. */
export function windowToJson({ attention }: Pick<DecoderConfig, "attention">): Record<string, unknown> {
  return { sliding_window: attention.window ?? null };
}

/**
 * Windows of layers: which of them see only the last `window` positions, by `layer_types` or else by a family's rule.
 *
 * @returns the model's attention and, where layers differ, their overrides
 */
export function windowedLayers(
  { attention, numLayers }: Pick<DecoderConfig, "attention" | "numLayers">,
  {
    window,
    types,
    isWindowed,
    windowed = {},
  }: {
    readonly window: number | null | undefined;
    readonly types: readonly (typeof kinds)[number][] | null | undefined;
    readonly isWindowed: (layer: number) => boolean;
    /** What else is special to the windowed layers. */
    readonly windowed?: Partial<LayerConfig>;
  },
): Pick<DecoderConfig, "attention" | "layerOverrides"> {
  const layers = Array.from({ length: numLayers }, (_, layer) =>
    types ? types[layer] === "sliding_attention" : isWindowed(layer),
  );
  if (!window || !layers.some(Boolean)) return { attention };
  const narrow = { ...attention, window };
  const hasOthers = Object.keys(windowed).length > 0;
  if (layers.every(Boolean) && !hasOthers) return { attention: narrow };
  return {
    attention,
    layerOverrides: layers.map((isNarrow) => (isNarrow ? { attention: narrow, ...windowed } : {})),
  };
}

/** `sliding_window` and `layer_types`, the inverse. */
export function windowsToJson({
  attention,
  layerOverrides,
  numLayers,
}: DecoderConfig): Record<string, unknown> {
  const windows = Array.from(
    { length: numLayers },
    (_, layer) => layerOverrides?.[layer]?.attention?.window ?? attention.window,
  );
  return {
    sliding_window: windows.find((window) => window !== undefined) ?? null,
    layer_types: windows.map((window) => (window === undefined ? "full_attention" : "sliding_attention")),
  };
}
