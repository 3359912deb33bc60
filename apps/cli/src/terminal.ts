/** Where a command reads and writes: the process's streams, or those of a test. */
export interface Terminal {
  readonly input: AsyncIterable<Uint8Array>;
  /** Results. Resolves when the stream takes more, in a later turn of the event loop: so signals are heard in between. */
  print(text: string): Promise<void>;
  /** Messages for people. */
  note(text: string): void;
  readonly stderr: NodeJS.WriteStream;
  /** Aborted by Ctrl-C or SIGTERM. */
  readonly signal: AbortSignal;
}

/** The terminal of this process. The first Ctrl-C asks the command to end well, a second one ends the process. */
export function createTerminal(): Terminal {
  const abort = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    process.once(name, () =>
      abort.abort(new DOMException(`The command was ended by ${name}.`, "AbortError")),
    );
  }
  // A reader that has seen enough, such as `head`: the write that failed reports it.
  process.stdout.on("error", () => undefined);
  return {
    input: process.stdin,
    print: (text) =>
      new Promise((resolve, reject) => {
        process.stdout.write(text, (error) => (error ? reject(error) : setImmediate(resolve)));
      }),
    note: (text) => {
      process.stderr.write(`${text}\n`);
    },
    stderr: process.stderr,
    signal: abort.signal,
  };
}

/** The lines of a byte stream, decoded as UTF-8, without their ends. */
export async function* linesOf(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let held = "";
  for await (const chunk of chunks) {
    held += decoder.decode(chunk, { stream: true });
    const lines = held.split("\n");
    held = lines.pop() ?? "";
    for (const line of lines) yield line.endsWith("\r") ? line.slice(0, -1) : line;
  }
  held += decoder.decode();
  if (held !== "") yield held;
}
