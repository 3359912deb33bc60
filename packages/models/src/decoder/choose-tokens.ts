import { type Device, HeddleError, invariant, type Tensor, tensor } from "@heddle/tensor";
import { chooseTokensOp } from "./choose-tokens-op.js";
import type { TokenSelect } from "./kernels/select-threshold.wgsl.js";

/** What of a distribution may be drawn, each of what the one before leaves. */
export interface Truncation {
  /** So many of the most likely tokens, and those equal to the last of them; 0 leaves all. */
  readonly topK: number;
  /** The most likely tokens up to this probability; 1 leaves all. */
  readonly topP: number;
  /** Tokens at least this many times as likely as the likeliest; 0 leaves all. */
  readonly minP: number;
}

/** How a device chooses the token after an output. */
export interface TokenChoice {
  /** 0 takes the most likely token. */
  readonly temperature: number;
  /** Number in [0, 1) by which it draws; needed above temperature 0. */
  readonly draw?: number;
  /** What may be drawn; default: every token. */
  readonly truncation?: Truncation;
}

/** By what tokens are drawn: one temperature for all rows, or one for each, where 0 takes the most likely token. */
export interface TokenDraws {
  /** A number above 0, or f32 [O]. */
  readonly temperature: number | Tensor;
  /** Numbers in [0, 1), f32 [O]. */
  readonly draws: Tensor;
  /** What is left to draw from, where any row is cut; temperatures are those of rows then. */
  readonly filters?: TokenFilters;
}

/** Truncations of rows. */
export interface TokenFilters {
  /** k, p and the least share of each row, f32 [O, 3]. */
  readonly values: Tensor;
  /** What any row cuts by. */
  readonly selects: readonly TokenSelect[];
}

/**
 * Chooses tokens where the logits are: the most likely, or by the inverse of the distribution function, as the sampler of the
 * host does. In f32, so that a draw on the border of two tokens may fall to the other one.
 *
 * Shapes: logits [O, V] -> tokens i32 [O], results f32 [O, 2]: token and log-probability, all that has to be read back.
 */
export function chooseTokens(
  logits_OV: Tensor,
  drawing: TokenDraws | undefined,
): { readonly tokens: Tensor; readonly results: Tensor } {
  const { draws, temperature = 0, filters } = drawing ?? {};
  const heats = typeof temperature === "number" ? undefined : temperature;
  const inputs = [logits_OV, draws, heats, filters?.values];
  const [tokens, results] = chooseTokensOp.apply(
    inputs.filter((input) => input !== undefined),
    typeof temperature === "number"
      ? { kind: draws === undefined ? "likeliest" : "drawn", temperature }
      : filters === undefined
        ? { kind: "rows", temperature: 1 }
        : { kind: "truncated", temperature: 1, selects: filters.selects },
  );
  invariant(tokens && results, "chosen tokens have results");
  return { tokens, results };
}

/** The choices of outputs as tensors on the device of the outputs [O], which may be more; undefined where nothing is drawn. */
export function tokenDraws(
  { device, shape: [count = 0] }: Tensor,
  choices: readonly (TokenChoice | undefined)[],
): (TokenDraws & { readonly temperature: Tensor }) | undefined {
  if (!choices.some((choice) => (choice?.temperature ?? 0) > 0)) return undefined;
  const filled = (read: (choice: TokenChoice) => number | undefined) =>
    tensor(
      device,
      Float32Array.from({ length: count }, (_, at) => (choices[at] && read(choices[at])) ?? 0),
    );
  const filters = tokenFilters(
    device,
    Array.from({ length: count }, (_, at) => choices[at]?.truncation),
  );
  return {
    temperature: filled(({ temperature }) => temperature),
    draws: filled(({ draw }) => draw),
    ...(filters && { filters }),
  };
}

/** Truncations of rows as a tensor of the device; undefined where none cuts anything. */
export function tokenFilters(
  device: Device,
  truncations: readonly (Truncation | undefined)[],
): TokenFilters | undefined {
  const cutsBy = (cuts: (by: Truncation) => boolean) =>
    truncations.some((truncation) => truncation !== undefined && cuts(truncation));
  const selects: TokenSelect[] = [
    ...(cutsBy(({ topK }) => topK > 0) ? (["topK"] as const) : []),
    ...(cutsBy(({ topP }) => topP < 1) ? (["topP"] as const) : []),
  ];
  if (selects.length === 0 && !cutsBy(({ minP }) => minP > 0)) return undefined;
  const rows = truncations.map((truncation) => [
    truncation?.topK ?? 0,
    truncation?.topP ?? 1,
    truncation?.minP ?? 0,
  ]);
  return { values: tensor(device, Float32Array.from(rows.flat()), { shape: [rows.length, 3] }), selects };
}

/** @throws HeddleError "config" unless there is a choice, or undefined, for each output, with a draw above temperature 0 */
export function checkChoices(
  { outputs }: { readonly outputs: Int32Array },
  choices: readonly (TokenChoice | undefined)[],
): void {
  if (choices.length !== outputs.length) {
    const message = `choose: there must be a choice, or undefined, for each output; got ${choices.length} for ${outputs.length} outputs. Pass one each.`;
    throw new HeddleError("config", message, { choices: choices.length, outputs: outputs.length });
  }
  for (const [at, choice] of choices.entries()) {
    const { temperature = 0, draw = temperature > 0 ? Number.NaN : 0 } = choice ?? {};
    if (temperature >= 0 && Number.isFinite(temperature) && draw >= 0 && draw < 1) continue;
    const message = `choose: temperature must be >= 0, with a draw in [0, 1) above 0; got temperature ${temperature}, draw ${choice?.draw} at output ${at}. Draw a number for each token.`;
    throw new HeddleError("config", message, { at, temperature, draw: choice?.draw });
  }
}
