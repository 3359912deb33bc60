import { HeddleError } from "@heddle/tensor";
import { type Command, CommanderError } from "commander";
import type { Terminal } from "./terminal.js";

/** What the process's exit code says. */
export const exitCodes = { ok: 0, failed: 1, badUsage: 2, interrupted: 130 } as const;

/** Runs a command line and tells its exit code. Errors become one clear line on stderr. */
export async function runProgram(
  program: Command,
  terminal: Terminal,
  args: readonly string[],
): Promise<number> {
  try {
    await program.parseAsync(args, { from: "user" });
    return exitCodes.ok;
  } catch (error) {
    return explain(error, terminal);
  }
}

function explain(error: unknown, terminal: Terminal): number {
  // Commander has printed its message already.
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.badUsage;
  if (isClosedPipe(error)) return exitCodes.ok;
  if (terminal.signal.aborted) {
    terminal.note("heddle: interrupted.");
    return exitCodes.interrupted;
  }
  if (HeddleError.is(error)) terminal.note(`heddle: ${error.message}`);
  else if (error instanceof Error && "code" in error) terminal.note(`heddle: ${error.message}`);
  else
    terminal.note(
      `heddle: a bug of Heddle, please report it.\n${error instanceof Error ? error.stack : String(error)}`,
    );
  return exitCodes.failed;
}

/** The reader of our output, such as `head`, has seen enough. */
function isClosedPipe(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EPIPE";
}
