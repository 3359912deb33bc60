import { Presets, SingleBar } from "cli-progress";
import type { Terminal } from "./terminal.js";

/** A bar on stderr, or nothing. */
export interface Progress {
  update(done: number, details?: Readonly<Record<string, string>>): void;
  stop(): void;
}

export interface ProgressOptions {
  /** Text of the bar in the notation of cli-progress: `{bar} {value}/{total} {details}`. */
  readonly format: string;
  readonly total: number;
  /** Show it also where stderr is not a terminal, as lines now and then. */
  readonly isForced: boolean;
}

/** Shows how far a long work has come: on a terminal, or where asked for. */
export function createProgress(terminal: Terminal, { format, total, isForced }: ProgressOptions): Progress {
  if (!terminal.stderr.isTTY && !isForced) return { update: () => undefined, stop: () => undefined };
  const bar = new SingleBar(
    {
      format,
      stream: terminal.stderr,
      noTTYOutput: isForced,
      notTTYSchedule: 5000,
      hideCursor: true,
      clearOnComplete: true,
    },
    Presets.shades_classic,
  );
  bar.start(total, 0, { details: "" });
  return {
    update: (done, details = {}) => bar.update(done, details),
    stop: () => bar.stop(),
  };
}
