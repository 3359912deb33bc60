import { HeddleError } from "../error.js";
import type { ClassItem, ClassSet, RegexNode } from "./syntax.js";

/** JavaScript source and the flag it needs: `v` where classes are intersected, else `u`. */
export interface EmittedRegex {
  readonly source: string;
  readonly unicodeFlag: "u" | "v";
}

/**
 * Writes a parsed regular expression for JavaScript.
 *
 * Possessive quantifiers and atomic groups become `(?=(x))\n`, unless it can be seen that giving back never helps.
 */
export function emitRegex(node: RegexNode): EmittedRegex {
  const emitter = new RegexEmitter();
  const source = emitter.emit(node, { ignoreCase: false, isTail: true });
  return { source, unicodeFlag: emitter.usesSets ? "v" : "u" };
}

/** `isTail`: nothing that could fail comes behind this node, so the engine never backtracks into it. */
interface Context {
  readonly ignoreCase: boolean;
  readonly isTail: boolean;
}

class RegexEmitter {
  usesSets = false;
  private numCaptures = 0;

  emit(node: RegexNode, context: Context): string {
    switch (node.type) {
      case "character":
        return this.emitCharacter(node.codePoint, context.ignoreCase);
      case "class":
        return this.emitSet(node.set, context.ignoreCase);
      case "any":
        return "[^\\n]";
      case "assertion":
        return node.source;
      case "look":
        return `(${node.operator}${this.emit(node.body, { ...context, isTail: true })})`;
      case "group": {
        if (!node.isAtomic) return `(?:${this.emit(node.body, { ...context, ignoreCase: node.ignoreCase })})`;
        return this.emitAtomic(() => this.emit(node.body, { ignoreCase: node.ignoreCase, isTail: true }));
      }
      case "repeat":
        return this.emitRepeat(node, null, context);
      case "sequence":
        return this.emitSequence(node.items, context);
      case "alternatives":
        return node.branches.map((branch) => this.emit(branch, context)).join("|");
      default:
        return node satisfies never;
    }
  }

  private emitSequence(items: readonly RegexNode[], context: Context): string {
    return items
      .map((item, i) => {
        const inner = { ...context, isTail: context.isTail && items.slice(i + 1).every(matchesNothing) };
        if (item.type === "repeat") return this.emitRepeat(item, items[i + 1] ?? null, inner);
        const source = this.emit(item, inner);
        return item.type === "alternatives" ? `(?:${source})` : source;
      })
      .join("");
  }

  private emitRepeat(node: RegexNode & { type: "repeat" }, next: RegexNode | null, context: Context): string {
    const { min, max, mode } = node.quantifier;
    const bounds = quantifierSource(min, max) + (mode === "lazy" ? "?" : "");
    const write = (): string => {
      const body = this.emit(node.body, { ...context, isTail: false });
      const isSingle =
        ["character", "class", "any", "group"].includes(node.body.type) && !body.startsWith("(?=(");
      return (isSingle ? body : `(?:${body})`) + bounds;
    };
    const neverGivesBack =
      (isCharacterWise(node.body) && context.isTail) || (next !== null && isDisjoint(node.body, next));
    if (mode !== "possessive" || neverGivesBack) return write();
    return this.emitAtomic(write);
  }

  private emitAtomic(write: () => string): string {
    const number = ++this.numCaptures;
    // The empty group keeps a digit behind apart from the number.
    return `(?=(${write()}))\\${number}(?:)`;
  }

  private emitCharacter(codePoint: number, ignoreCase: boolean): string {
    const variants = ignoreCase ? caseVariants(codePoint) : [codePoint];
    const written = variants.map(characterSource).join("");
    return variants.length === 1 ? written : `[${written}]`;
  }

  private emitSet(set: ClassSet, ignoreCase: boolean): string {
    const only = set.items[0];
    if (set.items.length === 1 && set.intersect.length === 0 && only?.type === "property" && !set.isNegated) {
      if (/^\\[pP]\{[^}]*\}$/.test(only.source)) return this.emitItem(only, ignoreCase);
    }
    const body = set.items.map((item) => this.emitItem(item, ignoreCase)).join("");
    const negation = set.isNegated ? "^" : "";
    if (set.intersect.length === 0) return `[${negation}${body}]`;
    this.usesSets = true;
    const operands = set.intersect.map((operand) => `&&${this.emitSet(operand, ignoreCase)}`);
    return `[${negation}[${body}]${operands.join("")}]`;
  }

  private emitItem(item: ClassItem, ignoreCase: boolean): string {
    switch (item.type) {
      case "range":
        return ignoreCase ? caselessRange(item.from, item.to) : rangeSource(item.from, item.to);
      case "property":
        if (ignoreCase && /\{(?:Lu|Ll|Lt|Upper|Lower)/.test(item.source)) {
          throw new HeddleError(
            "unsupported",
            `emitRegex: a class of upper or lower case letters under (?i) is not translated; got ${item.source}. Use \\p{L}.`,
            { property: item.source },
          );
        }
        return item.source;
      case "set": {
        const isPlain = !item.set.isNegated && item.set.intersect.length === 0;
        if (isPlain) return item.set.items.map((inner) => this.emitItem(inner, ignoreCase)).join("");
        this.usesSets = true;
        return this.emitSet(item.set, ignoreCase);
      }
      default:
        return item satisfies never;
    }
  }
}

/** True if the node can always succeed on nothing, so that what stands before it never has to give back. */
function matchesNothing(node: RegexNode): boolean {
  return node.type === "repeat" && node.quantifier.min === 0;
}

function isCharacterWise(node: RegexNode): boolean {
  return node.type === "character" || node.type === "class" || node.type === "any";
}

/** Sees the common case `[^\p{L}...]?+\p{L}+`: a negated class lists the property that must follow. */
function isDisjoint(body: RegexNode, next: RegexNode): boolean {
  const follower = next.type === "repeat" && next.quantifier.min > 0 ? next.body : next;
  if (body.type !== "class" || !body.set.isNegated || body.set.intersect.length > 0) return false;
  if (follower.type !== "class" || follower.set.isNegated || follower.set.items.length !== 1) return false;
  const required = follower.set.items[0];
  return body.set.items.some(
    (item) => item.type === "property" && required?.type === "property" && item.source === required.source,
  );
}

function quantifierSource(min: number, max: number): string {
  if (min === 0 && max === Number.POSITIVE_INFINITY) return "*";
  if (min === 1 && max === Number.POSITIVE_INFINITY) return "+";
  if (min === 0 && max === 1) return "?";
  if (min === max) return `{${min}}`;
  return `{${min},${max === Number.POSITIVE_INFINITY ? "" : max}}`;
}

/** All characters that fold together with one: s also matches the long s, k the Kelvin sign. */
function caseVariants(codePoint: number): readonly number[] {
  const char = String.fromCodePoint(codePoint);
  const variants = new Set([char, char.toLowerCase(), char.toUpperCase()]);
  const extra: Readonly<Record<string, string>> = {
    s: "\u017f",
    k: "\u212a",
    å: "\u212b",
    ω: "\u2126",
    µ: "μ",
  };
  const folded = extra[char.toLowerCase()];
  if (folded !== undefined) variants.add(folded);
  return [...variants].filter((v) => [...v].length === 1).map((v) => v.codePointAt(0) as number);
}

function caselessRange(from: number, to: number): string {
  if (from === to) return caseVariants(from).map(characterSource).join("");
  if (to - from > 512) return rangeSource(from, to);
  let source = rangeSource(from, to);
  for (let codePoint = from; codePoint <= to; codePoint++) {
    for (const variant of caseVariants(codePoint)) {
      if (variant < from || variant > to) source += characterSource(variant);
    }
  }
  return source;
}

function rangeSource(from: number, to: number): string {
  return from === to ? characterSource(from) : `${characterSource(from)}-${characterSource(to)}`;
}

function characterSource(codePoint: number): string {
  const char = String.fromCodePoint(codePoint);
  return /^[A-Za-z0-9 ']$/.test(char) ? char : `\\u{${codePoint.toString(16)}}`;
}
