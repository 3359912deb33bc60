import { argument } from "@heddle/tensor/kernel";
import { BLOCK_SIZE, panelCounts, type QuantFormat, type QuantLayout } from "../quant-format.js";

/** Text that tells kernels of one format from those of another. */
export function formatKey({ codeBits, offset, groupSize, scaleDType, hasMin }: QuantFormat): string {
  const group = groupSize <= 32 ? groupSize : "blocks";
  return `${codeBits}-${offset}:${group}:${scaleDType}${hasMin ? ":min" : ""}`;
}

/** Counts that the kernels of a format take as arguments, so that one module serves every shape. */
export function panelArguments(layout: QuantLayout) {
  const { numBlocks, numGroups, numSupers } = panelCounts(layout);
  const blocksPerGroup = Math.max(1, layout.groupSize / BLOCK_SIZE);
  return [numBlocks, numGroups, numSupers, blocksPerGroup].map(argument.i32) as [
    ReturnType<typeof argument.i32>,
    ReturnType<typeof argument.i32>,
    ReturnType<typeof argument.i32>,
    ReturnType<typeof argument.i32>,
  ];
}
