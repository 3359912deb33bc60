/** A one-reader queue between the engine, which never waits for a reader, and an async iteration. */
export interface TokenChannel<T> extends AsyncIterable<T> {
  /** Appends a value; does nothing once the channel is closed. */
  push(value: T): void;
  /** Ends the iteration after the values pushed so far. */
  end(): void;
  /** Ends the iteration with an error after the values pushed so far. */
  fail(error: unknown): void;
}

/**
 * Creates a channel. It holds at most what a request may generate, so it needs no limit of its own.
 *
 * @param options.onReturn called once when the reader leaves early (`break`, `return()`)
 */
export function createChannel<T>({ onReturn }: { onReturn?: () => void } = {}): TokenChannel<T> {
  const values: T[] = [];
  const readers: { resolve: (result: IteratorResult<T>) => void; reject: (error: unknown) => void }[] = [];
  let closed: { readonly error?: { readonly reason: unknown } } | undefined;

  const close = (how: { readonly error?: { readonly reason: unknown } }): void => {
    if (closed !== undefined) return;
    closed = how;
    for (const reader of readers.splice(0)) settle(reader);
  };
  const settle = (reader: (typeof readers)[number]): void => {
    if (closed?.error === undefined) {
      reader.resolve({ done: true, value: undefined });
    } else {
      reader.reject(closed.error.reason);
      closed = {}; // an error is told once
    }
  };
  const iterator: AsyncIterator<T> = {
    next: () =>
      new Promise((resolve, reject) => {
        const value = values.shift();
        if (value !== undefined) resolve({ done: false, value });
        else if (closed !== undefined) settle({ resolve, reject });
        else readers.push({ resolve, reject });
      }),
    return: async () => {
      const wasOpen = closed === undefined;
      values.length = 0;
      close({});
      if (wasOpen) onReturn?.();
      return { done: true, value: undefined };
    },
  };
  return {
    push(value) {
      if (closed !== undefined) return;
      const reader = readers.shift();
      if (reader === undefined) values.push(value);
      else reader.resolve({ done: false, value });
    },
    end: () => close({}),
    fail: (reason) => close({ error: { reason } }),
    [Symbol.asyncIterator]: () => iterator,
  };
}
