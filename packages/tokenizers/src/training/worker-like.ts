/** A Web Worker, a worker thread of Node, or a port: whatever messages can be sent to. */
export interface WorkerLike {
  postMessage(message: unknown): void;
  /** Node's way to listen. */
  on?(event: "message", listener: (value: unknown) => void): unknown;
  off?(event: "message", listener: (value: unknown) => void): unknown;
  /** The browser's way to listen. */
  addEventListener?(event: "message", listener: (event: Event) => void): unknown;
  removeEventListener?(event: "message", listener: (event: Event) => void): unknown;
}
