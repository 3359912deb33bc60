import { HeddleError, invariant } from "../error.js";

const PAGE_BYTES = 65_536;
const MAX_PAGES = 65_536;
/** Every block starts at a multiple of this many bytes: a cache line, and enough for any SIMD width. */
export const ALIGNMENT = 64;
/** Kept free at the very end, so that a kernel may read one vector past a buffer and no address wraps at 2^32. */
const TAIL_GUARD_BYTES = PAGE_BYTES;
const MIN_GROWTH_BYTES = 4 * 1024 * 1024;

export interface LinearMemoryOptions {
  /** Shared between threads. Default false. */
  readonly isShared?: boolean;
  /** Most bytes the memory may grow to; default and most 4 GiB. */
  readonly maxBytes?: number;
}

export interface AllocationReport {
  readonly buffers: number;
  readonly bytes: number;
  readonly peakBytes: number;
  readonly allocations: number;
}

/** A stretch of the heap, free or alive. `previous` and `next` are its neighbours in memory. */
interface Block {
  readonly offset: number;
  size: number;
  isFree: boolean;
  /** Bytes that the caller asked for, and whether they count in the report. */
  askedBytes: number;
  isCounted: boolean;
  previous: Block | undefined;
  next: Block | undefined;
  previousInBin: Block | undefined;
  nextInBin: Block | undefined;
}

const BIN_STEPS = 8;
const NUM_BINS = 208;

/** Bin of a block of `size` bytes: exact below 512 bytes, then eight bins for every doubling. */
function binOf(size: number): number {
  const units = size / ALIGNMENT;
  if (units < BIN_STEPS) return units;
  const exponent = 31 - Math.clz32(units);
  return BIN_STEPS + (exponent - 3) * BIN_STEPS + ((units >>> (exponent - 3)) & (BIN_STEPS - 1));
}

/** Smallest bin all of whose blocks hold at least `size` bytes. */
function binAtLeast(size: number): number {
  const units = size / ALIGNMENT;
  if (units < BIN_STEPS) return units;
  const exponent = 31 - Math.clz32(units);
  return binOf((units + (1 << (exponent - 3)) - 1) * ALIGNMENT);
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

/**
 * An allocator over one `WebAssembly.Memory`: 64-byte aligned blocks in segregated free lists, joined with their free
 * neighbours when they come back. The memory grows on demand and never shrinks.
 *
 * Offsets stay valid for good; typed-array views do not survive growth, so take them from `bytes()` at each use.
 */
export class LinearMemory {
  readonly memory: WebAssembly.Memory;
  readonly isShared: boolean;
  readonly maxBytes: number;
  readonly #bins = new Array<Block | undefined>(NUM_BINS).fill(undefined);
  readonly #live = new Map<number, Block>();
  #last: Block | undefined;
  #heapEnd: number;
  #view: Uint8Array;
  #buffers = 0;
  #bytes = 0;
  #peakBytes = 0;
  #allocations = 0;

  constructor(options: LinearMemoryOptions = {}) {
    this.isShared = options.isShared ?? false;
    const created = createMemory(this.isShared, options.maxBytes ?? MAX_PAGES * PAGE_BYTES);
    this.memory = created.memory;
    this.maxBytes = created.maxPages * PAGE_BYTES;
    this.#view = new Uint8Array(this.memory.buffer);
    // Offset 0 is never handed out: a stray zero address then hits nobody's data.
    this.#heapEnd = ALIGNMENT;
    this.#extend(this.memory.buffer.byteLength - TAIL_GUARD_BYTES);
  }

  /** A view over the whole memory, fresh after growth. */
  bytes(): Uint8Array {
    if (this.#view.buffer !== this.memory.buffer) this.#view = new Uint8Array(this.memory.buffer);
    return this.#view;
  }

  /**
   * Takes a block and returns its byte offset, a multiple of 64. Its contents are undefined.
   * @param byteLength  whole number of at least 0
   * @param options.isCounted  whether the report counts it; default true. False for the device's own scratch.
   * @throws HeddleError "capacity" if the memory cannot grow far enough
   */
  alloc(byteLength: number, options: { readonly isCounted?: boolean } = {}): number {
    invariant(
      Number.isInteger(byteLength) && byteLength >= 0,
      `alloc takes a whole number of bytes, got ${byteLength}`,
    );
    const size = Math.max(ALIGNMENT, roundUp(byteLength, ALIGNMENT));
    const block = this.#find(size) ?? this.#growFor(size, byteLength);
    this.#unlink(block);
    this.#split(block, size);
    block.askedBytes = byteLength;
    block.isCounted = options.isCounted ?? true;
    this.#live.set(block.offset, block);
    if (block.isCounted) {
      this.#buffers++;
      this.#allocations++;
      this.#bytes += byteLength;
      this.#peakBytes = Math.max(this.#peakBytes, this.#bytes);
    }
    return block.offset;
  }

  /** Gives a block back. */
  free(offset: number): void {
    const block = this.#live.get(offset);
    invariant(block !== undefined, `offset ${offset} was freed twice or never allocated`);
    this.#live.delete(offset);
    if (block.isCounted) {
      this.#buffers--;
      this.#bytes -= block.askedBytes;
    }
    this.#link(this.#join(block));
  }

  /** What is alive now, what was alive at most, and how many allocations there were. */
  report(): AllocationReport {
    return {
      buffers: this.#buffers,
      bytes: this.#bytes,
      peakBytes: this.#peakBytes,
      allocations: this.#allocations,
    };
  }

  /** Offset and size of every free block, in address order; for tests. */
  freeBlocks(): { readonly offset: number; readonly size: number }[] {
    const blocks: { offset: number; size: number }[] = [];
    for (let block = this.#last; block !== undefined; block = block.previous) {
      if (block.isFree) blocks.unshift({ offset: block.offset, size: block.size });
    }
    return blocks;
  }

  #find(size: number): Block | undefined {
    for (let bin = binAtLeast(size); bin < NUM_BINS; bin++) {
      const block = this.#bins[bin];
      if (block !== undefined) return block;
    }
    // The bin below holds blocks some of which are large enough.
    for (let block = this.#bins[binOf(size)]; block !== undefined; block = block.nextInBin) {
      if (block.size >= size) return block;
    }
    return undefined;
  }

  #growFor(size: number, askedBytes: number): Block {
    const spare = this.#last?.isFree ? this.#last.size : 0;
    const needed = roundUp(size - spare, PAGE_BYTES);
    const current = this.memory.buffer.byteLength;
    const wanted = [Math.max(needed, roundUp(current / 4, PAGE_BYTES), MIN_GROWTH_BYTES), needed];
    for (const growth of wanted) {
      if (current + growth > this.maxBytes || !this.#tryGrow(growth / PAGE_BYTES)) continue;
      this.#extend(growth);
      const block = this.#find(size);
      invariant(block !== undefined, "the heap grew but holds no block that is large enough");
      return block;
    }
    throw new HeddleError(
      "capacity",
      `alloc: the memory of the cpu device must hold all of its tensors; got a request of ${askedBytes} bytes with ` +
        `${this.#bytes} bytes alive and a limit of ${this.maxBytes} bytes. Dispose tensors that are no longer needed ` +
        "(scope() does it for intermediate ones), or use smaller batches.",
      { askedBytes, aliveBytes: this.#bytes, limitBytes: this.maxBytes },
    );
  }

  #tryGrow(pages: number): boolean {
    try {
      this.memory.grow(pages);
      return true;
    } catch (error) {
      if (error instanceof RangeError) return false;
      throw error;
    }
  }

  /** Adds `byteLength` fresh bytes at the end of the heap. */
  #extend(byteLength: number): void {
    const offset = this.#heapEnd;
    const size = Math.floor(byteLength / ALIGNMENT) * ALIGNMENT - (offset === ALIGNMENT ? ALIGNMENT : 0);
    this.#heapEnd = offset + size;
    const block = newBlock(offset, size, this.#last);
    if (this.#last !== undefined) this.#last.next = block;
    this.#last = block;
    this.#link(this.#join(block));
  }

  /** Cuts what `size` bytes do not need off the block, as a free block of its own. */
  #split(block: Block, size: number): void {
    block.isFree = false;
    const rest = block.size - size;
    if (rest === 0) return;
    const tail = newBlock(block.offset + size, rest, block);
    tail.next = block.next;
    if (block.next !== undefined) block.next.previous = tail;
    else this.#last = tail;
    block.next = tail;
    block.size = size;
    this.#link(tail);
  }

  /** Joins a block that is in no bin with its free neighbours; the result is in no bin either. */
  #join(block: Block): Block {
    const { previous, next } = block;
    if (next?.isFree) {
      this.#unlink(next);
      this.#absorb(block, next);
    }
    if (!previous?.isFree) return block;
    this.#unlink(previous);
    this.#absorb(previous, block);
    return previous;
  }

  #absorb(block: Block, next: Block): void {
    block.size += next.size;
    block.next = next.next;
    if (next.next !== undefined) next.next.previous = block;
    else this.#last = block;
  }

  #link(block: Block): void {
    const bin = binOf(block.size);
    const first = this.#bins[bin];
    block.isFree = true;
    block.previousInBin = undefined;
    block.nextInBin = first;
    if (first !== undefined) first.previousInBin = block;
    this.#bins[bin] = block;
  }

  #unlink(block: Block): void {
    if (block.previousInBin !== undefined) block.previousInBin.nextInBin = block.nextInBin;
    else this.#bins[binOf(block.size)] = block.nextInBin;
    if (block.nextInBin !== undefined) block.nextInBin.previousInBin = block.previousInBin;
    block.previousInBin = undefined;
    block.nextInBin = undefined;
  }
}

function newBlock(offset: number, size: number, previous: Block | undefined): Block {
  return {
    offset,
    size,
    isFree: true,
    askedBytes: 0,
    isCounted: false,
    previous,
    next: undefined,
    previousInBin: undefined,
    nextInBin: undefined,
  };
}

/** Makes the memory with the largest maximum that the engine grants: some reserve the whole range at once. */
function createMemory(isShared: boolean, maxBytes: number): { memory: WebAssembly.Memory; maxPages: number } {
  const asked = Math.max(2, Math.min(MAX_PAGES, Math.floor(maxBytes / PAGE_BYTES)));
  for (let maxPages = asked; ; maxPages = Math.max(2, maxPages >>> 1)) {
    try {
      const initial = Math.min(maxPages, 16);
      return { memory: new WebAssembly.Memory({ initial, maximum: maxPages, shared: isShared }), maxPages };
    } catch (error) {
      if (!(error instanceof RangeError) || maxPages === 2) throw error;
    }
  }
}
