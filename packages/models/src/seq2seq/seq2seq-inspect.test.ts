import { compile, cpu, type Device, disposeTree, type Tensor } from "@heddle/tensor";
import { describe, expect, test } from "vitest";
import { packedExpected, packedSource, rowsOf } from "../../test/packed-golden.js";
import { relativeError } from "../../test/relative-error.js";
import { loadModelOf } from "../loading/load-model.js";
import { type Seq2SeqInspection, seq2seqHidden } from "./seq2seq.js";
import { seq2seq, seq2seqInputs } from "./seq2seq-architecture.js";
import type { Seq2SeqWeights } from "./weights.js";

async function open(name: string, device: Device) {
  const model = await loadModelOf(seq2seq, packedSource(name), { device });
  const golden = packedExpected(name);
  const rows = (key: string) => rowsOf(golden, `padded.${key}`);
  const { dispose, ...inputs } = seq2seqInputs(model, {
    ids: rows("input_ids"),
    attentionMask: rows("attention_mask"),
    decoderIds: rows("decoder_input_ids"),
  });
  const close = () => {
    dispose();
    model.dispose();
    expect(device.memory().buffers).toBe(0);
    device.dispose();
  };
  return { model, inputs, close };
}

describe.each(["t5", "bart"])("%s", (name) => {
  test("streams go through both stacks, and patterns of all three attentions sum to 1", async () => {
    const { model, inputs, close } = await open(name, cpu({ threads: 1 }));
    const keep = ["residual", "pattern", "query", "key", "value", "heads", "attention", "mlp"] as const;
    const plain = seq2seqHidden(model.config, model.weights, {
      ...inputs,
      keepLayers: true,
    });
    const seen = seq2seqHidden(model.config, model.weights, {
      ...inputs,
      inspect: { encoder: { keep }, decoder: { keep }, cross: { keep: ["pattern", "key", "attention"] } },
    });
    const [S, T] = [inputs.source.shape[1], inputs.ids.shape[1]];
    for (const stack of ["encoder", "decoder"] as const) {
      const { activations = {}, last } = seen[stack];
      expect(relativeError(await last.data(), await plain[stack].last.data())).toBeLessThan(1e-5);
      expect(activations.residual?.length).toBe(model.config[stack].numLayers + 1);
      for (const [layer, stream] of plain[stack].layers.entries())
        expect(
          relativeError((await activations.residual?.[layer]?.data()) ?? [], await stream.data()),
        ).toBeLessThan(1e-5);
      for (const point of keep.slice(1))
        expect(activations[point]?.length).toBe(model.config[stack].numLayers);
    }
    const patterns = [seen.encoder.activations, seen.decoder.activations, seen.decoder.cross].map(
      (of) => of?.pattern ?? [],
    );
    const widths = [S, T, S];
    for (const [at, [first, ...rest]] of patterns.entries()) {
      expect(first?.shape.at(-1)).toBe(widths[at]);
      for (const pattern of [first, ...rest]) {
        using sums = pattern?.sum({ axes: -1 });
        for (const sum of (await sums?.data()) ?? []) expect(sum).toBeCloseTo(1, 5);
      }
    }
    // Padding of the source is seen by nobody.
    const mask = (await inputs.sourceMask?.data()) ?? [];
    const cross = (await patterns[2]?.[0]?.data()) ?? [];
    const [B = 0, H = 0] = patterns[2]?.[0]?.shape ?? [];
    for (let at = 0; at < cross.length; at++) {
      const row = Math.floor(at / (H * (T ?? 1) * (S ?? 1)));
      if (!mask[row * (S ?? 1) + (at % (S ?? 1))]) expect(cross[at]).toBe(0);
    }
    expect(B).toBe(mask.length / (S ?? 1));
    disposeTree([plain, seen]);
    close();
  });

  test("without an inspection nothing more is launched", async () => {
    const { model, inputs, close } = await open(name, cpu({ threads: 1 }));
    const launchesOf = (inspect: Seq2SeqInspection | undefined) => {
      const run = compile((weights: Seq2SeqWeights, ids: Tensor, source: Tensor) =>
        seq2seqHidden(model.config, weights, { ids, source, inspect }),
      );
      disposeTree(run(model.weights, inputs.ids, inputs.source));
      const launches = run.plans().map((plan) => plan.launches.map((launch) => launch.name));
      run.dispose();
      return launches[0];
    };
    const plain = launchesOf(undefined);
    expect(plain?.length).toBeGreaterThan(10);
    expect(launchesOf({ cross: { replace: { heads: () => undefined } } })).toEqual(plain);
    expect(launchesOf({ cross: { keep: ["pattern"] } })?.length).toBeGreaterThan(plain?.length ?? 0);
    close();
  });
});

test("a decoder whose listening is replaced by nothing is deaf to its source", async () => {
  const { model, inputs, close } = await open("t5", cpu({ threads: 1 }));
  const zeros = (x: Tensor) => x.mul(0);
  const run = async (inspect: Seq2SeqInspection, source = inputs.source) => {
    const hidden = seq2seqHidden(model.config, model.weights, { ...inputs, source, inspect });
    const values = Float64Array.from(await hidden.decoder.last.data());
    disposeTree(hidden);
    return values;
  };
  const deaf = await run({ cross: { replace: { attention: zeros } } });
  for (const point of ["pattern", "value", "heads"] as const)
    expect(relativeError(await run({ cross: { replace: { [point]: zeros } } }), deaf)).toBeLessThan(1e-5);
  const turned = inputs.source.add(1);
  expect(relativeError(await run({ cross: { replace: { attention: zeros } } }, turned), deaf)).toBeLessThan(
    1e-5,
  );
  turned.dispose();
  expect(relativeError(await run({}), deaf)).toBeGreaterThan(0.01);
  // One layer alone: the other still listens.
  const half = await run({ cross: { layers: [0], replace: { attention: zeros } } });
  expect(relativeError(half, deaf)).toBeGreaterThan(0.001);
  expect(() =>
    seq2seqHidden(model.config, model.weights, {
      ...inputs,
      inspect: { cross: { keep: ["residual", "mlp"] } },
    }),
  ).toThrowErrorMatchingInlineSnapshot(
    `[HeddleError: inspect: attention to an encoder has the points query, key, value, pattern, heads, attention; got residual, mlp. Ask for those that it has.]`,
  );
  close();
});
