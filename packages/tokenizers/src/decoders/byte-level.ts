import { fromByteLevel } from "../byte-level.js";
import { grown } from "../grown.js";
import { encoder } from "../text-coders.js";
import type { QuickDecoder } from "./quick.js";
import type { DecodeStage, Emit } from "./stage.js";

const decoder = /* @__PURE__ */ new TextDecoder("utf-8", { ignoreBOM: true });

/** Decodes whole lists of byte-level tokens: the bytes of each token are looked up once and then remembered. */
export class ByteLevelDecoder implements QuickDecoder {
  private readonly known = new Map<number, Uint8Array>();
  private bytes = new Uint8Array(1024);
  private length = 0;

  /** Twin: createByteLevelStage */
  decode(ids: Iterable<number>, skips: (id: number) => boolean, textOf: (id: number) => string): string {
    this.length = 0;
    for (const id of ids) if (!skips(id)) this.append(this.bytesOf(id, textOf));
    return decoder.decode(this.bytes.subarray(0, this.length));
  }

  private bytesOf(id: number, textOf: (id: number) => string): Uint8Array {
    let bytes = this.known.get(id);
    if (bytes === undefined) {
      const text = textOf(id);
      bytes = fromByteLevel(text) ?? encoder.encode(text);
      this.known.set(id, bytes);
    }
    return bytes;
  }

  private append(token: Uint8Array): void {
    const end = this.length + token.length;
    if (end > this.bytes.length) {
      this.bytes = grown(this.bytes, end);
    }
    for (let i = 0; i < token.length; i++) this.bytes[this.length + i] = token[i] as number;
    this.length = end;
  }
}

/** Reads the byte alphabet; a token that is not written in it counts as its UTF-8 bytes. */
export function createByteLevelStage(): DecodeStage {
  const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  let isFirst = true;
  const put = (text: string, emit: Emit): void => {
    if (text === "") return;
    emit(text, !isFirst);
    isFirst = false;
  };
  return {
    push: (text, _continues, emit) =>
      put(utf8.decode(fromByteLevel(text) ?? encoder.encode(text), { stream: true }), emit),
    flush: (emit) => put(utf8.decode(), emit),
  };
}
