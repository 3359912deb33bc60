import { type Command, Option } from "commander";
import {
  addOutputOptions,
  collect,
  createDevice,
  deviceNames,
  type OutputOptions,
  parseCount,
} from "../options.js";
import { createProgress, type Progress } from "../progress.js";
import type { Terminal } from "../terminal.js";
import { type ConfigOverrides, type ResolvedConfig, readTrainingConfig } from "../training/read-config.js";
import { type RunEvent, runTraining } from "../training/run-training.js";

interface TrainCommandOptions extends ConfigOverrides, OutputOptions {
  readonly config: string;
  readonly resume?: boolean;
}

export function addTrain(program: Command, terminal: Terminal): void {
  const command = program
    .command("train")
    .description(
      "Train a language model as a configuration file says: its tokenizer, the model from scratch or from a directory, checkpoints, loss curve, and at the end a Hugging Face directory.",
    )
    .requiredOption("--config <file>", "JSON or JSON5; see the README for every key")
    .option("--text <file>", "text to train on, instead of text.files; may be repeated", collect)
    .option(
      "--held-out <file>",
      "text to evaluate on, instead of text.heldOutFiles; may be repeated",
      collect,
    )
    .option("--output <directory>", "folder of the run, instead of output")
    .option("--steps <n>", "instead of steps", parseCount)
    .addOption(new Option("--device <name>", "instead of device").choices(deviceNames))
    .option("--threads <n>", "instead of threads", parseCount)
    .option("--resume", "go on from the newest checkpoint in the output folder");
  addOutputOptions(command).action(async (options: TrainCommandOptions) => {
    const config = await readTrainingConfig(options.config, options);
    const device = await createDevice(config);
    const view = options.json
      ? createJsonView(terminal)
      : createBarView(terminal, config, options.progress ?? false);
    try {
      const result = await runTraining(config, {
        device,
        isResumed: options.resume ?? false,
        onEvent: view.show,
        signal: terminal.signal,
      });
      view.stop();
      if (options.json) return;
      const { steps, loss, evaluation } = result;
      const heldOut =
        evaluation === undefined ? "" : `, held-out perplexity ${evaluation.perplexity.toFixed(3)}`;
      await terminal.print(
        `${steps} steps, loss ${loss.toFixed(4)}${heldOut}; the run is in ${config.output}\n`,
      );
    } finally {
      view.stop();
      device.dispose();
    }
  });
}

interface RunView {
  show(event: RunEvent): void;
  stop(): void;
}

/** Every event as a line of JSON on stdout. */
function createJsonView(terminal: Terminal): RunView {
  return {
    // A reader that went away does not end the run.
    show: (event) => void terminal.print(`${JSON.stringify(event)}\n`).catch(() => undefined),
    stop: () => undefined,
  };
}

/** A bar on stderr, and a line for each evaluation and phase where the bar is shown. */
function createBarView(terminal: Terminal, config: ResolvedConfig, isForced: boolean): RunView {
  const isShown = terminal.stderr.isTTY || isForced;
  const state: { bar: Progress | undefined; heldOut: string; hasTokenizerNote: boolean } = {
    bar: undefined,
    heldOut: "",
    hasTokenizerNote: false,
  };
  return {
    show: (event) => {
      switch (event.kind) {
        case "tokenizer":
          if (isShown && !state.hasTokenizerNote) terminal.note("training the tokenizer");
          state.hasTokenizerNote = true;
          return;
        case "ready": {
          const from = event.resumedAt === 0 ? "" : `, resumed at step ${event.resumedAt}`;
          if (isShown)
            terminal.note(`${event.weights} weights, ${event.vocabSize} tokens in the vocabulary${from}`);
          const format = "{bar} {value}/{total} loss {loss}{heldOut} {speed} tokens/s, {eta_formatted} left";
          state.bar = createProgress(terminal, { format, total: config.steps, isForced });
          return;
        }
        case "step":
          state.bar?.update(event.step, {
            loss: event.loss.toFixed(3),
            speed: event.tokensPerSecond.toFixed(0),
            heldOut: state.heldOut,
          });
          return;
        case "evaluation":
          state.heldOut = `, held-out perplexity ${event.perplexity.toFixed(2)}`;
          return;
        case "checkpoint":
        case "exported":
          return;
        default:
          event satisfies never;
      }
    },
    stop: () => {
      state.bar?.stop();
      state.bar = undefined;
    },
  };
}
