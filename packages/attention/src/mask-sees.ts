import { arange, type Device, type Tensor } from "@heddle/tensor";
import type { MaskExtents, MaskRule } from "./mask-rule.js";

/**
 * Which keys each query sees, as a tensor: the readable twin of the rules in kernels. Needs memory in T S.
 *
 * @returns bool, broadcasts to [B, H, T, S]
 */
export function seenKeys(
  device: Device,
  rule: MaskRule,
  { inputs, extents }: { readonly inputs: readonly Tensor[]; readonly extents: MaskExtents },
): Tensor {
  const { batch, queryLen, keyLen } = extents;
  const key = arange(device, keyLen, { dtype: "i32" }).reshape([1, 1, 1, keyLen]);
  const query = arange(device, queryLen, { dtype: "i32" }).reshape([1, 1, queryLen, 1]);
  const position = query.add(keyLen - queryLen);
  const input = (index: number, shape: readonly number[]) => inputs[index]?.reshape(shape) as Tensor;
  const sees = (part: MaskRule): Tensor => {
    switch (part.kind) {
      case "band": {
        const after = key.sub(position);
        const right = after.lessEqual(part.right ?? keyLen);
        return part.left === undefined ? right : right.logicalAnd(after.greaterEqual(-part.left));
      }
      case "chunk":
        return quotient(position, part.size).equal(quotient(key, part.size));
      case "firstKeys":
        return key.less(part.count);
      case "keysBelow":
        return key.less(input(part.input, [batch, 1, 1, 1]));
      case "stride": {
        const distance = position.sub(key);
        return quotient(distance, part.period).mul(part.period).equal(distance);
      }
      case "columns":
        return key.sub(quotient(key, part.period).mul(part.period)).greaterEqual(part.period - part.count);
      case "keys":
        return input(part.input, [batch, 1, 1, keyLen]);
      case "queries":
        return input(part.input, [batch, 1, queryLen, 1]);
      case "documents": {
        const ids = input(part.input, [batch, 1, 1, keyLen]);
        const own = input(part.input, [batch, keyLen]).narrow(1, keyLen - queryLen, keyLen);
        return ids.equal(own.reshape([batch, 1, queryLen, 1])).logicalAnd(ids.greaterEqual(0));
      }
      case "blocks":
        return spreadBlocks(inputs[part.input] as Tensor, part.size, extents);
      case "dense":
        return inputs[part.input] as Tensor;
      case "all":
      case "any":
        return part.rules
          .map(sees)
          .reduce((a, b) => (part.kind === "all" ? a.logicalAnd(b) : a.logicalOr(b)));
      default:
        return part satisfies never;
    }
  };
  return sees(rule);
}

/** floor(x / divisor) of whole numbers. */
function quotient(x: Tensor, divisor: number): Tensor {
  // + 0.5: no quotient comes near a whole number from below.
  return x.cast(x.device.defaultFloat).add(0.5).div(divisor).floor().cast("i32");
}

/** Repeats each element of a layout over its block: [H?, blocks, blocks] -> [1, H or 1, T, S]. */
function spreadBlocks(layout: Tensor, size: number, { queryLen, keyLen }: MaskExtents): Tensor {
  const { device } = layout;
  const blockOf = (length: number) => quotient(arange(device, length, { dtype: "i32" }), size);
  const [rows = 0, columns = 0] = layout.shape.slice(-2);
  const heads = layout.rank === 3 ? (layout.shape[0] ?? 1) : 1;
  const spread = layout
    .reshape([heads, rows, columns])
    .cast("i32")
    .take(blockOf(queryLen), { axis: 1 })
    .take(blockOf(keyLen), { axis: 2 });
  return spread.cast("bool").reshape([1, heads, queryLen, keyLen]);
}
