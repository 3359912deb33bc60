/** How a foreign regular expression is built; the parser makes it, the emitter turns it into JavaScript. */
export type RegexNode =
  | { readonly type: "character"; readonly codePoint: number }
  | { readonly type: "class"; readonly set: ClassSet }
  | { readonly type: "any" }
  | { readonly type: "assertion"; readonly source: string }
  | { readonly type: "look"; readonly operator: "?=" | "?!" | "?<=" | "?<!"; readonly body: RegexNode }
  | {
      readonly type: "group";
      readonly body: RegexNode;
      readonly isAtomic: boolean;
      readonly ignoreCase: boolean;
    }
  | { readonly type: "repeat"; readonly body: RegexNode; readonly quantifier: Quantifier }
  | { readonly type: "sequence"; readonly items: readonly RegexNode[] }
  | { readonly type: "alternatives"; readonly branches: readonly RegexNode[] };

export interface Quantifier {
  readonly min: number;
  /** `Infinity` where there is no upper bound. */
  readonly max: number;
  readonly mode: "greedy" | "lazy" | "possessive";
}

/** A character class. `intersect` holds the operands of `&&`. */
export interface ClassSet {
  readonly isNegated: boolean;
  readonly items: readonly ClassItem[];
  readonly intersect: readonly ClassSet[];
}

export type ClassItem =
  | { readonly type: "range"; readonly from: number; readonly to: number }
  | { readonly type: "property"; readonly source: string }
  | { readonly type: "set"; readonly set: ClassSet };

/** Which engine the pattern was written for: `oniguruma` (tokenizer.json) or `rust` (regex, fancy-regex: tiktoken). */
export type RegexDialect = "oniguruma" | "rust";
