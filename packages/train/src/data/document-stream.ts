import { HeddleError, philox } from "@heddle/tensor";
import type { Place, TextDocument, TextSource } from "./text-source.js";

export interface DocumentStreamOptions {
  readonly source: TextSource;
  /** Documents that lie ready to be drawn from; 1 keeps the order of the source. Default 1024. */
  readonly shuffleBuffer?: number;
  /** Same seed, same order. Default 0. */
  readonly seed?: number;
  /** Times that the source is gone through; default without end. */
  readonly epochs?: number;
  /** Documents to use; default all. */
  readonly accepts?: (text: string) => boolean;
}

/** Where a stream stands, in plain JSON. */
export type DocumentStreamPosition = {
  readonly epoch: number;
  /** The last document that was read from the source. */
  readonly after: Place | null;
  readonly isAtEnd: boolean;
  readonly buffer: readonly Place[];
  /** Random numbers drawn so far. */
  readonly draws: number;
};

/** Documents one by one, every epoch in another order, and a position to go on from exactly. */
export interface DocumentStream {
  /** The next document; undefined when all epochs are over. */
  next(): Promise<TextDocument | undefined>;
  position(): DocumentStreamPosition;
  seek(position: DocumentStreamPosition): Promise<void>;
  /** A document again, by its place. */
  read(place: Place): Promise<string>;
}

/**
 * Streams documents in a random order: each is drawn from a buffer that is filled up in the source's order.
 *
 * Every document comes once an epoch. Memory is that of the buffer.
 * @throws HeddleError "config" from `next` if the source has no document to use
 */
export function createDocumentStream(options: DocumentStreamOptions): DocumentStream {
  return new ShuffledStream(options);
}

class ShuffledStream implements DocumentStream {
  readonly #source: TextSource;
  readonly #capacity: number;
  readonly #seed: number;
  readonly #epochs: number;
  readonly #accepts: (text: string) => boolean;
  #epoch = 0;
  #after: Place | null = null;
  #isAtEnd = false;
  #numThisEpoch = 0;
  #buffer: TextDocument[] = [];
  #draws = 0;
  #reader: AsyncIterator<TextDocument> | undefined;

  constructor({ source, shuffleBuffer = 1024, seed = 0, epochs, accepts }: DocumentStreamOptions) {
    if (!Number.isSafeInteger(shuffleBuffer) || shuffleBuffer < 1) {
      const message = `createDocumentStream: shuffleBuffer must be a whole number >= 1; got ${shuffleBuffer}. Use 1 to keep the order.`;
      throw new HeddleError("config", message, { shuffleBuffer });
    }
    this.#source = source;
    this.#capacity = shuffleBuffer;
    this.#seed = seed;
    this.#epochs = epochs ?? Number.POSITIVE_INFINITY;
    this.#accepts = accepts ?? (() => true);
  }

  async next(): Promise<TextDocument | undefined> {
    while (this.#epoch < this.#epochs) {
      while (!this.#isAtEnd && this.#buffer.length < this.#capacity) await this.#fill();
      const at = this.#buffer.length > 1 ? this.#draw(this.#buffer.length) : 0;
      const document = this.#buffer[at];
      if (document !== undefined) {
        const last = this.#buffer.pop();
        if (last !== undefined && at < this.#buffer.length) this.#buffer[at] = last;
        return document;
      }
      if (this.#numThisEpoch === 0) throw nothingToRead();
      this.#epoch++;
      this.#numThisEpoch = 0;
      this.#isAtEnd = false;
      this.#after = null;
    }
    return undefined;
  }

  position(): DocumentStreamPosition {
    return {
      epoch: this.#epoch,
      after: this.#after,
      isAtEnd: this.#isAtEnd,
      buffer: this.#buffer.map(({ place }) => place),
      draws: this.#draws,
    };
  }

  async seek({ epoch, after, isAtEnd, buffer, draws }: DocumentStreamPosition): Promise<void> {
    this.#epoch = epoch;
    this.#after = after;
    this.#isAtEnd = isAtEnd;
    this.#draws = draws;
    this.#numThisEpoch = after === null ? 0 : 1;
    await this.#reader?.return?.();
    this.#reader = undefined;
    this.#buffer = await Promise.all(
      buffer.map(async (place) => ({ place, text: await this.#source.read(place) })),
    );
  }

  read(place: Place): Promise<string> {
    return this.#source.read(place);
  }

  /** Reads one document from the source, or notes its end. */
  async #fill(): Promise<void> {
    this.#reader ??= this.#source.documents(this.#after ?? undefined)[Symbol.asyncIterator]();
    const { value, done } = await this.#reader.next();
    if (done) {
      this.#isAtEnd = true;
      this.#reader = undefined;
      return;
    }
    this.#after = value.place;
    if (!this.#accepts(value.text)) return;
    this.#buffer.push(value);
    this.#numThisEpoch++;
  }

  /** A random whole number below `limit`; number `draws` of this seed. */
  #draw(limit: number): number {
    const [word] = philox(
      [this.#draws++, 0, 0, 1],
      [this.#seed >>> 0, Math.floor(this.#seed / 2 ** 32) >>> 0],
    );
    return Math.floor((word / 2 ** 32) * limit);
  }
}

function nothingToRead(): HeddleError {
  return new HeddleError(
    "config",
    "createDocumentStream: the source must hold a document to use; got none in a whole epoch. Check the files, the separator and the held-out fraction.",
  );
}
