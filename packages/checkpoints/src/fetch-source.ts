import { HeddleError } from "@heddle/tensor";
import { type FileSource, missingFile } from "./file-source.js";

/** Files of a Hugging Face directory that `fetchSource` looks for where it is not told the names. */
const usualFiles = [
  "config.json",
  "generation_config.json",
  "model.safetensors",
  "model.safetensors.index.json",
  "tokenizer.json",
  "tokenizer.model",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.json",
  "merges.txt",
  "chat_template.jinja",
] as const;

export interface FetchSourceOptions {
  /** Names that exist below the address. Default: the usual files of a model directory, each probed with HEAD. */
  readonly files?: readonly string[];
  /** Sent with every request, for example `{ authorization: "Bearer ..." }`. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** Default: the global `fetch`. */
  readonly fetch?: typeof fetch;
}

/**
 * Opens a model directory on a web server; tensors are fetched by range requests when they are needed.
 *
 * @param baseUrl  address of the folder, e.g. "https://example.org/models/tiny/"
 * @throws HeddleError "format" (on use) for an answer other than 200 or 206
 */
export async function fetchSource(baseUrl: string, options: FetchSourceOptions = {}): Promise<FileSource> {
  const base = baseUrl.endsWith("/") ? baseUrl : `${baseUrl}/`;
  const send = options.fetch ?? fetch;
  const request = (name: string, init: RequestInit) =>
    send(base + name, { ...init, signal: options.signal, headers: { ...options.headers, ...init.headers } });
  const files = options.files ?? (await probe(request));
  return {
    list: () => files,
    size: (name) => remoteSize(request, name, files),
    read: (name, start, end) => remoteRange(request, { name, start, end }),
  };
}

type Request = (name: string, init: RequestInit) => Promise<Response>;

async function probe(request: Request): Promise<readonly string[]> {
  const found = await Promise.all(
    usualFiles.map(async (name) => (await request(name, { method: "HEAD" })).ok),
  );
  return usualFiles.filter((_, index) => found[index]);
}

async function remoteSize(request: Request, name: string, known: readonly string[]): Promise<number> {
  // A compressed answer would tell the size on the wire, not that of the file.
  const answer = await request(name, { method: "HEAD", headers: { "accept-encoding": "identity" } });
  if (answer.status === 404) throw missingFile(name, known);
  const length = Number(answer.headers.get("content-length") ?? Number.NaN);
  if (answer.ok && Number.isSafeInteger(length)) return length;
  throw refused(name, answer, "HEAD must answer 200 with content-length");
}

async function remoteRange(
  request: Request,
  { name, start, end }: { name: string; start: number; end: number },
): Promise<Uint8Array> {
  if (end <= start) return new Uint8Array(0);
  const answer = await request(name, { headers: { range: `bytes=${start}-${end - 1}` } });
  if (answer.status !== 206 && answer.status !== 200) throw refused(name, answer, "a range must be answered");
  const bytes = new Uint8Array(await answer.arrayBuffer());
  // A server without range support sends the whole file with status 200.
  return answer.status === 206 ? bytes : bytes.slice(start, end);
}

function refused(name: string, answer: Response, rule: string): HeddleError {
  const message = `fetchSource: ${rule}; got file "${name}", status ${answer.status}. Check the address and the rights.`;
  return new HeddleError("format", message, { file: name, status: answer.status });
}
