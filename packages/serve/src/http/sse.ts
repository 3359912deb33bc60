/**
 * Makes a server-sent event stream: one `data:` line of JSON for each value.
 *
 * @param values told in order; a throw ends the stream, after what `onError` makes of it
 * @param options.done last line, such as `[DONE]`
 * @param options.onCancel called when the client goes away, before it could read everything
 * @see WHATWG HTML, section 9.2, server-sent events
 */
export function sseResponse(values: AsyncIterable<unknown>, options: SseOptions): Response {
  const frames = framesOf(values, options);
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { value, done } = await frames.next();
        if (done === true) controller.close();
        else controller.enqueue(encoder.encode(value));
      },
      cancel() {
        options.onCancel();
        void frames.return(undefined);
      },
    },
    { highWaterMark: 0 }, // nothing is computed ahead of the first read
  );
  return new Response(body, {
    headers: {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache",
      "x-accel-buffering": "no",
    },
  });
}

/** How a stream ends. */
export interface SseOptions {
  readonly done?: string;
  readonly onError: (error: unknown) => unknown;
  readonly onCancel: () => void;
}

async function* framesOf(
  values: AsyncIterable<unknown>,
  { done, onError }: SseOptions,
): AsyncGenerator<string> {
  try {
    for await (const value of values) yield `data: ${JSON.stringify(value)}\n\n`;
  } catch (error) {
    yield `data: ${JSON.stringify(onError(error))}\n\n`;
    return;
  }
  if (done !== undefined) yield `data: ${done}\n\n`;
}
