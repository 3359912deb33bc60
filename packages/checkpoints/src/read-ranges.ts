import type { FileSource, OpenFile } from "./file-source.js";

/** Bytes of a file that are wanted, and how they may be cut. */
export interface ByteRange {
  readonly file: string;
  readonly start: number;
  readonly end: number;
  /** A piece is a multiple of these bytes, but for the last of a range. */
  readonly unitBytes: number;
  /** Memory of the range's size to read straight into; it comes as one piece then. */
  readonly target?: Uint8Array;
}

/** Some bytes of a range, valid until the next piece is asked for (for good where they are in the range's target). */
export interface RangePiece<R extends ByteRange = ByteRange> {
  readonly range: R;
  readonly bytes: Uint8Array;
  /** Which window they lie in and from which byte on; absent where they lie elsewhere. */
  readonly place?: { readonly window: 0 | 1; readonly from: number };
}

export interface ReadRangesOptions<R extends ByteRange = ByteRange> {
  /**
   * Makes two pieces of memory of one size, for example a device's own, that are filled in turns. Asked for once, and only where the
   * source fills memory that it is given (`FileSource.open`). Default: 4 MiB each.
   */
  readonly windows?: () => readonly [Uint8Array, Uint8Array] | undefined;
  /** The error of a file that ends at this byte, inside a range. */
  readonly endsInside: (range: R, byte: number) => Error;
}

const DEFAULT_WINDOW_BYTES = 2 ** 22;

/** Neighbours are read together unless more than this lies between them. */
const mostGapBytes = 4096;

/** One read: bytes of a file, and what they are. */
interface Read<R> {
  readonly file: string;
  readonly start: number;
  readonly end: number;
  /** Where to: a window, memory of its own, or the range's target. */
  readonly into: "window" | "own" | Uint8Array;
  readonly slices: readonly { readonly range: R; readonly start: number; readonly end: number }[];
}

/**
 * Reads ranges in the order given, each in whole units, and reads on while the caller works on what is there: one window is
 * filled while the other is taken. Neighbouring ranges come from one read. A file is opened once.
 */
export async function* readRanges<R extends ByteRange>(
  source: FileSource,
  ranges: readonly R[],
  { windows, endsInside }: ReadRangesOptions<R>,
): AsyncGenerator<RangePiece<R>> {
  const room = source.open === undefined ? undefined : (windows?.() ?? defaultWindows());
  const files = new OpenFiles(source);
  let turn: 0 | 1 = 0;
  const begin = async (read: Read<R>): Promise<Filled<R>> => {
    const window = room !== undefined && read.into === "window" ? turn : undefined;
    if (window !== undefined) turn = window === 0 ? 1 : 0;
    const bytes = await fill(files, read, window === undefined ? undefined : room?.[window]);
    const end = read.start + bytes.byteLength;
    const cut = read.slices.find((slice) => slice.end > end);
    if (cut !== undefined) throw endsInside(cut.range, end);
    return { read, bytes, window };
  };
  const start = (read: Read<R>): Promise<Filled<R>> => {
    const filled = begin(read);
    // An error is thrown where the bytes are taken, which may be never.
    filled.catch(() => undefined);
    return filled;
  };
  let coming: Promise<Filled<R>> | undefined;
  try {
    for (const read of [...planReads(ranges, room?.[0].byteLength ?? DEFAULT_WINDOW_BYTES), undefined]) {
      const here = await coming;
      coming = read === undefined ? undefined : start(read);
      if (here !== undefined) yield* piecesOf(here);
    }
  } finally {
    // Nothing may still be written when the caller frees its windows.
    await Promise.allSettled([coming]);
    await files.close();
  }
}

function defaultWindows(): readonly [Uint8Array, Uint8Array] {
  return [new Uint8Array(DEFAULT_WINDOW_BYTES), new Uint8Array(DEFAULT_WINDOW_BYTES)];
}

interface Filled<R> {
  readonly read: Read<R>;
  readonly bytes: Uint8Array;
  /** The window that holds the bytes, if one does. */
  readonly window: 0 | 1 | undefined;
}

async function fill(
  files: OpenFiles,
  { file, start, end, into }: Read<unknown>,
  window: Uint8Array | undefined,
): Promise<Uint8Array> {
  const opened = await files.take(file);
  if (opened === undefined) {
    const bytes = await files.source.read(file, start, end);
    if (into instanceof Uint8Array) into.set(bytes);
    return bytes;
  }
  const own = into instanceof Uint8Array ? into : window?.subarray(0, end - start);
  const target = own ?? new Uint8Array(end - start);
  return target.subarray(0, await opened.readInto(start, target));
}

function* piecesOf<R extends ByteRange>({ read, bytes, window }: Filled<R>): Generator<RangePiece<R>> {
  for (const { range, start, end } of read.slices) {
    const from = start - read.start;
    const own = bytes.subarray(from, end - read.start);
    yield { range, bytes: own, ...(window === undefined ? {} : { place: { window, from } }) };
  }
}

/** Cuts ranges into reads that fit in a window and joins small neighbours. */
function planReads<R extends ByteRange>(ranges: readonly R[], windowBytes: number): readonly Read<R>[] {
  const reads: Read<R>[] = [];
  let open: WindowRead<R> | undefined;
  for (const range of ranges) {
    const { file, unitBytes } = range;
    if (range.end === range.start) continue;
    const isLarge = Math.min(unitBytes, range.end - range.start) > windowBytes;
    if (range.target !== undefined || isLarge) {
      open = undefined;
      reads.push(...alone(range));
      continue;
    }
    for (let start = range.start; start < range.end; ) {
      const follows = open?.file === file && start >= open.end && start - open.end <= mostGapBytes;
      const base: number = follows && open !== undefined ? open.start : start;
      const most: number = Math.floor((base + windowBytes - start) / unitBytes) * unitBytes;
      const end: number = range.end - base <= windowBytes ? range.end : start + most;
      if (end <= start) {
        open = undefined;
        continue;
      }
      if (!follows || open === undefined) {
        open = { file, start, end, into: "window", slices: [] };
        reads.push(open);
      }
      open.slices.push({ range, start, end });
      open.end = end;
      start = end;
    }
  }
  return reads;
}

/** A read to which neighbours are still added. */
interface WindowRead<R> extends Read<R> {
  end: number;
  readonly slices: Read<R>["slices"][number][];
}

/** The reads of a range that goes into no window: at once into its target, or unit by unit into memory of their own. */
function alone<R extends ByteRange>(range: R): Read<R>[] {
  const { file, target } = range;
  const step = target === undefined ? range.unitBytes : range.end - range.start;
  const reads: Read<R>[] = [];
  for (let start = range.start; start < range.end; start += step) {
    const end = Math.min(start + step, range.end);
    reads.push({ file, start, end, into: target ?? "own", slices: [{ range, start, end }] });
  }
  return reads;
}

/** The files of a source that stay open while ranges are read. */
class OpenFiles {
  readonly source: FileSource;
  readonly #open = new Map<string, Promise<OpenFile>>();

  constructor(source: FileSource) {
    this.source = source;
  }

  /** The open file; undefined for a source that opens none. */
  async take(name: string): Promise<OpenFile | undefined> {
    if (this.source.open === undefined) return undefined;
    const opened = this.#open.get(name) ?? this.source.open(name);
    this.#open.set(name, opened);
    return opened;
  }

  async close(): Promise<void> {
    for (const opened of await Promise.allSettled(this.#open.values())) {
      if (opened.status === "fulfilled") await opened.value.close();
    }
  }
}
