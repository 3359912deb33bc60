import { type Device, HeddleError, matmul, scope, type Tensor, tensor } from "@heddle/tensor";
import { type Attend, type AttendInputs, asHeads } from "../blocks/attend.js";
import type { LayerContext } from "../blocks/layer.js";

/**
 * A place in every layer whose value can be read and replaced.
 *
 * "residual": the stream before the layer, and once more after the last [B, T, E]; "query", "key", "value": heads after their
 * rotation [B, H, T, D]; "pattern": the weights of attention, after the softmax [B, H, T, S]; "heads": what each head gives
 * [B, H, T, Dv]; "attention" and "mlp": what the blocks add to the stream [B, T, E]. Recurrent models have the stream and what
 * their blocks add: the mixing of tokens counts as "attention", and selective ones have nothing else.
 */
export type ActivationPoint =
  | "residual"
  | "query"
  | "key"
  | "value"
  | "pattern"
  | "heads"
  | "attention"
  | "mlp";

/** What to read and to replace in a forward pass. Nothing of it costs anything where it is not asked for. */
export interface Inspection {
  /** Points whose values are returned, layer after layer. */
  readonly keep?: readonly ActivationPoint[];
  /** Layers that are looked into, in rising order; the stream after the last counts as one more. Default: all. */
  readonly layers?: readonly number[];
  /** Another value for a point, or undefined to leave it. Called while the pass runs or is traced: tensors in, tensors out. */
  readonly replace?: Partial<
    Readonly<Record<ActivationPoint, (x: Tensor, layer: number) => Tensor | undefined>>
  >;
}

/** Values by point, one a layer that was looked into ("residual": one more); the caller disposes them. */
export type Activations = Partial<Readonly<Record<ActivationPoint, readonly Tensor[]>>>;

/** Sees to an inspection while a pass runs. */
export interface Inspector {
  /** Reads a value and gives what the pass is to go on with. */
  visit(point: ActivationPoint, layer: number, x: Tensor): Tensor;
  /** The context of layers whose blocks and attention are seen to. */
  around(context: LayerContext): LayerContext;
  /** Attention whose heads, and where asked for whose pattern, are seen to. Not for attention that writes to a cache. */
  attending(attend: Attend): Attend;
  /** All that was kept so far. */
  readonly activations: Activations;
}

/** @returns undefined where nothing is asked for */
export function inspectorOf(inspection: Inspection | undefined): Inspector | undefined {
  if (inspection === undefined) return undefined;
  const { keep = [], replace = {}, layers } = inspection;
  const kept: Partial<Record<ActivationPoint, Tensor[]>> = Object.fromEntries(
    keep.map((point) => [point, []]),
  );
  const isSeen = (layer: number) => layers?.includes(layer) ?? true;
  const visit = (point: ActivationPoint, layer: number, x: Tensor): Tensor => {
    if (!isSeen(layer)) return x;
    const value = replace[point]?.(x, layer) ?? x;
    kept[point]?.push(value);
    return value;
  };
  const seesPattern = keep.includes("pattern") || replace.pattern !== undefined;
  const attending = (attend: Attend): Attend => {
    const inspected = inspectedAttend(attend, { visit, seesPattern });
    return (layer, inputs) => (isSeen(layer) ? inspected : attend)(layer, inputs);
  };
  return {
    visit,
    attending,
    activations: kept,
    around: (context) => ({
      ...context,
      // Block 0 is the embedding; then come attention and feed-forward of each layer.
      drop: (x, block) => {
        const dropped = context.drop(x, block);
        if (block === 0) return dropped;
        return visit(block % 2 === 1 ? "attention" : "mlp", Math.floor((block - 1) / 2), dropped);
      },
      attend: attending(context.attend),
    }),
  };
}

/** The values that a pass kept, without what else it gives. */
export function activationsOf(
  device: Device,
  run: () => { readonly activations?: Activations },
): Activations {
  return scope(device, () => run().activations ?? {});
}

/**
 * Checks that a model has the points that are asked for.
 *
 * @throws HeddleError "config" naming those that it has not
 */
export function checkPoints(
  model: string,
  { keep = [], replace = {} }: Inspection,
  points: readonly ActivationPoint[],
): void {
  const asked: readonly string[] = [...keep, ...Object.keys(replace)];
  const missing = asked.filter((point) => !(points as readonly string[]).includes(point));
  if (missing.length === 0) return;
  const message = `inspect: ${model} has the points ${points.join(", ")}; got ${missing.join(", ")}. Ask for those that it has.`;
  throw new HeddleError("config", message, { missing, points });
}

function inspectedAttend(
  attend: Attend,
  { visit, seesPattern }: Pick<Inspector, "visit"> & { readonly seesPattern: boolean },
): Attend {
  return (layer, inputs) => {
    const heads = asHeads(inputs);
    const seen: AttendInputs = {
      ...heads,
      query_BHTD: visit("query", layer, heads.query_BHTD),
      key_BGTD: visit("key", layer, heads.key_BGTD),
      value_BGTD: visit("value", layer, heads.value_BGTD),
    };
    const given = seesPattern
      ? headsOfPattern(visit("pattern", layer, patternOf(attend, layer, seen)), seen)
      : attend(layer, seen);
    return visit("heads", layer, given);
  };
}

/** The weights that attention gives to each key: what comes out where the values are the rows of an identity matrix. */
function patternOf(attend: Attend, layer: number, inputs: AttendInputs): Tensor {
  const { key_BGTD, value_BGTD } = inputs;
  const [B = 1, G = 1, S = 1] = key_BGTD.shape;
  const { device, dtype } = value_BGTD;
  const identity = Array.from({ length: S * S }, (_, at) => (at % (S + 1) === 0 ? 1 : 0));
  const rows = tensor(device, identity, { shape: [1, 1, S, S], dtype: device.defaultFloat });
  return attend(layer, { ...inputs, value_BGTD: rows.cast(dtype).broadcastTo([B, G, S, S]) });
}

/** Sums values by the weights of a pattern: [B, H, T, S] -> [B, H, T, Dv]. */
function headsOfPattern(pattern: Tensor, { value_BGTD }: AttendInputs): Tensor {
  const [B = 1, H = 1, T = 1, S = 1] = pattern.shape;
  const [, G = 1, , width = 1] = value_BGTD.shape;
  const grouped = pattern.reshape([B, G, H / G, T, S]);
  return matmul(grouped, value_BGTD.expandDims(2)).reshape([B, H, T, width]);
}
