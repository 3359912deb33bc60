import { spawn } from "node:child_process";
import { delimiter, join } from "node:path";

/** The repository's root folder. */
export const root = join(import.meta.dirname, "../..");

/** Where built tarballs, reports and other throw-away results lie. */
export const resultsFolder = join(root, ".heddle");

export interface CommandOptions {
  /** Default: the repository's root. */
  readonly cwd?: string;
  readonly env?: Record<string, string>;
  /** Also shows the output while it comes. Default: false. */
  readonly isShown?: boolean;
}

export interface CommandResult {
  readonly exitCode: number;
  /** Standard output and error together, in the order of arrival. */
  readonly output: string;
}

/** Runs a program with the repository's own programs first on the path; resolves whatever its exit code. */
export function command(
  file: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const { cwd = root, env = {}, isShown = false } = options;
  const path = [join(root, "node_modules/.bin"), process.env.PATH].join(delimiter);
  const child = spawn(file, args, {
    cwd,
    env: { ...process.env, PATH: path, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const chunks: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      if (isShown) process.stdout.write(chunk);
    });
  }
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) =>
      resolve({ exitCode: code ?? 1, output: Buffer.concat(chunks).toString("utf8") }),
    );
  });
}

/** Runs a program that must succeed and resolves to its output; otherwise throws an error that shows it. */
export async function mustRun(
  file: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const { exitCode, output } = await command(file, args, options);
  if (exitCode !== 0)
    throw new Error(`${file} ${args.join(" ")} ended with ${exitCode}:\n${output.trimEnd()}`);
  return output;
}
