import { defineOp, HeddleError, type Op, type Tensor } from "@heddle/tensor";
import { copyBlocksWasm } from "./kernels/copy-blocks.wasm.js";
import { copyBlocksWgsl } from "./kernels/copy-blocks.wgsl.js";

/**
 * Copies blocks of a store [X, ..] onto others, in place: block to[i] becomes block from[i], one after the other.
 *
 * Shapes: from, to [n] int32. Pairs with a block outside of the store are passed over. Not differentiable.
 * @throws HeddleError "shape" if from and to are not two lists of one length
 */
export function copyBlocks(
  store: Tensor,
  { from, to }: { readonly from: Tensor; readonly to: Tensor },
): void {
  copyBlocksOp.apply([store, from, to], {});
}

const copyBlocksOp: Op<Record<string, never>> = defineOp({
  name: "copyBlocks",
  mutates: [0],
  infer([store, from, to]) {
    if (store && from?.shape.length === 1 && to?.shape.length === 1 && from.shape[0] === to.shape[0])
      return [];
    throw new HeddleError(
      "shape",
      `copyBlocks: from and to must be i32 lists of one length; got from [${from?.shape}], to [${to?.shape}]. Name one target for each source.`,
      { from: from?.shape, to: to?.shape },
    );
  },
  evaluate([store, from, to]) {
    if (!store || !from || !to) return;
    const blocks = store.shape[0] ?? 0;
    const size = store.data.length / blocks;
    for (let i = 0; i < from.data.length; i++) {
      const [source, target] = [from.data[i] ?? -1, to.data[i] ?? -1];
      if (source < 0 || source >= blocks || target < 0 || target >= blocks) continue;
      store.data.copyWithin(target * size, source * size, (source + 1) * size);
    }
  },
  kernels: { wasm: copyBlocksWasm, wgsl: copyBlocksWgsl },
});
