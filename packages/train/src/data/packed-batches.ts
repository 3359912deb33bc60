import { HeddleError } from "@heddle/tensor";
import type { DocumentStream, DocumentStreamPosition } from "./document-stream.js";
import type { Place } from "./text-source.js";

/** Tokens of a batch on the host, row-major [rows, columns]. */
export interface HostBatch {
  readonly tokens: Int32Array;
  readonly rows: number;
  readonly columns: number;
}

/** What a training run draws from: batches without end (undefined where there is one), with a position to go on from. */
export interface BatchSource {
  next(): Promise<HostBatch | undefined>;
  /** Plain JSON; `seek` to it gives the batches that would have come next. */
  position(): unknown;
  seek(position: unknown): Promise<void>;
}

export interface PackedBatchesOptions {
  readonly documents: DocumentStream;
  readonly encode: (text: string) => ArrayLike<number>;
  /** Token that ends each document. */
  readonly endOfText: number;
  readonly rows: number;
  /** Predictions in a row: rows hold one token more. */
  readonly seqLen: number;
}

/** Where packing stands, in plain JSON. */
export type PackingPosition = {
  readonly documents: DocumentStreamPosition;
  /** The document that a row was cut in, and how many of its tokens are used. */
  readonly open: { readonly place: Place; readonly used: number } | null;
  /** Last token of the row before. */
  readonly carry: number | null;
};

/**
 * Packs documents, each with its end-of-text token, into rows of `seqLen` + 1 tokens without padding.
 *
 * A row begins with the last token of the row before, so every token but the first is predicted once. Where the documents
 * end, what does not fill a row is left out and the last batch may have fewer rows.
 */
export function createPackedBatches(options: PackedBatchesOptions): BatchSource {
  const { rows, seqLen } = options;
  for (const [name, value] of Object.entries({ rows, seqLen })) {
    if (Number.isSafeInteger(value) && value >= 1) continue;
    const message = `createPackedBatches: ${name} must be a whole number >= 1; got ${value}. Pass a greater one.`;
    throw new HeddleError("config", message, { [name]: value });
  }
  const packer = new Packer(options);
  return {
    async next() {
      const columns = seqLen + 1;
      const tokens = new Int32Array(rows * columns);
      for (let row = 0; row < rows; row++) {
        if (await packer.fill(tokens.subarray(row * columns, (row + 1) * columns))) continue;
        if (row === 0) return undefined;
        return { tokens: tokens.slice(0, row * columns), rows: row, columns };
      }
      return { tokens, rows, columns };
    },
    position: () => packer.position(),
    seek: (position) => packer.seek(position as PackingPosition),
  };
}

interface OpenDocument {
  readonly place: Place;
  readonly tokens: Int32Array;
  used: number;
}

class Packer {
  readonly #options: PackedBatchesOptions;
  #open: OpenDocument | null = null;
  #carry: number | null = null;

  constructor(options: PackedBatchesOptions) {
    this.#options = options;
  }

  /** Fills one row; false where the documents end before it is full. */
  async fill(row: Int32Array): Promise<boolean> {
    let filled = 0;
    if (this.#carry !== null) row[filled++] = this.#carry;
    while (filled < row.length) {
      this.#open ??= await this.#nextDocument();
      if (this.#open === null) return false;
      const piece = this.#open.tokens.subarray(this.#open.used, this.#open.used + row.length - filled);
      row.set(piece, filled);
      filled += piece.length;
      this.#open.used += piece.length;
      if (this.#open.used === this.#open.tokens.length) this.#open = null;
    }
    this.#carry = row.at(-1) ?? null;
    return true;
  }

  position(): PackingPosition {
    const open = this.#open;
    return {
      documents: this.#options.documents.position(),
      open: open === null ? null : { place: open.place, used: open.used },
      carry: this.#carry,
    };
  }

  async seek({ documents, open, carry }: PackingPosition): Promise<void> {
    await this.#options.documents.seek(documents);
    this.#carry = carry;
    this.#open =
      open === null
        ? null
        : {
            place: open.place,
            tokens: this.#encode(await this.#options.documents.read(open.place)),
            used: open.used,
          };
  }

  async #nextDocument(): Promise<OpenDocument | null> {
    const document = await this.#options.documents.next();
    if (document === undefined) return null;
    return { place: document.place, tokens: this.#encode(document.text), used: 0 };
  }

  #encode(text: string): Int32Array {
    const ids = this.#options.encode(text);
    const tokens = new Int32Array(ids.length + 1);
    tokens.set(ids);
    tokens[ids.length] = this.#options.endOfText;
    return tokens;
  }
}
