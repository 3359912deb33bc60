/**
 * Waits for the event loop's next turn, so that sockets are read and timers run between two steps.
 * A resolved promise would not do: its continuation runs before the loop turns.
 */
export function nextTurn(): Promise<void> {
  if (typeof setImmediate === "function") return new Promise((resolve) => setImmediate(resolve));
  const { port1, port2 } = new MessageChannel(); // browsers: setTimeout would be clamped to 4 ms
  return new Promise((resolve) => {
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });
}
