import { namedTensors } from "@heddle/checkpoints";
import {
  crossEntropy,
  disposeTree,
  mapTree,
  reference,
  type Tensor,
  tensor,
  valueAndGrad,
} from "@heddle/tensor";
import { expect, test } from "vitest";
import { goldenExpected, goldenSource, rowsOf } from "../../test/golden-model.js";
import { loadModel } from "../loading/load-model.js";
import type { DecoderWeights } from "../weights.js";
import { batchInputs } from "./batch-inputs.js";
import { decoderLogits } from "./decoder.js";

test.each(["llama", "gpt2"])("%s: gradients are the slopes of the loss", async (name) => {
  const device = reference();
  const model = await loadModel(goldenSource(name), { device });
  const golden = await goldenExpected(name);
  const inputs = batchInputs(
    model,
    rowsOf(golden["padded.input_ids"]),
    rowsOf(golden["padded.attention_mask"]),
  );
  const loss = (weights: DecoderWeights) =>
    crossEntropy(decoderLogits(model.config, weights, inputs), inputs.ids);
  const { value, grad } = valueAndGrad(loss)(model.weights);
  const weights = namedTensors(model.weights);
  const grads = namedTensors(grad);
  expect(Object.keys(grads)).toEqual(Object.keys(weights));
  const step = 1e-5;
  for (const [at, [path, weight]] of Object.entries(weights).entries()) {
    // One element of every weight, another place in each.
    const place = (at * 37) % weight.size;
    const values = Float64Array.from(await weight.data());
    const lossAt = async (delta: number) => {
      const moved = tensor(device, values.with(place, (values[place] ?? 0) + delta), { shape: weight.shape });
      const result = loss(
        mapTree<Tensor, DecoderWeights>(model.weights, (leaf, leafPath) =>
          leafPath === path ? moved : leaf,
        ),
      );
      const lossValue = await result.item();
      disposeTree([moved, result]);
      return lossValue;
    };
    const slope = ((await lossAt(step)) - (await lossAt(-step))) / (2 * step);
    const gradient = (await grads[path]?.data())?.[place] ?? Number.NaN;
    expect(Math.abs(gradient - slope), path).toBeLessThan(1e-7 + 1e-6 * Math.abs(slope));
  }
  disposeTree([value, grad]);
});
