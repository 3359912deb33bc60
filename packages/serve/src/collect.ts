import type { FinishReason, TokenEvent } from "./request.js";

/** A finished generation. */
export interface CollectedGeneration {
  readonly text: string;
  readonly events: readonly TokenEvent[];
  readonly finishReason: FinishReason;
}

/** Reads a generation to its end; throws what the iteration throws. */
export async function collect(generation: AsyncIterable<TokenEvent>): Promise<CollectedGeneration> {
  const events: TokenEvent[] = [];
  for await (const event of generation) events.push(event);
  return collectEvents(events);
}

/** Puts the events of a finished generation together. */
export function collectEvents(events: readonly TokenEvent[]): CollectedGeneration {
  const finishReason = events.at(-1)?.finishReason ?? "length";
  return { text: events.map((event) => event.text).join(""), events, finishReason };
}
