import { MessageChannel, type MessagePort } from "node:worker_threads";
import { afterEach, describe, expect, it } from "vitest";
import {
  serveTraining,
  type TrainingControl,
  type TrainingState,
  trainBpe,
  trainByteLevelBpe,
  trainSentencePiece,
  trainUnigram,
  trainWordLevel,
  trainWordPiece,
} from "../src/index.js";
import { goldenBytes } from "./golden.js";

const lines = new TextDecoder().decode(goldenBytes("corpus.txt")).split("\n").slice(0, 400);
const preTokenizer = { type: "Whitespace" } as const;

type Texts = Iterable<string> | AsyncIterable<string>;

/** Every trainer, small enough to be run many times; each result is plain data. */
const trainers: [string, (texts: Texts, control: TrainingControl) => Promise<unknown>][] = [
  ["trainBpe", (texts, control) => trainBpe(texts, { ...control, preTokenizer, vocabSize: 500 })],
  [
    "trainByteLevelBpe",
    async (texts, control) => (await trainByteLevelBpe(texts, { ...control, vocabSize: 400 })).config,
  ],
  [
    "trainWordPiece",
    (texts, control) =>
      trainWordPiece(texts, { ...control, preTokenizer, vocabSize: 950, specialTokens: ["[UNK]"] }),
  ],
  [
    "trainWordLevel",
    (texts, control) =>
      trainWordLevel(texts, { ...control, preTokenizer, vocabSize: 300, specialTokens: ["[UNK]"] }),
  ],
  [
    "trainUnigram",
    (texts, control) => trainUnigram(texts, { ...control, preTokenizer, vocabSize: 600, unkToken: "<unk>" }),
  ],
  ...(["bpe", "unigram", "word", "char"] as const).map((modelType): (typeof trainers)[number] => [
    `trainSentencePiece ${modelType}`,
    async (texts, control) => {
      const options = { ...control, modelType, vocabSize: 420, characterCoverage: 0.98 };
      return (await trainSentencePiece(texts, options)).config;
    },
  ]),
];

/** A corpus that breaks off, as a connection does. */
async function* broken(after: number): AsyncGenerator<string> {
  yield* lines.slice(0, after);
  throw new Error("the line went dead");
}

describe.each(trainers)("%s", (_name, train) => {
  it("goes on where reading broke off", async () => {
    const whole = await train(lines, {});
    const states: TrainingState[] = [];
    const onCheckpoint = (state: TrainingState) => states.push(state);
    await expect(train(broken(250), { onCheckpoint })).rejects.toThrow("the line went dead");
    const saved = JSON.parse(JSON.stringify(states.at(-1))) as TrainingState;
    expect([saved.numTexts, saved.isCounted]).toEqual([250, false]);
    expect(await train(lines, { resume: saved })).toEqual(whole);
  });

  it("goes on from any checkpoint of its later work, and does not need what it has read", async () => {
    const whole = await train(lines, {});
    const states: TrainingState[] = [];
    const control = { checkpointEveryMs: 0, onCheckpoint: (state: TrainingState) => states.push(state) };
    expect(await train(lines, control)).toEqual(whole);
    const later = states.filter(({ isCounted }) => isCounted);
    const needsTexts = _name.endsWith("unigram");
    for (const at of [0, Math.floor(later.length / 2), later.length - 1]) {
      const state = later[at];
      if (state === undefined) continue;
      const resume = JSON.parse(JSON.stringify(state)) as TrainingState;
      expect(await train(needsTexts ? lines : [], { resume })).toEqual(whole);
    }
  });
});

describe("workers", () => {
  const ports: MessagePort[] = [];
  afterEach(() => {
    for (const port of ports.splice(0)) port.close();
  });
  const startWorker = () => {
    const { port1, port2 } = new MessageChannel();
    ports.push(port1, port2);
    serveTraining(port2);
    return port1;
  };

  it.each(trainers)("%s gives the same with three as with none", async (_name, train) => {
    const texts = Array.from({ length: 12 }, () => lines).flat();
    const options = { workers: [startWorker(), startWorker(), startWorker()] };
    expect(await train(texts, options)).toEqual(await train(texts, {}));
  });

  it("hand out what all have counted when reading breaks off", async () => {
    const states: TrainingState[] = [];
    const control = {
      workers: [startWorker(), startWorker()],
      onCheckpoint: (s: TrainingState) => states.push(s),
    };
    await expect(trainBpe(broken(300), { ...control, preTokenizer, vocabSize: 500 })).rejects.toThrow();
    const alone: TrainingState[] = [];
    await expect(
      trainBpe(broken(300), { onCheckpoint: (s) => alone.push(s), preTokenizer, vocabSize: 500 }),
    ).rejects.toThrow();
    expect(new Map(states.at(-1)?.words)).toEqual(new Map(alone.at(-1)?.words));
  });

  it("say what went wrong in them", async () => {
    const preTokenizer = {
      type: "Split",
      pattern: { type: "Regex", source: "(" },
      behavior: "Isolated",
      invert: false,
    };
    const training = trainBpe(lines, {
      vocabSize: 500,
      workers: [startWorker()],
      preTokenizer: preTokenizer as never,
    });
    await expect(training).rejects.toThrow(/parseRegex|a worker must be able/);
  });
});

describe("resume", () => {
  it("refuses what is no state", async () => {
    const state = { version: 2, numTexts: 0, isCounted: true, words: [] } as unknown as TrainingState;
    await expect(
      trainBpe(lines, { vocabSize: 500, resume: state }),
    ).rejects.toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: countWords: resume must be a state that onCheckpoint gave; got version 2, numTexts 0, isCounted true. Start without it or correct the saved file.]`,
    );
    const foreign: TrainingState = {
      version: 1,
      numTexts: 0,
      isCounted: true,
      words: [["ab", 2]],
      merges: [["x", "y"]],
    };
    await expect(
      trainBpe(lines, { vocabSize: 500, resume: foreign }),
    ).rejects.toThrowErrorMatchingInlineSnapshot(
      `[HeddleError: trainBpe: merges of the state to go on from must be of known tokens; got "x". Give the options of the training that was stopped.]`,
    );
  });
});

describe("cancelling", () => {
  it("stops with the signal's reason and hands out the state", async () => {
    const controller = new AbortController();
    const states: TrainingState[] = [];
    async function* endless(): AsyncGenerator<string> {
      for (let i = 0; ; i++) {
        if (i === 3000) controller.abort(new Error("enough"));
        yield lines[i % lines.length] as string;
      }
    }
    const training = trainBpe(endless(), {
      vocabSize: 500,
      preTokenizer,
      signal: controller.signal,
      onCheckpoint: (state) => states.push(state),
    });
    await expect(training).rejects.toThrow("enough");
    expect(states.at(-1)?.numTexts).toBeGreaterThanOrEqual(3000);
  });
});
