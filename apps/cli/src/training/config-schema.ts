import { z } from "zod";
import { deviceNames } from "../options.js";

const count = z.number().int().min(1);
const whole = z.number().int().min(0);
const ratio = z.number().min(0).max(1);
const positive = z.number().positive();

const ramp = z.enum(["linear", "cosine", "1-sqrt"]);
const warmupSteps = whole.optional();
/** Default: the steps of the run. */
const totalSteps = count.optional();

const schedule = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("constant"), warmupSteps }),
  z.strictObject({ kind: z.literal("linear"), warmupSteps, totalSteps }),
  z.strictObject({
    kind: z.literal("cosine"),
    warmupSteps,
    totalSteps,
    cycles: positive.optional(),
    minRatio: ratio.optional(),
    startsAboveZero: z.boolean().optional(),
  }),
  z.strictObject({
    kind: z.literal("cosine-with-restarts"),
    warmupSteps,
    totalSteps,
    cycles: positive.optional(),
  }),
  z.strictObject({
    kind: z.literal("polynomial"),
    warmupSteps,
    totalSteps,
    power: positive.optional(),
    endRatio: ratio.optional(),
  }),
  z.strictObject({ kind: z.literal("inverse-sqrt"), warmupSteps, timescale: positive.optional() }),
  z.strictObject({
    kind: z.literal("warmup-stable-decay"),
    warmupSteps: whole,
    stableSteps: whole,
    decaySteps: whole,
    warmupShape: ramp.optional(),
    decayShape: ramp.optional(),
    minRatio: ratio.optional(),
  }),
  z.strictObject({
    kind: z.literal("one-cycle"),
    totalSteps,
    riseRatio: ratio.optional(),
    startRatio: ratio.optional(),
    endRatio: ratio.optional(),
  }),
]);

const optimizer = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("adamw"),
    betas: z.tuple([z.number(), z.number()]).default([0.9, 0.95]),
    eps: positive.default(1e-8),
    weightDecay: z.number().min(0).default(0.1),
    /** Which weights decay: matrices only, or norms and biases too. */
    decays: z.enum(["matrices", "all"]).default("matrices"),
  }),
  z.strictObject({
    kind: z.literal("sgd"),
    momentum: ratio.optional(),
    dampening: ratio.optional(),
    nesterov: z.boolean().optional(),
    weightDecay: z.number().min(0).optional(),
  }),
]);

const newModel = z.strictObject({
  modelDim: count,
  numLayers: count,
  numHeads: count,
  numKvHeads: count.optional(),
  headDim: count.optional(),
  ffnDim: count,
  /** Default: the rows' seqLen. */
  maxSeqLen: count.optional(),
  tieEmbeddings: z.boolean().default(true),
  ropeTheta: positive.default(10_000),
  normEps: positive.default(1e-5),
  initializerRange: positive.default(0.02),
});

const newTokenizer = z.strictObject({
  vocabSize: count,
  minFrequency: count.default(2),
  /** Begin each prompt with the end-of-text token, as each text begins in training. */
  addBos: z.boolean().default(true),
});

/** What a training configuration may say. Paths are relative to the file. */
export const trainingConfigSchema = z.strictObject({
  output: z.string().min(1).optional(),
  device: z.enum(deviceNames).default("cpu"),
  threads: count.optional(),
  seed: whole.default(0),
  text: z.strictObject({
    files: z.array(z.string()).default([]),
    /** Text between two documents; without it each file is one. */
    separator: z.string().min(1).optional(),
    /** Texts to evaluate on; without them a part of the documents is set aside. */
    heldOutFiles: z.array(z.string()).default([]),
    /** That part; not with heldOutFiles. */
    heldOut: z.number().min(0).lt(1).default(0.01),
    shuffleBuffer: count.default(4096),
  }),
  /** A directory to take the tokenizer from, or how to train one. */
  tokenizer: z.strictObject({
    from: z.string().optional(),
    train: newTokenizer.optional(),
    endOfText: z.string().default("<|endoftext|>"),
  }),
  /** A directory to go on from, or the shape of a new model. */
  model: z.strictObject({ from: z.string().optional(), create: newModel.optional() }),
  steps: count,
  batch: z.strictObject({
    rows: count,
    seqLen: count,
    microBatches: count.default(1),
    weighting: z.enum(["tokens", "micro-batches"]).default("tokens"),
  }),
  learningRate: positive,
  schedule: schedule.default({ kind: "constant" }),
  optimizer: optimizer.prefault({ kind: "adamw" }),
  clipNorm: positive.optional(),
  /** Part of the residual stream that is dropped while training. */
  dropout: z.number().min(0).lt(1).default(0),
  logEvery: count.default(1),
  evaluate: z.strictObject({ every: count.default(500), batches: count.default(16) }).prefault({}),
  checkpoints: z.strictObject({ every: count.default(500), keepLast: count.default(2) }).prefault({}),
  export: z.strictObject({ dtype: z.enum(["f32", "f16", "bf16"]).default("bf16") }).prefault({}),
});

export type TrainingConfig = z.infer<typeof trainingConfigSchema>;
