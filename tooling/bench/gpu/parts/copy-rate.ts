import type { WebGpuDevice } from "@heddle/gpu";
import { compile, type Tensor, zeros } from "@heddle/tensor";
import { medianSeconds } from "./median.ts";

/**
 * Bytes a second, read and written, of the plainest kernel over memory, with 16 bytes a thread: the limit of what only reads, measured
 * beside it. (The driver's own copies between buffers are far slower.)
 *
 * @param bytes  of the copied tensor: more than the card's cache holds
 */
export async function copyRate(device: WebGpuDevice, bytes: number): Promise<number> {
  using x = zeros(device, [bytes / 4]);
  const replay = compile((input: Tensor) => input.neg());
  const bound = replay.bind(x);
  const seconds = await medianSeconds(device, () => bound.run(), { warmUpMs: 300, rounds: 7, replays: 40 });
  bound.dispose();
  replay.dispose();
  return (2 * bytes) / seconds;
}
