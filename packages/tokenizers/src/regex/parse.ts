import { HeddleError } from "../error.js";
import { POSIX_CLASSES, propertySource, shorthandItems } from "./properties.js";
import type { ClassItem, ClassSet, Quantifier, RegexDialect, RegexNode } from "./syntax.js";

/**
 * Parses an Oniguruma or Rust regular expression.
 *
 * @throws HeddleError "unsupported" naming the construct and where it stands (back references, recursion, ...)
 */
export function parseRegex(pattern: string, dialect: RegexDialect): RegexNode {
  const parser = new RegexParser(pattern, dialect);
  const node = parser.alternatives(false);
  if (!parser.atEnd()) throw parser.refuse("an unmatched )");
  return node;
}

const ESCAPED_CONTROLS: Readonly<Record<string, number>> = {
  n: 10,
  r: 13,
  t: 9,
  v: 11,
  f: 12,
  a: 7,
  e: 27,
  "0": 0,
};

class RegexParser {
  private at = 0;

  constructor(
    private readonly pattern: string,
    private readonly dialect: RegexDialect,
  ) {}

  atEnd(): boolean {
    return this.at >= this.pattern.length;
  }

  refuse(construct: string): HeddleError {
    const { pattern, at } = this;
    return new HeddleError(
      "unsupported",
      `parseRegex: this pattern holds a construct that Heddle does not translate; got ${construct} at index ${at} of ${JSON.stringify(pattern)}. Rewrite the pattern without it.`,
      { construct, index: at, pattern },
    );
  }

  alternatives(ignoreCase: boolean): RegexNode {
    const branches = [this.sequence(ignoreCase)];
    while (this.take("|")) branches.push(this.sequence(ignoreCase));
    return branches.length === 1 ? (branches[0] as RegexNode) : { type: "alternatives", branches };
  }

  private sequence(ignoreCase: boolean): RegexNode {
    const items: RegexNode[] = [];
    while (!this.atEnd() && this.peek() !== "|" && this.peek() !== ")") {
      const flags = this.takeInlineFlags();
      if (flags !== null) {
        const body = this.alternatives(flags);
        items.push({ type: "group", body, isAtomic: false, ignoreCase: flags });
        break;
      }
      items.push(this.repeated(this.atom(ignoreCase)));
    }
    return items.length === 1 ? (items[0] as RegexNode) : { type: "sequence", items };
  }

  /** `(?i)` without a colon: holds to the end of the enclosing group. */
  private takeInlineFlags(): boolean | null {
    const match = /^\(\?(i|-i)\)/.exec(this.pattern.slice(this.at, this.at + 5));
    if (match === null) return null;
    this.at += match[0].length;
    return match[1] === "i";
  }

  private atom(ignoreCase: boolean): RegexNode {
    const char = this.peek();
    switch (char) {
      case "(":
        return this.group(ignoreCase);
      case "[":
        this.at++;
        return { type: "class", set: this.classSet() };
      case ".":
        this.at++;
        return { type: "any" };
      case "^":
        this.at++;
        return { type: "assertion", source: this.dialect === "oniguruma" ? "(?<![^\\n])" : "(?<![^])" };
      case "$":
        this.at++;
        return { type: "assertion", source: this.dialect === "oniguruma" ? "(?![^\\n])" : "(?![^])" };
      case "\\":
        return this.escape();
      case "*":
      case "+":
      case "?":
        throw this.refuse(`a quantifier ${char} with nothing before it`);
      default:
        return { type: "character", codePoint: this.takeCodePoint() };
    }
  }

  private group(ignoreCase: boolean): RegexNode {
    const rest = this.pattern.slice(this.at);
    const look = /^\((\?=|\?!|\?<=|\?<!)/.exec(rest);
    if (look !== null) {
      this.at += look[0].length;
      const body = this.alternatives(ignoreCase);
      this.expect(")");
      return { type: "look", operator: look[1] as "?=" | "?!" | "?<=" | "?<!", body };
    }
    const head = /^\((\?:|\?>|\?i:|\?-i:|\?P?<[A-Za-z_]\w*>|(?!\?))/.exec(rest);
    if (head === null) throw this.refuse(`the group ${JSON.stringify(rest.slice(0, 6))}`);
    this.at += head[0].length;
    const kind = head[1] as string;
    const isCaseless = kind === "?i:" || (ignoreCase && kind !== "?-i:");
    const body = this.alternatives(isCaseless);
    this.expect(")");
    return { type: "group", body, isAtomic: kind === "?>", ignoreCase: isCaseless };
  }

  private repeated(body: RegexNode): RegexNode {
    let node = body;
    for (;;) {
      const quantifier = this.quantifier();
      if (quantifier === null) return node;
      if (body.type === "assertion") throw this.refuse("a quantifier behind an anchor");
      node = { type: "repeat", body: node, quantifier };
    }
  }

  private quantifier(): Quantifier | null {
    const bounds = /^(?:([*+?])|\{(\d*)(,?)(\d*)\})/.exec(this.pattern.slice(this.at, this.at + 24));
    if (bounds === null) return null;
    const [text, simple, low = "", comma, high = ""] = bounds;
    if (simple === undefined && low === "" && high === "") return null;
    this.at += text.length;
    const min = simple === undefined ? Number(low === "" ? 0 : low) : simple === "+" ? 1 : 0;
    const upper = high === "" ? (comma === "," ? Number.POSITIVE_INFINITY : min) : Number(high);
    const max = simple === undefined ? upper : simple === "?" ? 1 : Number.POSITIVE_INFINITY;
    if (this.take("?")) return { min, max, mode: "lazy" };
    // Oniguruma reads `{1,3}+` as a repeated repeat, not as a possessive one.
    const mayPossess = simple !== undefined || this.dialect === "rust";
    if (mayPossess && this.take("+")) return { min, max, mode: "possessive" };
    return { min, max, mode: "greedy" };
  }

  private escape(): RegexNode {
    const next = this.pattern[this.at + 1];
    const anchors: Readonly<Record<string, string>> = {
      A: "(?<![^])",
      z: "(?![^])",
      Z: "(?=\\n?(?![^]))",
    };
    const anchor = next === undefined ? undefined : anchors[next];
    if (anchor !== undefined) {
      this.at += 2;
      return { type: "assertion", source: anchor };
    }
    if (next !== undefined && /[1-9bBGKRXkgQ]/.test(next)) throw this.refuse(`the escape \\${next}`);
    const items = this.escapeItems();
    const only = items[0];
    if (items.length === 1 && only?.type === "range" && only.from === only.to) {
      return { type: "character", codePoint: only.from };
    }
    return { type: "class", set: { isNegated: false, items, intersect: [] } };
  }

  /** Reads one escape, inside or outside a class. */
  private escapeItems(): readonly ClassItem[] {
    this.expect("\\");
    const rest = this.pattern.slice(this.at);
    const property = /^([pP])(?:\{(\^?)([^}]*)\}|(\w))/.exec(rest);
    if (property !== null) {
      const isNegated = (property[1] === "P") !== (property[2] === "^");
      const source = propertySource(property[3] ?? property[4] ?? "", isNegated);
      if (source === null) throw this.refuse(`the property ${property[0]}`);
      this.at += property[0].length;
      return [{ type: "property", source }];
    }
    const hex = /^(?:x\{([0-9A-Fa-f]+)\}|x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]+)\})/.exec(rest);
    if (hex !== null) {
      this.at += hex[0].length;
      return [single(Number.parseInt((hex[1] ?? hex[2] ?? hex[3] ?? hex[4]) as string, 16))];
    }
    const char = rest[0];
    if (char === undefined) throw this.refuse("a lone \\");
    const shorthand = shorthandItems(char, this.dialect);
    const control = ESCAPED_CONTROLS[char];
    if (shorthand !== null || control !== undefined) {
      this.at++;
      return shorthand ?? [single(control as number)];
    }
    if (/[A-Za-z0-9]/.test(char)) throw this.refuse(`the escape \\${char}`);
    return [single(this.takeCodePoint())];
  }

  /** Reads a class behind its opening bracket. */
  private classSet(): ClassSet {
    const isNegated = this.take("^");
    const items: ClassItem[] = [];
    const intersect: ClassSet[] = [];
    let isFirst = true;
    while (isFirst || this.peek() !== "]") {
      if (this.atEnd()) throw this.refuse("a class without its ]");
      isFirst = false;
      if (this.pattern.startsWith("&&", this.at)) {
        this.at += 2;
        intersect.push(this.intersectionOperand());
      } else {
        items.push(...this.classItems());
      }
    }
    this.at++;
    return { isNegated, items, intersect };
  }

  /** What stands between `&&` and the next `&&` or `]`. */
  private intersectionOperand(): ClassSet {
    const items: ClassItem[] = [];
    while (!this.atEnd() && this.peek() !== "]" && !this.pattern.startsWith("&&", this.at)) {
      items.push(...this.classItems());
    }
    const only = items[0];
    if (items.length === 1 && only?.type === "set") return only.set;
    return { isNegated: false, items, intersect: [] };
  }

  private classItems(): readonly ClassItem[] {
    const posix = /^\[:(\^?)(\w+):\]/.exec(this.pattern.slice(this.at, this.at + 16));
    if (posix !== null) {
      const source = POSIX_CLASSES[posix[2] as string];
      if (source === undefined || posix[1] === "^") throw this.refuse(`the class ${posix[0]}`);
      this.at += posix[0].length;
      return [{ type: "property", source }];
    }
    if (this.take("[")) return [{ type: "set", set: this.classSet() }];
    const low = this.peek() === "\\" ? this.escapeItems() : [single(this.takeCodePoint())];
    const from = low[0];
    const isRange =
      this.peek() === "-" && this.pattern[this.at + 1] !== "]" && this.at + 1 < this.pattern.length;
    if (!isRange || low.length !== 1 || from?.type !== "range") return low;
    this.at++;
    const high = this.peek() === "\\" ? this.escapeItems()[0] : single(this.takeCodePoint());
    if (high?.type !== "range") throw this.refuse("a range that ends in a class");
    return [{ type: "range", from: from.from, to: high.to }];
  }

  private peek(): string | undefined {
    return this.pattern[this.at];
  }

  private take(char: string): boolean {
    if (this.peek() !== char) return false;
    this.at++;
    return true;
  }

  private expect(char: string): void {
    if (!this.take(char)) throw this.refuse(`${this.peek() ?? "the end"} where ${char} was expected`);
  }

  private takeCodePoint(): number {
    const codePoint = this.pattern.codePointAt(this.at);
    if (codePoint === undefined) throw this.refuse("an early end");
    this.at += codePoint > 0xffff ? 2 : 1;
    return codePoint;
  }
}

function single(codePoint: number): ClassItem {
  return { type: "range", from: codePoint, to: codePoint };
}
