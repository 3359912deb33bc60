import { arange, scope, type Tensor } from "@heddle/tensor";
import { type Alignment, alignmentOf } from "./alignment.js";

/**
 * How a model learns the order of its tokens: one value of four kinds, closed on `kind`.
 *
 * - `add` changes the input of the first layer: sinusoidal, learned, none at all.
 * - `rotate` changes query and key before their product: xPos, 2-D and multi-section rotary. Keys may be cached rotated.
 * - `bias` adds a table to scaled scores that depends on positions only: ALiBi, T5, KERPLE, FIRE, Sandwich, dynamic bias.
 * - `scores` adds terms that depend on query or key too, and says by what products are scaled: Transformer-XL, XLNet,
 *   DeBERTa, TUPE, Shaw.
 *
 * Attention never asks which encoding it has: a model calls `addPositions` once on its embeddings and `applyPositions` in every
 * layer, which reduces each kind to (query, key, bias, scale), the four things that attention takes anyway.
 */
export type PositionEncoding = AddEncoding | RotateEncoding | BiasEncoding | ScoresEncoding;

/** An encoding that is added to the input of the first layer. */
export interface AddEncoding {
  readonly kind: "add";
  /** x [B, T, E] -> [B, T, E]; positions [T] or [B, T] int32, in tokens, default 0..T-1. A new tensor. */
  readonly addTo: (x: Tensor, options?: { readonly positions?: Tensor }) => Tensor;
}

/** An encoding that turns query and key. */
export interface RotateEncoding {
  readonly kind: "rotate";
  /** How many positions a token has: 1, or A where positions are [A, T] or [A, B, T]. */
  readonly numAxes: number;
  /** x [B, H, T, D] -> [B, H, T, D]; positions int32 of the shape that the encoding names. A new tensor. */
  readonly rotateQuery: (x: Tensor, positions?: Tensor) => Tensor;
  /** As `rotateQuery`, for keys: x [B, G, S, D]. */
  readonly rotateKey: (x: Tensor, positions?: Tensor) => Tensor;
}

/** An encoding that adds to scores what depends on positions alone. */
export interface BiasEncoding {
  readonly kind: "bias";
  /** What decides an element: how far apart query and key stand (the default), or also where. */
  readonly dependsOn?: "distance" | "positions";
  /** Query i stands at alignment.queryStart + i, key j at j -> [1, H, T, S], to be added to scaled scores. A new tensor. */
  readonly bias: (alignment: Alignment) => Tensor;
}

/** An encoding that adds to scores what also depends on query or key. */
export interface ScoresEncoding {
  readonly kind: "scores";
  /** query [B, H, T, D], key [B, H, S, D] -> [B or 1, H, T, S], scaled, to be added to scaled scores. A new tensor. */
  readonly scores: (query: Tensor, key: Tensor, alignment: Alignment) => Tensor;
  /** Factor on query-key products, e.g. 1 / sqrt(3 D) where three terms are summed. */
  readonly scale: (headDim: number) => number;
}

/** What attention needs to know of positions. */
export interface PositionedHeads {
  /** [B, H, T, D] */
  readonly query: Tensor;
  /** [B, G, S, D] */
  readonly key: Tensor;
  /** [B or 1, H, T, S]; absent where scores get nothing added. */
  readonly bias?: Tensor;
  /** Factor on query-key products. */
  readonly scale: number;
}

/** Where the queries and keys of a layer stand. */
export interface ApplyPositionsOptions {
  /** Position of the first query, key 0 being at 0, in tokens. Default S - T: queries and keys end together. */
  readonly queryStart?: number;
  /** For `rotate`: position of each query, int32. Default, where a token has one position: queryStart..queryStart+T-1. */
  readonly queryPositions?: Tensor;
  /** For `rotate`: position of each key, int32. Default, where a token has one position: 0..S-1. */
  readonly keyPositions?: Tensor;
}

/**
 * Applies the part of an encoding that belongs to a layer: softmax(scale q k^T + bias) then knows the positions.
 *
 * Shapes: query [B, H, T, D], key [B, G, S, D] -> the same, bias [B or 1, H, T, S].
 * @returns query, key and bias as new tensors that the caller disposes; `add` leaves query and key as they are
 * @throws HeddleError "config" if there is no query or no key, or queryStart is no whole number; the errors of the encoding
 * @see the source that each encoding names
 */
export function applyPositions(
  encoding: PositionEncoding,
  heads: { readonly query: Tensor; readonly key: Tensor },
  options: ApplyPositionsOptions = {},
): PositionedHeads {
  const { query, key } = heads;
  const [queryLen, headDim] = [query.shape.at(-2) ?? 0, query.shape.at(-1) ?? 1];
  const keyLen = key.shape.at(-2) ?? 0;
  const alignment = alignmentOf("applyPositions", { queryLen, keyLen, queryStart: options.queryStart });
  const scale = 1 / Math.sqrt(headDim);
  return scope(query.device, () => {
    const same = () => ({ query: query.reshape(query.shape), key: key.reshape(key.shape) });
    switch (encoding.kind) {
      case "add":
        return { ...same(), scale };
      case "rotate":
        return {
          query: encoding.rotateQuery(
            query,
            options.queryPositions ?? defaultPositions(encoding, query, alignment),
          ),
          key: encoding.rotateKey(key, options.keyPositions),
          scale,
        };
      case "bias":
        return { ...same(), bias: encoding.bias(alignment), scale };
      case "scores":
        return {
          ...same(),
          bias: encoding.scores(query, key, alignment),
          scale: encoding.scale(headDim),
        };
      default:
        return encoding satisfies never;
    }
  });
}

/** Positions of queries that stand at the end of the keys; none where a token has several. */
function defaultPositions(
  { numAxes }: RotateEncoding,
  { device }: Tensor,
  { queryStart, queryLen }: Required<Alignment>,
): Tensor | undefined {
  if (numAxes > 1) return undefined;
  return arange(device, { start: queryStart, stop: queryStart + queryLen }, { dtype: "i32" });
}

/**
 * Applies the part of an encoding that belongs to the input: x + p for `add`, x for every other kind.
 *
 * Shapes: x [B, T, E] -> [B, T, E]; positions [T] or [B, T] int32, in tokens, default 0..T-1.
 * @returns a new tensor that the caller disposes
 * @throws HeddleError the errors of an encoding of kind "add" (`learned`, `sinusoidal`); of the other kinds none
 * @see the source that each encoding names
 */
export function addPositions(
  encoding: PositionEncoding,
  x: Tensor,
  options: { readonly positions?: Tensor } = {},
): Tensor {
  return encoding.kind === "add" ? encoding.addTo(x, options) : x.reshape(x.shape);
}

/**
 * No positions: a causal mask alone lets a decoder tell the order.
 *
 * Shapes: x [B, T, E] -> a copy of x; positions are not read.
 * @returns an encoding of kind "add", which holds no tensors; it throws nothing
 * @see Kazemnejad et al. 2023, The Impact of Positional Encoding on Length Generalization, arXiv:2305.19466. Departures: none.
 */
export function noPositions(): AddEncoding {
  return { kind: "add", addTo: (x) => x.reshape(x.shape) };
}
