/**
 * Waits for the event loop's next turn, so that signals, timers and the page get their time between two steps of long work
 * on a device that answers at once.
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
