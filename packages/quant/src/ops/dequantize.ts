import { concat, defineOp, type Op, type Tensor, take } from "@heddle/tensor";
import { unpackRowsWasm } from "../kernels/unpack-rows.wasm.js";
import { unpackRowsWgsl } from "../kernels/unpack-rows.wgsl.js";
import { accessPanels, type PanelArrays } from "../panels.js";
import {
  BLOCK_SIZE,
  isNested,
  nameParts,
  PANEL_ROWS,
  type PartName,
  panelCounts,
  type QuantLayout,
  SUPER_SIZE,
} from "../quant-format.js";

/** What widening ops need: the layout and the dtype of the result, f64 on the reference device only. */
export interface WidenParams extends QuantLayout {
  readonly dtype: "f32" | "f64";
}

/**
 * Widens a quantised weight: w = (code - offset) * scale + min.
 *
 * Inputs: the weight's tensors. Shapes: -> [out, in].
 */
export const dequantizeOp: Op<WidenParams> = defineOp({
  name: "dequantize",
  infer: (_inputs, { outFeatures, inFeatures, dtype }) => [{ shape: [outFeatures, inFeatures], dtype }],
  evaluate(inputs, [output], layout) {
    if (output === undefined) return;
    const arrays: PanelArrays = nameParts(
      layout,
      inputs.map(({ data }) => data),
    );
    const { weight } = accessPanels(layout, arrays);
    const { outFeatures, inFeatures } = layout;
    for (let row = 0; row < outFeatures; row++)
      for (let k = 0; k < inFeatures; k++) output.data[row * inFeatures + k] = weight(row, k);
  },
  reference: (parts, layout) => [dequantizeByOps(layout, nameParts(layout, parts))],
  vjp: () => [],
  kernels: {
    wasm: ({ params, inputs }, features) => unpackRowsWasm(params, { parts: inputs.length }, features),
    wgsl: (call) => unpackRowsWgsl(call.params, call, { hasIds: false }),
  },
});

/** The same as a composition of ops, for devices without a kernel. */
function dequantizeByOps(layout: WidenParams, parts: Partial<Record<PartName, Tensor>>): Tensor {
  const { inFeatures, outFeatures, groupSize, offset } = layout;
  const { numPanels, numBlocks } = panelCounts(layout);
  const depth = numBlocks * BLOCK_SIZE;
  const { codes, scales, mins, superScales, superMins } = parts;
  if (codes === undefined || scales === undefined) return dequantizeOp.call([], layout);
  const widen = (values: Tensor, repeats: number) => {
    const [panels = 0, count = 0] = values.shape;
    const wide = values.cast("f32").reshape([panels, count, 1, PANEL_ROWS]);
    return wide
      .broadcastTo([panels, count, repeats, PANEL_ROWS])
      .reshape([panels, count * repeats, PANEL_ROWS])
      .narrow(1, 0, depth);
  };
  const factor = (values: Tensor, above: Tensor | undefined) => {
    const own = widen(values, groupSize);
    return above === undefined ? own : own.mul(widen(above, SUPER_SIZE));
  };
  const centred = codesByOps(layout, codes).reshape([numPanels, depth, PANEL_ROWS]).sub(offset);
  const scaled = centred.mul(factor(scales, isNested(layout) ? superScales : undefined));
  const whole = mins === undefined ? scaled : scaled.add(factor(mins, superMins));
  return whole
    .transpose([0, 2, 1])
    .reshape([numPanels * PANEL_ROWS, depth])
    .narrow(0, 0, outFeatures)
    .narrow(1, 0, inFeatures);
}

/** Codes as f32 [panels, blocks, 32 inputs, 16 rows]; bits are taken apart by arithmetic, exact in f32. */
function codesByOps({ codeBits }: QuantLayout, codes: Tensor): Tensor {
  const [panels = 0, blocks = 0] = codes.shape;
  const lead = [panels, blocks] as const;
  const bytes = codes.cast("f32");
  if (codeBits === 8) {
    const signed = bytes.sub(bytes.greaterEqual(128).cast("f32").mul(256));
    // [input pair, row / 8, row % 8, input % 2] -> [input pair, input % 2, row]
    return signed
      .reshape([...lead, 16, 2, 8, 2])
      .transpose([0, 1, 2, 5, 3, 4])
      .reshape([...lead, BLOCK_SIZE, PANEL_ROWS]);
  }
  /** Splits bytes into `parts` fields of equal width, lowest first: [.., parts, n]. */
  const fields = (packed: Tensor, parts: number) => {
    const base = 256 ** (1 / parts);
    const length = packed.shape[2] ?? 0;
    const each = Array.from({ length: parts }, (_, i) => {
      const above = packed.div(base ** i).floor();
      return above.sub(above.div(base).floor().mul(base)).reshape([...lead, 1, length]);
    });
    return concat(each, { axis: 2 });
  };
  // [field, quad, row / 4, row % 4, input % 4] -> [field, quad, input % 4, row]
  const ordered = (split: Tensor, quads: number) =>
    split
      .reshape([...lead, 8 / quads, quads, 4, 4, 4])
      .transpose([0, 1, 2, 3, 6, 4, 5])
      .reshape([...lead, BLOCK_SIZE, PANEL_ROWS]);
  const low = ordered(fields(bytes.narrow(2, 0, 256), 2), 4);
  if (codeBits === 4) return low;
  return low.add(ordered(fields(bytes.narrow(2, 256, 384), 4), 2).mul(16));
}

/**
 * Looks up rows of a quantised table.
 *
 * Inputs: ids [..] i32 or u32, then the weight's tensors. Shapes: -> [.., in]; an id out of range gives zeros.
 */
export const takeRowsOp: Op<WidenParams> = defineOp({
  name: "takeQuantRows",
  infer: ([ids], { inFeatures, dtype }) => [{ shape: [...(ids?.shape ?? []), inFeatures], dtype }],
  evaluate([ids, ...parts], [output], layout) {
    if (ids === undefined || output === undefined) return;
    const { weight } = accessPanels(
      layout,
      nameParts(
        layout,
        parts.map(({ data }) => data),
      ),
    );
    const { outFeatures, inFeatures } = layout;
    ids.data.forEach((row, i) => {
      if (row < 0 || row >= outFeatures) return;
      for (let k = 0; k < inFeatures; k++) output.data[i * inFeatures + k] = weight(row, k);
    });
  },
  reference: ([ids, ...parts], layout) => (ids === undefined ? [] : [takeByOps(layout, ids, parts)]),
  vjp: () => [],
  kernels: {
    wasm: ({ params, inputs: [ids, ...parts] }, features) =>
      ids && unpackRowsWasm(params, { parts: parts.length, ids }, features),
    wgsl: (call) => unpackRowsWgsl(call.params, call, { hasIds: true }),
  },
});

/** Widens the panels in which the rows lie, then picks the rows. */
function takeByOps(layout: WidenParams, ids: Tensor, parts: readonly Tensor[]): Tensor {
  const flat = ids.cast("i32").reshape([-1]);
  const count = flat.shape[0] ?? 0;
  const panel = flat.div(PANEL_ROWS);
  const isInside = flat.greaterEqual(0).logicalAnd(flat.less(layout.outFeatures));
  const picked = parts.map((part) => take(part, panel));
  const wide = dequantizeOp.call(picked, { ...layout, outFeatures: count * PANEL_ROWS });
  const rows = wide.reshape([count, PANEL_ROWS, layout.inFeatures]);
  const inPanel = flat.sub(panel.mul(PANEL_ROWS)).reshape([count, 1, 1]);
  const index = inPanel.broadcastTo([count, 1, layout.inFeatures]);
  const kept = rows.gather(index, { axis: 1 }).reshape([count, layout.inFeatures]);
  const shape = [...ids.shape, layout.inFeatures];
  return kept.mul(isInside.cast("f32").reshape([count, 1])).reshape(shape);
}
