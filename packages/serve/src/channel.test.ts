import { describe, expect, it } from "vitest";
import { createChannel } from "./channel.js";

async function read<T>(channel: AsyncIterable<T>): Promise<T[]> {
  const values: T[] = [];
  for await (const value of channel) values.push(value);
  return values;
}

describe("createChannel", () => {
  it("hands over values in order, pushed before or after the reader comes", async () => {
    const channel = createChannel<number>();
    channel.push(1);
    const reading = read(channel);
    channel.push(2);
    await Promise.resolve();
    channel.push(3);
    channel.end();
    channel.push(4); // too late
    expect(await reading).toEqual([1, 2, 3]);
    expect(await read(channel)).toEqual([]);
  });

  it("tells an error once, after the values before it", async () => {
    const channel = createChannel<number>();
    channel.push(1);
    channel.fail(new Error("broken"));
    channel.fail(new Error("later"));
    const iterator = channel[Symbol.asyncIterator]();
    expect(await iterator.next()).toEqual({ done: false, value: 1 });
    await expect(iterator.next()).rejects.toThrow("broken");
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });

  it("wakes waiting readers when it ends", async () => {
    const channel = createChannel<number>();
    const iterator = channel[Symbol.asyncIterator]();
    const waiting = [iterator.next(), iterator.next()];
    channel.end();
    expect(await Promise.all(waiting)).toEqual([
      { done: true, value: undefined },
      { done: true, value: undefined },
    ]);
  });

  it("says that its reader left, once and only if it left early", async () => {
    const calls: string[] = [];
    const left = createChannel<number>({ onReturn: () => calls.push("left") });
    left.push(1);
    for await (const _ of left) break;
    await left[Symbol.asyncIterator]().return?.();
    const whole = createChannel<number>({ onReturn: () => calls.push("whole") });
    whole.end();
    await read(whole);
    await whole[Symbol.asyncIterator]().return?.();
    expect(calls).toEqual(["left"]);
  });
});
