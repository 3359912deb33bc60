/** Where a document lies: file number and range, in the units of its source. Plain JSON, so that positions can be saved. */
export type Place = { readonly file: number; readonly start: number; readonly end: number };

export interface TextDocument {
  readonly text: string;
  readonly place: Place;
}

/** A finite, ordered set of documents that can be streamed from any of them on, and read again one by one. */
export interface TextSource {
  /** The documents after the one at `after`, or all. */
  documents(after?: Place): AsyncIterable<TextDocument>;
  /** The document at a place that `documents` gave. */
  read(place: Place): Promise<string>;
}

/** A source over texts in memory, one document each. */
export function textArray(texts: readonly string[]): TextSource {
  const placeOf = (file: number): Place => ({ file, start: 0, end: texts[file]?.length ?? 0 });
  return {
    async *documents(after) {
      for (let file = (after?.file ?? -1) + 1; file < texts.length; file++)
        yield { text: texts[file] ?? "", place: placeOf(file) };
    },
    read: async ({ file }) => texts[file] ?? "",
  };
}
