import { parseSync } from "vite";

/** What the rules need to know of one file. Lines count from 1. */
export interface SourceFile {
  /** From the root, with forward slashes. */
  readonly path: string;
  /** Part of what the package ships: under `src`, and no test nor in a folder `testing`. */
  readonly isShipped: boolean;
  readonly numLines: number;
  readonly imports: readonly SourceImport[];
  readonly functions: readonly SourceFunction[];
  /** Whole-module facts that the house style forbids, each with its line. */
  readonly smells: readonly { readonly rule: SmellRule; readonly text: string; readonly line: number }[];
}

export type SmellRule = "module-let" | "default-export" | "export-star" | "extends" | "top-level-await";

export interface SourceImport {
  /** As written: `./shape.js`, `@heddle/tensor`, `node:fs`. */
  readonly specifier: string;
  readonly line: number;
  /** Erased by the compiler: `import type`, `export type` or `import("x").T`. */
  readonly isType: boolean;
}

export interface SourceFunction {
  readonly name: string;
  readonly line: number;
  /** Without the inner lines of template texts, which are programs of their own. */
  readonly numLines: number;
  readonly numParameters: number;
}

interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [key: string]: unknown;
}

const functionTypes = new Set(["FunctionDeclaration", "FunctionExpression", "ArrowFunctionExpression"]);

/** Parses one TypeScript file; a syntax error throws with the file's name. */
export function readSource(path: string, text: string): SourceFile {
  const { program, errors } = parseSync(path, text);
  if (errors.length > 0)
    throw new Error(`check-layers: every file parses; got ${path}: ${errors[0]?.message}`);
  const lineOf = lineFinder(text);
  const file = {
    path,
    isShipped: path.includes("/src/") && !/\/testing\/|\.test\.tsx?$/.test(path),
    numLines: text.trimEnd().split("\n").length,
    imports: [] as SourceImport[],
    functions: [] as SourceFunction[],
    smells: [] as { rule: SmellRule; text: string; line: number }[],
  };
  const module = program as unknown as Node;
  for (const statement of module.body as Node[]) file.smells.push(...smellsOf(statement, text, lineOf));
  walk(module, undefined, false, (node, parent, isInFunction) => {
    const specifier = importedFrom(node);
    if (specifier !== undefined)
      file.imports.push({ specifier, line: lineOf(node.start), isType: isErased(node) });
    if (functionTypes.has(node.type)) file.functions.push(describeFunction(node, parent, lineOf));
    if (/^Class(Declaration|Expression)$/.test(node.type) && isNode(node.superClass)) {
      const base = text.slice(node.superClass.start, node.superClass.end);
      if (!base.endsWith("Error"))
        file.smells.push({ rule: "extends", text: base, line: lineOf(node.start) });
    }
    if (node.type === "AwaitExpression" && !isInFunction)
      file.smells.push({ rule: "top-level-await", text: "await", line: lineOf(node.start) });
  });
  return file;
}

/** The specifier of an import, re-export or literal `import()`. */
function importedFrom(node: Node): string | undefined {
  if (!/^(Import|ExportNamed|ExportAll)Declaration$|^ImportExpression$|^TSImportType$/.test(node.type))
    return undefined;
  const source = node.source ?? node.argument;
  return isNode(source) && typeof source.value === "string" ? source.value : undefined;
}

function isErased(node: Node): boolean {
  return node.type === "TSImportType" || node.importKind === "type" || node.exportKind === "type";
}

function smellsOf(statement: Node, text: string, lineOf: (offset: number) => number) {
  const line = lineOf(statement.start);
  const inner = isNode(statement.declaration) ? statement.declaration : statement;
  const shown = text.slice(statement.start, statement.end).split("\n", 1)[0] ?? "";
  const smells: { rule: SmellRule; text: string; line: number }[] = [];
  if (
    inner.type === "VariableDeclaration" &&
    (inner.kind === "let" || inner.kind === "var") &&
    inner.declare !== true
  )
    smells.push({ rule: "module-let", text: shown, line });
  if (statement.type === "ExportDefaultDeclaration")
    smells.push({ rule: "default-export", text: shown, line });
  if (statement.type === "ExportAllDeclaration" && statement.exported === null)
    smells.push({ rule: "export-star", text: shown, line });
  return smells;
}

function describeFunction(
  node: Node,
  parent: Node | undefined,
  lineOf: (offset: number) => number,
): SourceFunction {
  const line = lineOf(node.start);
  const numTextLines = templatesIn(node).map((template) => lineOf(template.end) - lineOf(template.start));
  return {
    name: nameOf(node.id) ?? nameOf(parent?.id) ?? nameOf(parent?.key) ?? "(anonymous)",
    line,
    numLines: lineOf(node.end) - line + 1 - numTextLines.reduce((sum, lines) => sum + lines, 0),
    numParameters: (node.params as Node[]).length,
  };
}

/** The outermost template texts inside a node. */
function templatesIn(node: Node): Node[] {
  if (node.type === "TemplateLiteral") return [node];
  return Object.values(node).flat().filter(isNode).flatMap(templatesIn);
}

function nameOf(value: unknown): string | undefined {
  return isNode(value) && typeof value.name === "string" ? value.name : undefined;
}

function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && typeof (value as Node).type === "string";
}

type Visit = (node: Node, parent: Node | undefined, isInFunction: boolean) => void;

function walk(node: Node, parent: Node | undefined, isInFunction: boolean, visit: Visit): void {
  visit(node, parent, isInFunction);
  const inside = isInFunction || functionTypes.has(node.type);
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value])
      if (isNode(child)) walk(child, node, inside, visit);
  }
}

/** Returns a function from a character offset to its line. */
function lineFinder(text: string): (offset: number) => number {
  const starts = [0];
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return (offset) => {
    let low = 0;
    let high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((starts[middle] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return low + 1;
  };
}
