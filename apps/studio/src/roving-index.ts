/** Where a key moves to in a list of which one element has the focus, or undefined for other keys. */
export function nextIndex(key: string, index: number | undefined, count: number): number | undefined {
  if (count === 0) return undefined;
  const within = (next: number): number => Math.min(count - 1, Math.max(0, next));
  switch (key) {
    case "ArrowRight":
    case "ArrowDown":
      return within((index ?? -1) + 1);
    case "ArrowLeft":
    case "ArrowUp":
      return within((index ?? count) - 1);
    case "Home":
      return 0;
    case "End":
      return count - 1;
    default:
      return undefined;
  }
}
