import type { DecodeStage } from "./stage.js";
import { createStreamDecoder } from "./stream.js";

/** Decodes whole lists of ids. Twin: the stages, token by token */
export interface QuickDecoder {
  /**
   * @param skips  true for ids that are left out
   * @param textOf  the token of an id; throws for an unknown one
   */
  decode(ids: Iterable<number>, skips: (id: number) => boolean, textOf: (id: number) => string): string;
}

/** What decoding does to a token behind which nothing is held and before which some text stands. */
export interface TokenTextRules {
  /** Stages for the tokens before there is any text. */
  readonly createStages: () => DecodeStage[];
  /** Text of a token, or the byte that it stands for. */
  readonly textOf: (token: string) => string | number;
  /** Text of a run of bytes. */
  readonly textOfBytes: (bytes: readonly number[]) => string;
}

/** Looks up what each token becomes once and then joins; only the start of a text goes through the stages. */
export class TokenTextDecoder implements QuickDecoder {
  private readonly known: (string | number | undefined)[] = [];

  constructor(private readonly rules: TokenTextRules) {}

  decode(ids: Iterable<number>, skips: (id: number) => boolean, textOf: (id: number) => string): string {
    const { createStages, textOfBytes } = this.rules;
    const { known } = this;
    const head = createStreamDecoder(createStages(), (id) => (skips(id) ? null : textOf(id)));
    let run: number[] = [];
    let text = "";
    let isSettled = false;
    for (const id of ids) {
      if (skips(id)) continue;
      const piece = known[id] ?? this.learn(id, textOf);
      if (!isSettled) {
        const start = head.push(id);
        text += start;
        isSettled = start !== "" && typeof piece === "string";
      } else if (typeof piece === "number") {
        run.push(piece);
      } else {
        if (run.length > 0) {
          text += textOfBytes(run);
          run = [];
        }
        text += piece;
      }
    }
    if (!isSettled) return text + head.flush();
    return run.length > 0 ? text + textOfBytes(run) : text;
  }

  private learn(id: number, textOf: (id: number) => string): string | number {
    const piece = this.rules.textOf(textOf(id));
    this.known[id] = piece;
    return piece;
  }
}
