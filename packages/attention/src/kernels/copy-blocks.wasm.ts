import { byteWidth, sizeOf } from "@heddle/tensor";
import { assemble, i32, type WasmKernelFactory } from "@heddle/tensor/kernel";

/** WebAssembly kernel of `copyBlocks` for any dtype: one unit makes all copies, in order. */
export const copyBlocksWasm: WasmKernelFactory<Record<string, never>> = (call, features) => {
  const [store, from] = call.inputs;
  if (store === undefined || from === undefined) return undefined;
  const numBlocks = store.shape[0] ?? 0;
  const blockBytes = (sizeOf(store.shape) / numBlocks) * byteWidth(store.dtype);
  const emit = () =>
    assemble({ sharedMemory: features.sharedMemory }, (f) => {
      const next = () => f.param("i32");
      const [base, sources, targets] = [next(), next(), next()];
      const [count, blocks, bytes, begin, end] = [next(), next(), next(), next(), next()];
      f.for(begin, end, 1, () => {
        f.for(0, count, 1, (i) => {
          const source = f.let(i32.load(i32.add(sources, i32.shl(i, 2))));
          const target = f.let(i32.load(i32.add(targets, i32.shl(i, 2))));
          f.if(i32.and(i32.ltU(source, blocks), i32.ltU(target, blocks)), () =>
            f.copyMemory(i32.add(base, i32.mul(target, bytes)), i32.add(base, i32.mul(source, bytes)), bytes),
          );
        });
      });
    });
  const buffers = [0, 1, 2].map((index) => ({ kind: "buffer", index }) as const);
  const numbers = [from.shape[0] ?? 0, numBlocks, blockBytes].map(
    (value) => ({ kind: "i32", value }) as const,
  );
  return {
    steps: [
      {
        module: { key: `copy-blocks shared ${features.sharedMemory}`, emit },
        args: [...buffers, ...numbers],
        units: 1,
        grain: 1,
      },
    ],
  };
};
