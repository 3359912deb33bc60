import type { GeneratedToken, RatedToken } from "./client.js";

/** A token's text with its spaces made visible. */
export function visibleToken(token: string): string {
  if (token === "") return "(empty)";
  return token.replaceAll(" ", "␣").replaceAll("\n", "⏎").replaceAll("\t", "⇥");
}

/** The probability of a token, 0..1. */
export function probabilityOf({ logprob }: { readonly logprob: number }): number {
  return Math.exp(logprob);
}

/** A probability in per cent with as many digits as are worth reading. */
export function formatPercent(probability: number): string {
  const percent = probability * 100;
  if (percent >= 99.95) return "100%";
  if (percent >= 10) return `${percent.toFixed(0)}%`;
  if (percent >= 0.1) return `${percent.toFixed(1)}%`;
  return "<0.1%";
}

/** The alternatives of a token, the chosen one among them, likeliest first. */
export function rankedAlternatives(
  token: GeneratedToken,
): readonly (RatedToken & { readonly isChosen: boolean })[] {
  const others = token.top
    .filter(({ id }) => id !== token.id)
    .map((other) => ({ ...other, isChosen: false }));
  const { id, token: text, logprob } = token;
  return [...others, { id, token: text, logprob, isChosen: true }].sort((a, b) => b.logprob - a.logprob);
}
