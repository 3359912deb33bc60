import {
  type BufferUse,
  each,
  type FloatSource,
  floatPlace,
  floatThreads,
  type RegisterTiling,
  type StepParam,
  type TileSource,
  type Tiling,
  threadsOf,
  tileMemory,
} from "@heddle/tensor/kernel";
import { BLOCK_SIZE, PANEL_ROWS, panelCounts, type QuantLayout } from "../quant-format.js";
import { partVectors, scaleFunctions } from "./panel-buffers.wgsl.js";
import { floatsFunction, type PanelCodes, panelTask, zeroOf } from "./panel-codes.wgsl.js";

/**
 * The right operand of a product on matrix units: codes are widened to halves on their way to workgroup memory.
 *
 * @param first  launch buffer of the weight's first tensor
 */
export function panelSource(layout: QuantLayout, first: number, tiling: Tiling): TileSource {
  const { columns, depth, padding } = tiling;
  const memory = tileMemory({ edge: columns, depth, padding }, { isDenseK: true, lanes: 4 });
  const codes = readCodes(layout, first, { columns, depth, threads: threadsOf(tiling) });
  const at = (base: string, { row, quad }: CodeGroup) =>
    `tiles[${base === "0u" ? "" : `${base} + `}(${row}) * ${memory.stride}u + ${quad}]`;
  return {
    ...codes,
    memory,
    declarations: `${codes.declarations}\n${halvesFunction(layout)}`,
    keep: (base) =>
      codes.keep(
        (group) =>
          `      ${at(base, group)} = widenedCodes(${group.codes}, ${group.scale}, ${group.minimum});`,
      ),
  };
}

/** The same for products in f32. */
export function floatPanelSource(layout: QuantLayout, first: number, tiling: RegisterTiling): FloatSource {
  const { columns, depth } = tiling;
  const codes = readCodes(layout, first, { columns, depth, threads: floatThreads(tiling) });
  const at = (base: string, { row, quad }: CodeGroup, j: number) =>
    `${floatPlace("tileB", tiling, { base, k: `(${quad}) * 4u + ${j}u`, at: row })}[(${row}) % 4u]`;
  return {
    ...codes,
    declarations: `${codes.declarations}\n${floatsFunction(layout)}`,
    keep: (base) =>
      codes.keep(
        (group) => `      { let value = floatsOf(${group.codes}, ${group.scale}, ${group.minimum});
${each(4, (j) => `        ${at(base, group, j)} = value.${"xyzw"[j]};`)} }`,
      ),
  };
}

/** Four codes in bytes as two words of halves, rounded once: 0x6400 | n is the half 1024 + n. */
const halvesFunction = (
  layout: QuantLayout,
) => `fn widenedCodes(codes: u32, scale: f32, minimum: f32) -> vec2<u32> {
  let low = halvesOf((codes & 0xffu) | ((codes & 0xff00u) << 8u) | 0x64006400u);
  let high = halvesOf(((codes >> 16u) & 0xffu) | ((codes >> 8u) & 0xff0000u) | 0x64006400u);
  let zero = Half2(${1024 + zeroOf(layout)}.0);
  let s = bothHalves(scale);
  let m = bothHalves(minimum);
  return vec2<u32>(bitsOf(fma(low - zero, s, m)), bitsOf(fma(high - zero, s, m)));
}`;

/** The same with the output inside the tile. */
interface CodeGroup extends PanelCodes {
  readonly row: string;
}

interface Codes {
  readonly buffers: readonly BufferUse[];
  readonly params: Readonly<Record<string, StepParam>>;
  readonly declarations: string;
  readonly setup: string;
  fetch(k: string): string;
  keep(write: (group: CodeGroup) => string): string;
}

/**
 * Reads `columns` outputs of the blocks of a slice at a time: a thread takes 16 bytes of codes (8 bits: 32) of a panel's block, 16 threads
 * all. Blocks behind the last read that one again: x has zeros there.
 */
function readCodes(
  layout: QuantLayout,
  first: number,
  { columns, depth, threads }: { readonly columns: number; readonly depth: number; readonly threads: number },
): Codes {
  const { numPanels, numBlocks, numGroups, numSupers } = panelCounts(layout);
  const blocks = depth / BLOCK_SIZE;
  const tasks = Math.ceil((columns * blocks) / threads);
  // With more threads than tasks several do, and write, the same.
  const task = (i: number) => `((thread + ${i * threads}u) % ${columns * blocks}u)`;
  const output = (i: number) => `(${task(i)} % ${columns}u)`;
  const ownBlock = (i: number) => `(${task(i)} / ${columns}u)`;
  const isWhole = numBlocks % blocks === 0;
  const block = (i: number) => {
    const at = blocks === 1 ? "first" : `first + ${ownBlock(i)}`;
    return isWhole ? at : `min(${at}, P.numBlocks - 1u)`;
  };
  const work = panelTask(layout);
  return {
    buffers: partVectors(layout, first),
    params: { numPanels, numBlocks, numGroups, numSupers },
    declarations: scaleFunctions(layout),
    setup: each(
      tasks,
      (i) => `  let bPanel${i} = min(bStart / ${PANEL_ROWS}u + ${output(i)} / 16u, P.numPanels - 1u);
  let bPart${i} = ${output(i)} % 16u;
${work.registers(i)}`,
    ),
    fetch: (k) => `    { let first = (${k}) / ${BLOCK_SIZE}u;
${each(
  tasks,
  (i) => `      { let block = ${block(i)};
${work.fetch(i)} }`,
)}
    }`,
    keep: (write) =>
      each(
        tasks,
        (i) => `    { let row = (${output(i)} / 16u) * ${PANEL_ROWS}u;
${work
  .groups(i)
  .map((group) =>
    write({
      ...group,
      quad: blocks === 1 ? group.quad : `${ownBlock(i)} * ${BLOCK_SIZE / 4}u + ${group.quad}`,
      row: `row + ${work.firstOutput(i)} + ${group.output}u`,
    }),
  )
  .join("\n")}
    }`,
      ),
  };
}
