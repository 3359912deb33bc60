import type { GgufVocabulary } from "../src/index.js";

/** What a text decoder left of a byte that is not UTF-8. */
const REPLACED = [0xef, 0xbf, 0xbd];
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Reads lists of texts and numbers out of a GGUF file that went through a text decoder: in numbers, each byte that was
 * not UTF-8 has become the three bytes of U+FFFD and is lost; texts are whole.
 */
class DamagedGguf {
  private at = 0;

  constructor(private readonly bytes: Uint8Array) {}

  /** Goes behind the name of a list and its type; false if the file has no such list. */
  findList(name: string, elementType: number): boolean {
    const key = Buffer.concat([Buffer.from(name), Uint8Array.of(9, 0, 0, 0, elementType, 0, 0, 0)]);
    const found = Buffer.from(this.bytes).indexOf(key);
    this.at = found + key.length;
    return found >= 0;
  }

  /** A number of `size` bytes; NaN if one of its bytes is lost. */
  number(size: number): number {
    let value = 0;
    for (let i = 0; i < size; i++) {
      if (REPLACED.every((byte, k) => this.bytes[this.at + k] === byte)) {
        value = Number.NaN;
        this.at += 3;
      } else {
        value += (this.bytes[this.at++] as number) * 2 ** (8 * i);
      }
    }
    return value;
  }

  /** A text; where its length is lost it ends before the length of the next one, the first to hold a zero. */
  text(): string {
    const length = this.number(8);
    const start = this.at;
    this.at = Number.isNaN(length) ? this.nextLength() : start + length;
    return decoder.decode(this.bytes.subarray(start, this.at));
  }

  /** True if these bytes, gone through a text decoder, come next. */
  holds(bytes: Uint8Array): boolean {
    const damaged = new TextEncoder().encode(decoder.decode(bytes));
    return damaged.every((byte, i) => this.bytes[this.at + i] === byte);
  }

  private nextLength(): number {
    const last = this.bytes.indexOf(0, this.at) - 1;
    const isLost = REPLACED.every((byte, k) => this.bytes[last - 2 + k] === byte);
    return isLost ? last - 2 : last;
  }
}

/** Reads `tokens`, `token_type` and `merges`; `size` and `numMerges` are known from the models. */
export function readDamagedVocabulary(
  bytes: Uint8Array,
  { size, numMerges }: { readonly size: number; readonly numMerges: number },
): Pick<GgufVocabulary, "tokens" | "types" | "merges"> {
  const file = new DamagedGguf(bytes);
  const list = <Value>(name: string, type: number, read: { readonly count: number; next(): Value }) => {
    if (!file.findList(`tokenizer.ggml.${name}`, type)) throw new Error(`no ${name}`);
    const count = file.number(8);
    if (!Number.isNaN(count) && count !== read.count) throw new Error(`${count} ${name}`);
    return Array.from({ length: read.count }, read.next);
  };
  return {
    tokens: list("tokens", 8, { count: size, next: () => file.text() }),
    types: list("token_type", 5, { count: size, next: () => file.number(4) }),
    merges: numMerges === 0 ? [] : list("merges", 8, { count: numMerges, next: () => file.text() }),
  };
}

/** Tells whether these are the scores that the file held before it was damaged. */
export function isDamageOfScores(bytes: Uint8Array, scores: readonly number[]): boolean {
  const file = new DamagedGguf(bytes);
  if (!file.findList("tokenizer.ggml.scores", 6) || file.number(8) !== scores.length) return false;
  return file.holds(new Uint8Array(Float32Array.from(scores).buffer));
}
