/** Receives a piece of text; `continues`: it belongs to the same token as the piece before it. */
export type Emit = (text: string, continues: boolean) => void;

/**
 * One step of decoding. Steps are fed token by token, so decoding a whole list and decoding a stream are the same
 * computation: a stage holds back only what a later token can still change.
 */
export interface DecodeStage {
  push(text: string, continues: boolean, emit: Emit): void;
  flush(emit: Emit): void;
}

/** A stage that maps each whole token by itself. A token in several pieces is treated piece by piece. */
export function perToken(map: (token: string, index: number) => string): DecodeStage {
  let index = 0;
  return {
    push(text, continues, emit) {
      emit(map(text, index++), continues);
    },
    flush() {},
  };
}
