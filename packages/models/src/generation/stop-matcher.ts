import { HeddleError } from "@heddle/tensor";

/** Watches a stream of text for stop strings. */
export interface StopMatcher {
  /** Takes more text; gives what is certain not to be part of a stop string, and whether one was found. */
  push(text: string): { readonly emit: string; readonly stopped: boolean };
  /** Gives what was held back, at the end of the text. */
  flush(): string;
}

/**
 * Makes a matcher that ends a text before the first stop string, also where it arrives in pieces.
 *
 * Text that may turn out to be the start of a stop string is held back. After a stop nothing more comes out.
 * @throws HeddleError "config" for an empty stop string
 */
export function createStopMatcher(stops: readonly string[]): StopMatcher {
  if (stops.includes("")) {
    const message = "createStopMatcher: a stop string must have characters; got an empty one. Remove it.";
    throw new HeddleError("config", message, { stops });
  }
  const state = { held: "", isStopped: false };
  return {
    push(text) {
      if (state.isStopped) return { emit: "", stopped: true };
      const pending = state.held + text;
      const at = firstStop(pending, stops);
      state.isStopped = at >= 0;
      const end = state.isStopped ? at : pending.length - heldBack(pending, stops);
      state.held = state.isStopped ? "" : pending.slice(end);
      return { emit: pending.slice(0, end), stopped: state.isStopped };
    },
    flush() {
      const rest = state.held;
      state.held = "";
      return rest;
    },
  };
}

/** Where the first stop string begins, or -1. */
function firstStop(text: string, stops: readonly string[]): number {
  const found = stops.map((stop) => text.indexOf(stop)).filter((at) => at >= 0);
  return found.length === 0 ? -1 : Math.min(...found);
}

/** Length of the longest end of the text that begins a stop string. */
function heldBack(text: string, stops: readonly string[]): number {
  const longest = Math.max(0, ...stops.map((stop) => stop.length - 1));
  for (let length = Math.min(longest, text.length); length > 0; length--) {
    const end = text.slice(text.length - length);
    if (stops.some((stop) => stop.startsWith(end))) return length;
  }
  return 0;
}
