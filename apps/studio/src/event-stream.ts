/** Reads the JSON of a server-sent event stream, one value for each event, until `[DONE]` or its end. */
export async function* readEvents(body: ReadableStream<Uint8Array<ArrayBuffer>>): AsyncGenerator<unknown> {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffered = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const frames = (buffered + value).split("\n\n");
      buffered = frames.pop() ?? "";
      for (const frame of frames) {
        const data = frame.startsWith("data: ") ? frame.slice(6) : undefined;
        if (data === "[DONE]") return;
        if (data !== undefined) yield JSON.parse(data);
      }
    }
  } finally {
    void reader.cancel().catch(() => {}); // the stream may have failed already
  }
}
