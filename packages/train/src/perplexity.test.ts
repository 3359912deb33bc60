import { openModel } from "@heddle/models/node";
import { reference, zeros } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { devices } from "../test/devices.js";
import { goldenPath, readGoldenJson } from "../test/golden/read.js";
import { perplexity } from "./perplexity.js";

interface Golden {
  readonly input_ids: readonly number[];
  readonly cases: Record<
    string,
    {
      readonly max_length: number;
      readonly stride: number;
      readonly windows_begin_end_new_scored_nllsum: readonly (readonly [
        number,
        number,
        number,
        number,
        number,
      ])[];
      readonly tokens_scored: number;
      readonly ppl_token_weighted: number;
    }
  >;
}

const golden = readGoldenJson<Golden>("eval/perplexity.json");

describe.each(devices)("on %s", (_, makeDevice) => {
  test.each(Object.entries(golden.cases))("%s", async (__, wanted) => {
    const device = makeDevice();
    const model = await openModel(goldenPath("eval/ppl_model"), { device });
    const { buffers } = device.memory();
    const result = await perplexity((ids) => model.forward({ ids }), golden.input_ids, {
      device,
      window: wanted.max_length,
      stride: wanted.stride,
      rows: 5,
    });
    expect(device.memory().buffers).toBe(buffers);
    expect(result.tokens).toBe(wanted.tokens_scored);
    expect(Math.abs(result.perplexity / wanted.ppl_token_weighted - 1)).toBeLessThanOrEqual(1e-5);
    expect(result.windows.map(({ begin, end, numScored }) => [begin, end, numScored])).toEqual(
      wanted.windows_begin_end_new_scored_nllsum.map(([begin, end, , scored]) => [begin, end, scored]),
    );
    for (const [at, [, , , , nll]] of wanted.windows_begin_end_new_scored_nllsum.entries()) {
      expect(Math.abs((result.windows[at]?.nll ?? Number.NaN) / nll - 1)).toBeLessThanOrEqual(1e-5);
    }
    model.dispose();
    device.dispose();
  });
});

test("options that cannot be", async () => {
  const device = reference();
  const run = (window: number, stride: number, length: number) =>
    perplexity(() => zeros(device, [1, 1, 4]), new Array<number>(length).fill(0), {
      device,
      window,
      stride,
    }).catch(String);
  expect(await Promise.all([run(1, 1, 9), run(4, 5, 9), run(4, 2, 1)])).toMatchInlineSnapshot(`
    [
      "HeddleError: perplexity: window must be a whole number >= 2; got 1. Change the options or the text.",
      "HeddleError: perplexity: stride must be a whole number from 1 to the window; got stride 5, window 4. Change the options or the text.",
      "HeddleError: perplexity: the text must have at least 2 tokens; got 1. Change the options or the text.",
    ]
  `);
});
