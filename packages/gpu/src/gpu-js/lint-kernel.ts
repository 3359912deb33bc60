import { HeddleError } from "@heddle/tensor";
import { type Node, parseExpressionAt } from "acorn";

/** What a kernel may use besides its arguments and variables. */
export interface KernelNames {
  readonly name: string;
  /** Functions that gpu.js was given by `settings.functions`. */
  readonly functions: readonly string[];
  /** Loops may run as far as `settings.loopMaxIterations`. */
  readonly hasLoopLimit: boolean;
}

export interface LintedKernel {
  /** The source as one function expression. */
  readonly source: string;
  readonly parameters: readonly string[];
}

interface SyntaxNode extends Node {
  readonly [field: string]: unknown;
}

/** Syntax that gpu.js translates wrongly or not at all, and what to write instead. */
const refused: Readonly<Record<string, readonly [what: string, cure: string]>> = {
  ArrowFunctionExpression: [
    "an arrow function",
    "Write `function (x) { .. }`: arrows have no `this.thread`.",
  ],
  FunctionExpression: ["a function inside the kernel", "Hand it over in settings.functions."],
  FunctionDeclaration: ["a function inside the kernel", "Hand it over in settings.functions."],
  ChainExpression: ["`?.`", "Compare and branch with `if`."],
  TemplateLiteral: ["a template string", "Kernels know numbers only."],
  SpreadElement: ["`...`", "Name each value."],
  ObjectPattern: ["destructuring", "Read one field at a time."],
  ArrayPattern: ["destructuring", "Read one element at a time."],
  ObjectExpression: ["an object", "Use variables."],
  NewExpression: ["`new`", "Kernels know numbers and fixed arrays only."],
  TryStatement: ["`try`", "Check the values with `if`."],
  ThrowStatement: ["`throw`", "Return NaN, and check the result outside."],
  ForInStatement: ["`for .. in`", "Count with `for (let i = 0; i < this.constants.n; i++)`."],
  ForOfStatement: ["`for .. of`", "Count with `for (let i = 0; i < this.constants.n; i++)`."],
  AwaitExpression: ["`await`", "Prepare the values outside."],
  YieldExpression: ["`yield`", "Return one number."],
};

const knownGlobals = new Set(["Math", "Infinity", "NaN", "undefined", "arguments"]);

/**
 * Finds in a kernel's source what gpu.js would translate wrongly or silently cut short, before it does.
 *
 * @throws HeddleError "config" naming the kernel, the construct and the cure
 */
export function lintKernel(text: string, names: KernelNames): LintedKernel {
  const source = functionText(text);
  const root = parse(source, names.name);
  if (root.type !== "FunctionExpression")
    refuse(names.name, refused[root.type] ?? ["no function", "Pass a function."]);
  if (root.async || root.generator)
    refuse(names.name, ["an async function or generator", "Write a plain function."]);
  const parameters = (root.params as SyntaxNode[]).map((parameter) => {
    if (parameter.type !== "Identifier")
      refuse(names.name, ["a parameter that is no plain name", "Give parameters names without defaults."]);
    return String(parameter.name);
  });
  const body = root.body as SyntaxNode;
  const known = new Set([...parameters, ...names.functions, ...knownGlobals, ...declaredIn(body)]);
  visit(body, (node, parent, field) => {
    const [what, cure] = refused[node.type] ?? [];
    if (what !== undefined && cure !== undefined) refuse(names.name, [what, cure]);
    if (node.type === "LogicalExpression" && node.operator === "??")
      refuse(names.name, ["`??`", "Compare and branch with `if`."]);
    checkLoop(node, names);
    if (node.type !== "Identifier" || isField(parent, field)) return;
    const name = String(node.name);
    if (!known.has(name)) {
      refuse(names.name, [
        `\`${name}\` from outside of the function`,
        `Pass it as an argument, or as \`constants: { ${name} }\` and read \`this.constants.${name}\`.`,
      ]);
    }
  });
  return { source, parameters };
}

/** A method `name(x) { .. }` of an object literal as a function expression. */
function functionText(text: string): string {
  return /^\s*(?:async\s+)?(?:function\b|\(|[\w$]+\s*=>)/.test(text) ? text : `function ${text.trimStart()}`;
}

function parse(source: string, name: string): SyntaxNode {
  try {
    return parseExpressionAt(source, 0, { ecmaVersion: 2022 }) as unknown as SyntaxNode;
  } catch (cause) {
    throw new HeddleError(
      "config",
      `defineKernel("${name}"): the source must be one JavaScript function; got ${JSON.stringify(source.slice(0, 60))} (${cause instanceof Error ? cause.message : cause}). Pass a function.`,
      { name },
      cause,
    );
  }
}

function refuse(name: string, [what, cure]: readonly [string, string]): never {
  throw new HeddleError(
    "config",
    `defineKernel("${name}"): a kernel must be what gpu.js can translate; got ${what}. ${cure}`,
    { name },
  );
}

/** A loop that gpu.js cannot see the end of stops after 1,000 turns without a word. */
function checkLoop(node: SyntaxNode, { name, hasLoopLimit }: KernelNames): void {
  const isOpen = node.type === "WhileStatement" || node.type === "DoWhileStatement";
  const isFor = node.type === "ForStatement";
  if (hasLoopLimit || (!isOpen && !isFor)) return;
  const test = node.test as SyntaxNode | null;
  const isBounded =
    isFor &&
    test?.type === "BinaryExpression" &&
    ["<", "<=", ">", ">="].includes(String(test.operator)) &&
    (isConstant(test.right as SyntaxNode) || isConstant(test.left as SyntaxNode));
  if (isBounded) return;
  refuse(name, [
    `a ${isFor ? "`for`" : "`while`"} loop without a constant bound`,
    "gpu.js ends it after 1,000 turns: compare with a number or `this.constants.n`, or set settings.loopMaxIterations.",
  ]);
}

/** A number, `this.constants.n`, `this.output.x`, or arithmetic of them. */
function isConstant(node: SyntaxNode): boolean {
  if (node.type === "Literal") return typeof node.value === "number";
  if (node.type === "UnaryExpression") return isConstant(node.argument as SyntaxNode);
  if (node.type === "BinaryExpression")
    return isConstant(node.left as SyntaxNode) && isConstant(node.right as SyntaxNode);
  if (node.type !== "MemberExpression") return false;
  const object = node.object as SyntaxNode;
  const field = object.type === "MemberExpression" ? (object.property as SyntaxNode).name : undefined;
  return (
    (field === "constants" || field === "output") && (object.object as SyntaxNode).type === "ThisExpression"
  );
}

/** The name of a property is no variable. */
function isField(parent: SyntaxNode, field: string): boolean {
  return (
    (parent.type === "MemberExpression" && field === "property" && parent.computed !== true) ||
    (parent.type === "LabeledStatement" && field === "label")
  );
}

function declaredIn(root: SyntaxNode): string[] {
  const names: string[] = [];
  visit(root, (node) => {
    const id = node.type === "VariableDeclarator" ? (node.id as SyntaxNode) : undefined;
    if (id?.type === "Identifier") names.push(String(id.name));
  });
  return names;
}

type Visitor = (node: SyntaxNode, parent: SyntaxNode, field: string) => void;

function visit(root: SyntaxNode, visitor: Visitor): void {
  for (const [field, value] of Object.entries(root)) {
    for (const child of Array.isArray(value) ? value : [value]) {
      if (typeof child !== "object" || child === null || typeof (child as SyntaxNode).type !== "string")
        continue;
      visitor(child as SyntaxNode, root, field);
      visit(child as SyntaxNode, visitor);
    }
  }
}
