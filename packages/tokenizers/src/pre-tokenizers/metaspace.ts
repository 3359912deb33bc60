import { type AlignedText, applyRewrite, originalStart, RewriteBuilder } from "../aligned-text.js";

/** Writes spaces as a symbol, as SentencePiece does. */
export interface Metaspace {
  readonly type: "Metaspace";
  readonly replacement: string;
  readonly prependScheme: PrependScheme;
  /** Cut before each symbol. */
  readonly split: boolean;
}

/** When Metaspace puts its symbol in front: always, at the start of the original text only, or never. */
export type PrependScheme = "always" | "first" | "never";

/** Replaces the spaces of a piece and puts the symbol in front where the scheme says so. */
export function markSpaces(piece: AlignedText, options: Metaspace): AlignedText {
  const { replacement, prependScheme } = options;
  const marked = replaceSpaces(piece, replacement);
  const isFirst = prependScheme === "always" || (prependScheme === "first" && originalStart(marked) === 0);
  return isFirst ? withPrefix(marked, replacement) : marked;
}

function replaceSpaces(piece: AlignedText, replacement: string): AlignedText {
  if (!piece.text.includes(" ")) return piece;
  if (replacement.length === 1) return { ...piece, text: piece.text.replaceAll(" ", replacement) };
  const builder = new RewriteBuilder();
  let end = 0;
  for (const match of piece.text.matchAll(/ /g)) {
    builder.keep(piece.text, end, match.index);
    builder.put(replacement, match.index);
    end = match.index + 1;
  }
  builder.keep(piece.text, end, piece.text.length);
  return applyRewrite(piece, builder.finish());
}

/** Puts a prefix before a piece that is not empty and does not begin with it. */
export function withPrefix(piece: AlignedText, prefix: string): AlignedText {
  if (piece.text === "" || piece.text.startsWith(prefix)) return piece;
  const builder = new RewriteBuilder();
  builder.put(prefix, 0);
  builder.keep(piece.text, 0, piece.text.length);
  return applyRewrite(piece, builder.finish());
}
