import type { SplitBehavior } from "../split.js";
import type { Scanner } from "./scanner.js";

/** Cuts at one character; null for a behaviour that drops or joins matches. Twin: splitByPattern */
export function createLiteralScanner(char: string, behavior: SplitBehavior): Scanner | null {
  const sought = char.charCodeAt(0);
  const find = (units: Uint16Array, at: number, limit: number): number => {
    let end = at;
    while (end < limit && units[end] !== sought) end++;
    return end;
  };
  switch (behavior) {
    case "Isolated":
      return local((units, at, limit) => (units[at] === sought ? at + 1 : find(units, at, limit)));
    case "MergedWithPrevious":
      return local((units, at, limit) => Math.min(limit, find(units, at, limit) + 1));
    case "MergedWithNext":
      return local((units, at, limit) => Math.max(at + 1, find(units, at + 1, limit)));
    case "Removed":
    case "Contiguous":
      return null;
    default:
      return behavior satisfies never;
  }
}

const local = (next: Scanner["next"]): Scanner => ({ isLocal: true, start() {}, next });
