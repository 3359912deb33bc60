import { type Device, flattenTree, type Tensor } from "@heddle/tensor";
import { createDocumentStream } from "../src/data/document-stream.js";
import { createHeldOut } from "../src/data/held-out.js";
import { createPackedBatches } from "../src/data/packed-batches.js";
import { textArray } from "../src/data/text-source.js";
import { adamW } from "../src/optimizers/adamw.js";
import type { TrainOptions } from "../src/train.js";
import { type Bigram, bigramObjective, createBigram, createTexts, encodeCharacters } from "./bigram.js";

const isHeldOut = createHeldOut({ fraction: 0.1, seed: 1 });

/** Options of a run of seconds, the same for every call. */
export function smallRun(device: Device, steps: number): TrainOptions<Bigram> {
  const source = textArray(createTexts(200));
  const batches = (options: { accepts: (text: string) => boolean; epochs?: number }) =>
    createPackedBatches({
      documents: createDocumentStream({ source, shuffleBuffer: 32, seed: 4, ...options }),
      encode: encodeCharacters,
      endOfText: 0,
      rows: 4,
      seqLen: 24,
    });
  return {
    weights: createBigram(device),
    objective: bigramObjective,
    optimizer: adamW({ weightDecay: 0.01 }),
    data: batches({ accepts: (text) => !isHeldOut(text) }),
    steps,
    learningRate: 0.05,
    schedule: { kind: "cosine", warmupSteps: 3, totalSteps: 40 },
    clipNorm: 1,
    microBatches: 2,
    evaluation: {
      every: 10,
      async *batches() {
        const held = batches({ accepts: isHeldOut, epochs: 1 });
        for (let batch = await held.next(); batch !== undefined; batch = await held.next()) yield batch;
      },
    },
  };
}

/** The bytes of every weight, as text to compare. */
export function fingerprint(weights: Bigram): string {
  return flattenTree<Tensor, Bigram>(weights)
    .leaves.map((leaf) => Buffer.from(new Float64Array(leaf.dataSync()).buffer).toString("base64"))
    .join("\n");
}
