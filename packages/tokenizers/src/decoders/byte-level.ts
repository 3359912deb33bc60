import { fromByteLevel } from "../byte-level.js";

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Decodes whole lists of byte-level tokens: the bytes of each token are looked up once and then remembered. */
export class ByteLevelDecoder {
  private readonly known = new Map<number, Uint8Array>();
  private bytes = new Uint8Array(1024);
  private length = 0;

  /** @param textOf  the token of an id; throws for an unknown one */
  constructor(private readonly textOf: (id: number) => string) {}

  /** Twin: the ByteLevel stage in decoder.ts. */
  decode(ids: Iterable<number>, skip: (id: number) => boolean): string {
    this.length = 0;
    for (const id of ids) if (!skip(id)) this.append(this.bytesOf(id));
    return decoder.decode(this.bytes.subarray(0, this.length));
  }

  private bytesOf(id: number): Uint8Array {
    let bytes = this.known.get(id);
    if (bytes === undefined) {
      const text = this.textOf(id);
      bytes = fromByteLevel(text) ?? encoder.encode(text);
      this.known.set(id, bytes);
    }
    return bytes;
  }

  private append(token: Uint8Array): void {
    const end = this.length + token.length;
    if (end > this.bytes.length) {
      const grown = new Uint8Array(Math.max(end, this.bytes.length * 2));
      grown.set(this.bytes);
      this.bytes = grown;
    }
    for (let i = 0; i < token.length; i++) this.bytes[this.length + i] = token[i] as number;
    this.length = end;
  }
}
