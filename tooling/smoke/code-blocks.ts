/** A block of code in a Markdown file; `line` is the block's first line of code. */
export interface CodeBlock {
  readonly file: string;
  readonly line: number;
  readonly code: string;
}

/** Finds the blocks whose fence says `ts run`. */
export function runnableBlocks(file: string, markdown: string): CodeBlock[] {
  const fences = [...markdown.matchAll(/^```ts run\n([\s\S]*?)^```$/gm)];
  return fences.map((fence) => ({
    file,
    line: markdown.slice(0, fence.index).split("\n").length + 1,
    code: fence[1] ?? "",
  }));
}

/**
 * Compares what a block printed with what it promises: `console.log(x); // text` promises a line `text`, in
 * order, up to spaces; a comment that begins with "e.g." promises nothing. Returns the promises not kept.
 */
export function missingLines(code: string, printed: string): string[] {
  const promised = [...code.matchAll(/^\s*console\.log\(.*\);? \/\/ (?!e\.g\.)(.+)$/gm)].map(
    (match) => match[1] ?? "",
  );
  const squeeze = (text: string) => text.replace(/\s+/g, "");
  const lines = printed.split("\n").map(squeeze);
  return promised.filter((text) => {
    const at = lines.indexOf(squeeze(text));
    if (at >= 0) lines.splice(0, at + 1);
    return at < 0;
  });
}
