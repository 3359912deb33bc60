import { allOf, padding, prefix } from "@heddle/attention";
import { type Device, disposeTree, HeddleError, scope, tensor } from "@heddle/tensor";
import { fullAttend } from "../blocks/attend.js";
import type { SpanConfig } from "../config.js";
import { tokenGrid } from "../token-grid.js";
import type { DecoderInputs } from "./decoder.js";
import type { DecoderBatch } from "./decoder-batch.js";

/** Where the span of a text is: how long the context before it is, and where the context has the mark that it stands for. */
export interface Span {
  readonly contextLength: number;
  readonly markAt: number;
}

/** @throws HeddleError "config" for a text without a start token, or without a mark before it */
export function findSpan({ startId, markIds }: SpanConfig, ids: ArrayLike<number>): Span {
  const text = Array.from(ids);
  const contextLength = text.indexOf(startId);
  const context = text.slice(0, Math.max(contextLength, 0));
  const markAt = markIds.map((id) => context.indexOf(id)).find((at) => at >= 0);
  if (contextLength >= 0 && markAt !== undefined) return { contextLength, markAt };
  const got =
    contextLength < 0 ? `no ${startId}` : `${startId} at place ${contextLength} and no mark before it`;
  const message = `span: a text must hold a mark (${markIds.join(" or ")}) and after it the start token ${startId}; got ${got}. End the prompt with both: [.., ${markIds[0]}, ${startId}].`;
  throw new HeddleError("config", message, { startId, markIds });
}

/** Both positions of the token at a place: in the context, where those of the span are at the mark, and in the span, from 1 on. */
export function spanPlaces({ contextLength, markAt }: Span, place: number): readonly [number, number] {
  return place < contextLength ? [place, 0] : [markAt, place - contextLength + 1];
}

/**
 * Inputs of a forward pass over rows with a span each; see `batchInputs`.
 *
 * Positions are [2, B, T]; tokens of a context see each other, those of a span all before them.
 */
export function spanInputs(
  { device, span }: { readonly device: Device; readonly span: SpanConfig },
  rows: readonly ArrayLike<number>[],
  attentionMask: readonly ArrayLike<number>[] = rows.map((row) => new Int32Array(row.length).fill(1)),
): DecoderInputs & { dispose(): void } {
  const { ids, positions, seen_BS, contexts_B } = scope(device, () => {
    const ids = tokenGrid(device, rows);
    const seen_BS = tokenGrid(device, attentionMask, { like: rows, dtype: "bool" });
    const [B = 1, T = 1] = ids.shape;
    const places = new Int32Array(2 * B * T);
    const starts = rows.map((row, b) => {
      const kept = Array.from(row, (_, at) => at).filter((at) => attentionMask[b]?.[at] !== 0);
      const found = findSpan(
        span,
        kept.map((at) => row[at] ?? 0),
      );
      for (const [place, at] of kept.entries()) {
        const [inContext, inSpan] = spanPlaces(found, place);
        places[b * T + at] = inContext;
        places[(B + b) * T + at] = inSpan;
      }
      return kept[found.contextLength] ?? 0;
    });
    const contexts_B = tensor(device, Int32Array.from(starts));
    const positions = tensor(device, places, { shape: [2, B, T] });
    return { ids, positions, seen_BS, contexts_B };
  });
  const attend = fullAttend({ mask: allOf(prefix(contexts_B), padding(seen_BS)) });
  return {
    ids,
    positions,
    attend,
    dispose: () => disposeTree([ids, positions, seen_BS, contexts_B]),
  };
}

/** The spans of a decoder's slots. */
export interface SpanSlots {
  /** Notes the span of a prompt that a slot begins with. */
  begin(slot: number, prompt: ArrayLike<number>): Span;
  /** Both positions of each token of a batch, [2 N]. @throws HeddleError "config" for tokens before a slot's span */
  places(batch: Pick<DecoderBatch, "positions" | "slots">): Int32Array;
  reorder(sources: Int32Array): void;
}

/** Makes the book of the spans of `numSlots` slots. */
export function createSpanSlots(config: SpanConfig, numSlots: number): SpanSlots {
  const spans: (Span | undefined)[] = new Array(numSlots).fill(undefined);
  return {
    begin(slot, prompt) {
      const span = findSpan(config, prompt);
      spans[slot] = span;
      return span;
    },
    places({ positions, slots }) {
      const N = positions.length;
      const places = new Int32Array(2 * N);
      for (const [at, place] of positions.entries()) {
        const span = spans[slots[at] ?? 0];
        if (span === undefined || place < span.contextLength) {
          const message = `step: tokens up to the start of a span must be fed by feedPrefix; got position ${place} in slot ${slots[at]}. Feed the whole prompt there first.`;
          throw new HeddleError("config", message, { position: place, slot: slots[at] });
        }
        const [inContext, inSpan] = spanPlaces(span, place);
        places[at] = inContext;
        places[N + at] = inSpan;
      }
      return places;
    },
    reorder(sources) {
      const before = [...spans];
      for (const [slot, source] of sources.entries()) spans[slot] = before[source];
    },
  };
}
