import type { TensorType } from "@heddle/tensor";
import {
  argument,
  type CpuFeatures,
  type FunctionBuilder,
  f32,
  i32,
  kernelStep,
  type Local,
  type LoweredKernel,
  type Value,
} from "@heddle/tensor/kernel";
import {
  BLOCK_SIZE,
  blockBytes,
  codePieces,
  isNested,
  PANEL_ROWS,
  presentParts,
  type QuantLayout,
} from "../quant-format.js";
import { formatKey, panelArguments } from "./panel-arguments.js";

/** Bytes of a panel's entry for one group, and of one number in it. */
const scaleBytes = { f16: 2, f32: 4, u8: 1, i8: 1 } as const;

/**
 * Widens rows of a quantised weight to f32: all of them, or those that `ids` name (out of range: zeros).
 *
 * Buffers: ids [n] where given, the weight's tensors, then rows [n, in]. A unit is a row. Twin: `accessPanels`.
 */
export function unpackRowsWasm(
  layout: QuantLayout,
  { parts, ids }: { readonly parts: number; readonly ids?: TensorType },
  features: CpuFeatures,
): LoweredKernel | undefined {
  if (ids !== undefined && ids.dtype !== "i32" && ids.dtype !== "u32") return undefined;
  const first = ids === undefined ? 0 : 1;
  const { inFeatures, outFeatures } = layout;
  const rows = ids === undefined ? outFeatures : ids.shape.reduce((product, extent) => product * extent, 1);
  const tail = inFeatures % BLOCK_SIZE;
  const present = presentParts(layout);
  const args = [
    ...Array.from({ length: first + parts + 1 }, (_, i) => argument.buffer(i)),
    ...panelArguments(layout),
    argument.i32(inFeatures),
    argument.i32(outFeatures),
  ];
  const step = kernelStep(
    {
      key: `quant-unpack:${formatKey(layout)}:${tail}:${ids === undefined ? "all" : "ids"}`,
      features,
      args,
      units: rows,
      grain: 4096 / (inFeatures + 32),
    },
    (f, parameters, { begin, end }) => {
      const p = parameters as readonly Local<"i32">[];
      const at = (i: number) => p[i] ?? begin;
      const addresses = Object.fromEntries(present.map((name, i) => [name, at(first + i)]));
      const [numBlocks, numGroups, numSupers, blocksPerGroup, width, height] = p.slice(first + parts + 1);
      if (!numBlocks || !numGroups || !numSupers || !blocksPerGroup || !width || !height) return;
      f.for(begin, end, 1, (unit) => {
        const target = f.let(i32.add(at(first + parts), i32.shl(i32.mul(unit, width), 2)));
        const row = f.let(ids === undefined ? unit : i32.load(i32.add(at(0), i32.shl(unit, 2))));
        const unpack = () =>
          unpackRow(f, layout, {
            addresses,
            counts: { numBlocks, numGroups, numSupers, blocksPerGroup },
            row,
            target,
            tail,
          });
        if (ids === undefined) unpack();
        else f.if(i32.ltU(row, height), unpack, () => f.fillMemory(target, 0, i32.shl(width, 2)));
      });
    },
  );
  return { steps: [step], scratchBytes: 0 };
}

interface UnpackedRow {
  readonly addresses: Readonly<Record<string, Local<"i32">>>;
  readonly counts: Readonly<Record<"numBlocks" | "numGroups" | "numSupers" | "blocksPerGroup", Local<"i32">>>;
  readonly row: Local<"i32">;
  readonly target: Local<"i32">;
  readonly tail: number;
}

/** Widens one row to f32; `target` is moved behind it. */
export function unpackRow(
  f: FunctionBuilder,
  layout: QuantLayout,
  { addresses, counts, row, target, tail }: UnpackedRow,
): void {
  const panel = f.let(i32.shrU(row, 4));
  const inPanel = f.let(i32.and(row, PANEL_ROWS - 1));
  const lane = f.let(rowByte(layout, inPanel));
  const { numBlocks, numGroups, numSupers, blocksPerGroup } = counts;
  const code = f.let(
    i32.add(addresses.codes ?? row, i32.add(i32.mul(i32.mul(panel, numBlocks), blockBytes(layout)), lane)),
  );
  const entry = (count: Local<"i32">, index: Value<"i32">) =>
    i32.add(i32.shl(i32.add(i32.mul(panel, count), index), 4), inPanel);
  const factor = (name: "scales" | "mins", group: Local<"i32">, block: Local<"i32">) => {
    const bytes = scaleBytes[layout.scaleDType];
    const address = f.let(i32.add(addresses[name] ?? row, i32.mul(entry(numGroups, group), bytes)));
    const own = loadScale(f, layout, address);
    if (!isNested(layout)) return f.let(own);
    const above = addresses[name === "scales" ? "superScales" : "superMins"] ?? row;
    const superIndex = entry(numSupers, i32.shrU(block, 3));
    return f.let(f32.mul(own, f32.load(i32.add(above, i32.shl(superIndex, 2)))));
  };
  const emitBlock = (block: Local<"i32">, count: number) => {
    const halves = layout.groupSize === 16 ? 2 : 1;
    for (let half = 0; half < halves; half++) {
      const group = f.let(halves === 2 ? i32.add(i32.shl(block, 1), half) : i32.divU(block, blocksPerGroup));
      const scale = factor("scales", group, block);
      const min = layout.hasMin ? factor("mins", group, block) : undefined;
      const size = BLOCK_SIZE / halves;
      for (let k = half * size; k < Math.min(count, (half + 1) * size); k++) {
        const centred = f32.convertI32S(i32.sub(loadCode(layout, code, k), layout.offset));
        const scaled = f32.mul(centred, scale);
        f.store("f32", target, min === undefined ? scaled : f32.add(scaled, min), 4 * k);
      }
    }
    f.increase(code, blockBytes(layout));
    f.increase(target, 4 * BLOCK_SIZE);
  };
  const whole = f.let(tail === 0 ? numBlocks : i32.sub(numBlocks, 1));
  const block = f.let(i32.const(0));
  f.advance(block, whole, 1, () => emitBlock(block, BLOCK_SIZE));
  if (tail > 0) emitBlock(block, tail);
}

/** Where a row's codes begin inside a block: what `codePieces` adds for the row, which is the same for every input. */
function rowByte({ codeBits }: QuantLayout, row: Local<"i32">): Value<"i32"> {
  return codeBits === 8
    ? i32.add(i32.shl(i32.shrU(row, 3), 4), i32.shl(i32.and(row, 7), 1))
    : i32.add(i32.shl(i32.shrU(row, 2), 4), i32.shl(i32.and(row, 3), 2));
}

function loadCode(layout: QuantLayout, address: Local<"i32">, k: number): Value<"i32"> {
  const pieces = codePieces(layout, 0, k).map(({ byte, shift, bits, weight }) =>
    layout.codeBits === 8
      ? i32.load8S(address, byte)
      : i32.shl(i32.and(i32.shrU(i32.load8U(address, byte), shift), (1 << bits) - 1), weight),
  );
  return pieces.reduce((sum, piece) => i32.or(sum, piece));
}

/** One stored scale as f32. Half floats get their exponent by a product, exact but for NaN and infinity. */
function loadScale(f: FunctionBuilder, { scaleDType }: QuantLayout, address: Local<"i32">): Value<"f32"> {
  switch (scaleDType) {
    case "f32":
      return f32.load(address);
    case "u8":
      return f32.convertI32S(i32.load8U(address));
    case "i8":
      return f32.convertI32S(i32.load8S(address));
    case "f16": {
      const bits = f.let(i32.load16S(address));
      return f32.mul(f32.reinterpretI32(i32.and(i32.shl(bits, 13), HALF_MASK)), 2 ** 112);
    }
    default:
      return scaleDType satisfies never;
  }
}

/** What is left of a sign-extended half float after a shift by 13: sign, exponent and mantissa in f32's places. */
export const HALF_MASK = 0x8fff_ffff | 0;
