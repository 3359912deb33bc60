import { type FunctionBuilder, i32, type Local, select } from "@heddle/tensor/kernel";

/** An address that moves on by so many bytes a block. */
export interface BlockStream {
  readonly address: Local<"i32">;
  readonly bytes: number;
}

/** Blocks whose lines are asked for in one go: of 8 to 20 all read at the same rate, of 4 or 28 slower. */
const BLOCKS_AHEAD = 14;

/**
 * `for (let block = 0; block < numBlocks; block++)`, but every 14 blocks it first reads one word of each of their places in the
 * streams, so that the memory fetches their lines at the same time.
 *
 * It is for small streams beside large ones: in the body their misses come far apart, and each holds up what follows.
 */
export function forBlocksReadAhead(
  f: FunctionBuilder,
  numBlocks: Local<"i32">,
  streams: readonly BlockStream[],
  body: (block: Local<"i32">) => void,
): void {
  if (streams.length === 0) {
    f.for(0, numBlocks, 1, body);
    return;
  }
  const block = f.let(i32.const(0));
  f.while(i32.ltS(block, numBlocks), () => {
    const left = f.let(i32.sub(numBlocks, block));
    const count = f.let(select(i32.ltS(left, BLOCKS_AHEAD), left, i32.const(BLOCKS_AHEAD)));
    f.for(0, count, 1, (ahead) => {
      for (const { address, bytes } of streams) f.drop(i32.load(i32.add(address, i32.mul(ahead, bytes))));
    });
    f.advance(block, f.let(i32.add(block, count)), 1, () => body(block));
  });
}
