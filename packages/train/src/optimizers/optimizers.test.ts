import { describe, expect, test } from "vitest";
import { devices } from "../../test/devices.js";
import { describeOptimizerTraces } from "../../test/optimizer-traces.js";
import { adamW } from "./adamw.js";
import { sgd } from "./sgd.js";

describe.each(devices)("on %s", (_, makeDevice) => {
  describeOptimizerTraces(async (run) => {
    const device = makeDevice();
    await run(device);
    device.dispose();
  });
});

describe("errors", () => {
  test("values that cannot work", () => {
    expect(() => adamW({ betas: [0.9, 1] })).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: adamW: betas[1] must be in 0 <= beta < 1; got 1. Use about 0.9 and 0.95.]`,
    );
    expect(() => sgd({ nesterov: true })).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: sgd: nesterov needs momentum above 0 and dampening 0; got momentum 0, dampening 0. Set momentum to 0.9.]`,
    );
    expect(() => adamW().init({})).toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: optimizer: weights must hold at least one float tensor; got none. Pass the tree that valueAndGrad differentiates.]`,
    );
  });
});
