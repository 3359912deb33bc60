import { HeddleError } from "../../error.js";
import { byteTokenName } from "../../models/byte-fallback.js";
import type { Piece, PieceKind } from "../../models/sentencepiece-pieces.js";
import type { SentencePieceSpec } from "./options.js";

/**
 * Gives ids to the pieces that are not learned: those with a role at the ids they ask for, then control symbols,
 * user-defined symbols and bytes at the lowest free ids.
 *
 * @throws HeddleError "config" if two pieces want one id or have one name
 * @see sentencepiece/src/trainer_interface.cc, InitMetaPieces
 */
export function layMetaPieces(spec: SentencePieceSpec): Map<number, Piece> {
  const byId = new Map<number, Piece>();
  const idOf = new Map<string, number>();
  const put = (id: number, piece: string, kind: PieceKind): void => {
    if (byId.has(id) || idOf.has(piece)) throw clash(piece, id, spec.vocabSize);
    byId.set(id, { piece, score: 0, kind });
    idOf.set(piece, id);
  };
  const { unk, bos, eos, pad } = spec.metaPieces;
  if (unk.id < 0) throw clash(unk.piece, unk.id, spec.vocabSize);
  for (const { piece, id } of [unk, bos, eos, pad]) {
    if (id >= spec.vocabSize) throw clash(piece, id, spec.vocabSize);
    if (id >= 0) put(id, piece, piece === unk.piece ? "unknown" : "control");
  }
  const added = new Set<string>();
  let next = 0;
  const add = (piece: string, kind: PieceKind): void => {
    const known = idOf.get(piece);
    if (added.has(piece) || piece === unk.piece) throw clash(piece, known ?? -1, spec.vocabSize);
    added.add(piece);
    if (known !== undefined) {
      byId.set(known, { piece, score: 0, kind });
      return;
    }
    while (byId.has(next)) next++;
    put(next, piece, kind);
  };
  for (const symbol of spec.controlSymbols) add(symbol, "control");
  for (const symbol of spec.userDefinedSymbols) add(symbol, "userDefined");
  if (spec.byteFallback) for (let byte = 0; byte < 256; byte++) add(byteTokenName(byte), "byte");
  return byId;
}

function clash(piece: string, id: number, vocabSize: number): HeddleError {
  return new HeddleError(
    "config",
    `trainSentencePiece: each piece must have a name and an id of its own, and the unknown piece an id below vocabSize; got piece ${JSON.stringify(piece)}, id ${id}, vocabSize ${vocabSize}. Change metaPieces, controlSymbols or userDefinedSymbols.`,
    { piece, id, vocabSize },
  );
}
