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

/**
 * The right operand of a product on matrix units: codes are widened to halves on their way to workgroup memory.
 *
 * @param first  launch buffer of the weight's first tensor
 */
export function panelSource(layout: QuantLayout, first: number, tiling: Tiling): TileSource {
  const { columns, depth, padding } = tiling;
  const memory = tileMemory({ edge: columns, depth, padding }, { isDenseK: true, lanes: 4 });
  const codes = readCodes(layout, first, { columns, threads: threadsOf(tiling) });
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
  const codes = readCodes(layout, first, { columns: tiling.columns, threads: floatThreads(tiling) });
  const at = (base: string, { row, quad }: CodeGroup, j: number) =>
    `${floatPlace("tileB", tiling, { base, k: `(${quad}) * 4u + ${j}u`, at: row })}[(${row}) % 4u]`;
  return {
    ...codes,
    declarations: `${codes.declarations}
fn floatsOf(codes: u32, scale: f32, minimum: f32) -> vec4f {
  let bytes = (vec4u(codes) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(255u);
  return (vec4f(bytes) - ${zeroOf(layout)}.0) * scale + minimum;
}`,
    keep: (base) =>
      codes.keep(
        (group) => `      { let value = floatsOf(${group.codes}, ${group.scale}, ${group.minimum});
${each(4, (j) => `        ${at(base, group, j)} = value.${"xyzw"[j]};`)} }`,
      ),
  };
}

/** The unsigned code that stands for nothing: codes of 8 bits are read with their sign flipped. */
const zeroOf = ({ codeBits, offset }: QuantLayout) => (codeBits === 8 ? 128 + offset : offset);

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

/** Codes of four neighbouring inputs of an output, as expressions: unsigned bytes of a word. */
interface CodeGroup {
  /** Output inside the tile, and inputs in fours inside the block. */
  readonly row: string;
  readonly quad: string;
  readonly codes: string;
  readonly scale: string;
  readonly minimum: string;
}

/** What a thread does with its sixteenth of a panel's block. */
interface PanelTask {
  registers(i: number): string;
  fetch(i: number): string;
  groups(i: number): readonly Omit<CodeGroup, "row">[];
  /** Output of a group inside the panel. */
  row(i: number, group: number): string;
}

interface Codes {
  readonly buffers: readonly BufferUse[];
  readonly params: Readonly<Record<string, StepParam>>;
  readonly declarations: string;
  readonly setup: string;
  fetch(k: string): string;
  keep(write: (group: CodeGroup) => string): string;
}

/** Reads a block of `columns` outputs at a time: a thread takes 16 bytes of codes (8 bits: 32) of a panel, 16 threads all. */
function readCodes(
  layout: QuantLayout,
  first: number,
  { columns, threads }: { readonly columns: number; readonly threads: number },
): Codes {
  const { numPanels, numBlocks, numGroups, numSupers } = panelCounts(layout);
  const tasks = Math.ceil(columns / threads);
  // With more threads than tasks several do, and write, the same.
  const task = (i: number) => `((thread + ${i * threads}u) % ${columns}u)`;
  const work = layout.codeBits === 8 ? byteTask(layout) : nibbleTask(layout);
  return {
    buffers: partVectors(layout, first),
    params: { numPanels, numBlocks, numGroups, numSupers },
    declarations: scaleFunctions(layout),
    setup: each(
      tasks,
      (i) => `  let bPanel${i} = min(bStart / ${PANEL_ROWS}u + ${task(i)} / 16u, P.numPanels - 1u);
  let bPart${i} = ${task(i)} % 16u;
${work.registers(i)}`,
    ),
    fetch: (k) => `    { let block = (${k}) / ${BLOCK_SIZE}u;
${each(tasks, work.fetch)}
    }`,
    keep: (write) =>
      each(
        tasks,
        (i) => `    { let row = (${task(i)} / 16u) * ${PANEL_ROWS}u;
${work
  .groups(i)
  .map((group, n) => write({ ...group, row: `row + ${work.row(i, n)}` }))
  .join("\n")}
    }`,
      ),
  };
}

const axis = (i: number) => "xyzw"[i] ?? "x";

/** 4 and 6 bits: part (q, g) holds outputs 4 g.. of inputs 4 q.. (low halves) and 16 + 4 q.. (high halves). */
function nibbleTask({ codeBits, groupSize, hasMin }: QuantLayout): PanelTask {
  const isSplit = groupSize < BLOCK_SIZE;
  const halves = isSplit ? [0, 1] : [0];
  const place = (half: number) => (isSplit ? `block * 2u + ${half}u` : `block / ${groupSize / BLOCK_SIZE}u`);
  const vectors = codeBits * 4;
  return {
    registers: (i) =>
      [
        `  var codes${i}: vec4<u32>;${codeBits === 6 ? ` var above${i}: vec4<u32>;` : ""}`,
        ...halves.map((h) => `  var scale${i}_${h}: vec4f;${hasMin ? ` var minimum${i}_${h}: vec4f;` : ""}`),
      ].join("\n"),
    fetch: (i) =>
      [
        `      let start${i} = (bPanel${i} * P.numBlocks + block) * ${vectors}u;`,
        `      codes${i} = codes[start${i} + bPart${i}];`,
        codeBits === 6
          ? `      above${i} = codes[start${i} + 16u + ((bPart${i} >> 2u) & 1u) * 4u + (bPart${i} & 3u)];`
          : "",
        ...halves.map((h) => {
          const at = `bPanel${i}, ${place(h)}, block, bPart${i} & 3u`;
          return `      scale${i}_${h} = scaleOf(${at});${hasMin ? ` minimum${i}_${h} = minOf(${at});` : ""}`;
        }),
      ].join("\n"),
    row: (i, n) => `(bPart${i} & 3u) * 4u + ${n >> 1}u`,
    groups: (i) =>
      Array.from({ length: 8 }, (_, n) => {
        const [j, half] = [n >> 1, n & 1];
        const low = `((codes${i}.${axis(j)} >> ${half * 4}u) & 0x0f0f0f0fu)`;
        const high = `(((above${i}.${axis(j)} >> ((bPart${i} >> 3u) * 2u + ${half * 4}u)) & 0x03030303u) << 4u)`;
        const of = `${i}_${isSplit ? half : 0}.${axis(j)}`;
        return {
          quad: `(bPart${i} >> 2u) + ${half * 4}u`,
          codes: codeBits === 4 ? low : `(${low} | ${high})`,
          scale: `scale${of}`,
          minimum: hasMin ? `minimum${of}` : "0.0",
        };
      }),
  };
}

/** 8 bits: part (t, g) is outputs 8 g.. of inputs 4 t.., two by two in 16 bytes each. */
function byteTask({ groupSize, hasMin }: QuantLayout): PanelTask {
  const place = (i: number) =>
    groupSize < BLOCK_SIZE ? `block * 2u + bPart${i} / 8u` : `block / ${groupSize / BLOCK_SIZE}u`;
  return {
    registers: (i) =>
      [
        `  var codes${i}_0: vec4<u32>; var codes${i}_1: vec4<u32>;`,
        ...[0, 1].map((v) => `  var scale${i}_${v}: vec4f;${hasMin ? ` var minimum${i}_${v}: vec4f;` : ""}`),
      ].join("\n"),
    fetch: (i) =>
      [
        `      let start${i} = (bPanel${i} * P.numBlocks + block) * 32u + (bPart${i} >> 1u) * 4u + (bPart${i} & 1u);`,
        ...[0, 1].map((p) => `      codes${i}_${p} = codes[start${i} + ${p * 2}u] ^ vec4<u32>(0x80808080u);`),
        ...[0, 1].map((v) => {
          const at = `bPanel${i}, ${place(i)}, block, (bPart${i} & 1u) * 2u + ${v}u`;
          return `      scale${i}_${v} = scaleOf(${at});${hasMin ? ` minimum${i}_${v} = minOf(${at});` : ""}`;
        }),
      ].join("\n"),
    row: (i, n) => `(bPart${i} & 1u) * 8u + ${n}u`,
    groups: (i) =>
      Array.from({ length: 8 }, (_, n) => {
        const pair = (p: number) => `((codes${i}_${p}.${axis(n >> 1)} >> ${(n & 1) * 16}u) & 0xffffu)`;
        const of = `${i}_${n >> 2}.${axis(n & 3)}`;
        return {
          quad: `(bPart${i} >> 1u)`,
          codes: `(${pair(0)} | (${pair(1)} << 16u))`,
          scale: `scale${of}`,
          minimum: hasMin ? `minimum${of}` : "0.0",
        };
      }),
  };
}
