import { ggmlTypeInfo } from "@heddle/tensor";
import {
  argument,
  type CpuFeatures,
  i32,
  kernelStep,
  type Local,
  type LoweredKernel,
} from "@heddle/tensor/kernel";
import type { BlockLayout } from "../panels-from-blocks.js";
import { PANEL_ROWS, type PartName, panelCounts, presentParts, type QuantLayout } from "../quant-format.js";
import { type BlockWriter, writers } from "./pack-types.js";

type I32 = Local<"i32">;

/**
 * Packs stored blocks into panels. Buffers: bytes that hold whole panels of rows, `range` (see `packBlocksOp`), then the
 * weight's tensors, which it changes in place. A unit is a panel. Twin: `fillPanels`.
 */
export function packBlocksWasm(
  { type, ...layout }: BlockLayout,
  mostPanels: number,
  features: CpuFeatures,
): LoweredKernel | undefined {
  const writer = writers[type];
  if (writer === undefined) return undefined;
  const { blockSize, blockBytes } = ggmlTypeInfo(type);
  const blocksPerRow = layout.inFeatures / blockSize;
  const rowBytes = blocksPerRow * blockBytes;
  const names = presentParts(layout);
  const strides = stridesOf(layout, writer);
  const args = [
    ...Array.from({ length: names.length + 2 }, (_, i) => argument.buffer(i)),
    argument.i32(rowBytes),
    argument.i32(blocksPerRow),
    ...names.map((name) => argument.i32(strides[name].panel)),
  ];
  const step = kernelStep(
    {
      key: `quant-pack:${type}`,
      features,
      args,
      units: mostPanels,
      grain: 4096 / (blocksPerRow * blockSize),
    },
    (f, parameters, { begin, end }) => {
      const p = parameters as readonly Local<"i32">[];
      const at = (i: number) => p[i] ?? begin;
      const [from, first, count] = [0, 4, 8].map((byte) => f.let(i32.load(at(1), byte))) as [I32, I32, I32];
      f.if(i32.ltS(count, end), () => f.set(end, count));
      const [bytes, blocks] = [at(names.length + 2), at(names.length + 3)];
      f.for(begin, end, 1, (unit) => {
        const panel = f.let(i32.add(first, unit));
        const source = f.let(i32.add(i32.add(at(0), from), i32.mul(i32.shl(unit, 4), bytes)));
        const targets: Partial<Record<PartName, Local<"i32">>> = {};
        for (const [i, name] of names.entries()) {
          targets[name] = f.let(i32.add(at(i + 2), i32.mul(panel, at(names.length + 4 + i))));
        }
        f.for(0, blocks, 1, () => {
          writer.write({ f, source, rowBytes: bytes, targets });
          f.increase(source, blockBytes);
          for (const name of names) {
            const target = targets[name];
            if (target !== undefined) f.increase(target, strides[name].block);
          }
        });
      });
    },
  );
  return { steps: [step], scratchBytes: 0 };
}

const byteWidths = { f16: 2, f32: 4, u8: 1, i8: 1 } as const;

/** Bytes from one panel to the next and from one stored block to the next, in each tensor. */
function stridesOf(
  layout: QuantLayout,
  { codeBytes, groups }: BlockWriter,
): Record<PartName, { readonly panel: number; readonly block: number }> {
  const { numBlocks, numGroups, numSupers } = panelCounts(layout);
  const scale = PANEL_ROWS * byteWidths[layout.scaleDType];
  const perGroup = { panel: numGroups * scale, block: groups * scale };
  const perSuper = { panel: numSupers * PANEL_ROWS * 4, block: PANEL_ROWS * 4 };
  return {
    codes: { panel: numBlocks * layout.codeBits * 64, block: codeBytes },
    scales: perGroup,
    mins: perGroup,
    superScales: perSuper,
    superMins: perSuper,
  };
}
