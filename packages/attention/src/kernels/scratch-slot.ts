import {
  assemble,
  atomic,
  type CpuFeatures,
  type FunctionBuilder,
  i32,
  type KernelStep,
  type Local,
} from "@heddle/tensor/kernel";

const alignment = 64;

/**
 * Private memory of the threads of one launch: one slot a thread, however many units there are.
 *
 * The scratch begins with a lock word per slot; `clearSteps` set them free, `emitWithSlot` takes one for a call of `run`.
 */
export interface ScratchSlots {
  readonly count: number;
  readonly slotBytes: number;
  readonly totalBytes: number;
}

export function scratchSlots(features: CpuFeatures, slotBytes: number): ScratchSlots {
  const rounded = Math.ceil(slotBytes / alignment) * alignment;
  const count = features.sharedMemory ? features.threads : 1;
  return { count, slotBytes: rounded, totalBytes: headerBytes(count) + count * rounded };
}

function headerBytes(count: number): number {
  return Math.ceil((count * 4) / alignment) * alignment;
}

/** Frees every slot; must run before the step that uses them. None where one thread needs no lock. */
export function clearSteps(slots: ScratchSlots, features: CpuFeatures): readonly KernelStep[] {
  if (!features.sharedMemory) return [];
  const bytes = headerBytes(slots.count);
  const emit = () =>
    assemble({ sharedMemory: features.sharedMemory }, (f) => {
      const [header] = [f.param("i32"), f.param("i32"), f.param("i32")];
      f.fillMemory(header, 0, bytes);
    });
  const step: KernelStep = {
    module: { key: `attention-clear-slots ${bytes} shared ${features.sharedMemory}`, emit },
    args: [{ kind: "scratch", byteOffset: 0 }],
    units: 1,
    grain: 1,
  };
  return [step];
}

/** Emits: wait for a free slot, run the body with its address, free it. `scratch` is the address of the header. */
export function emitWithSlot(
  f: FunctionBuilder,
  { slots, scratch, isShared }: { slots: ScratchSlots; scratch: Local<"i32">; isShared: boolean },
  body: (slot: Local<"i32">) => void,
): void {
  const index = f.let(i32.const(0));
  const lock = i32.add(scratch, i32.shl(index, 2));
  if (isShared) {
    f.loop((again) => {
      f.if(atomic.compareExchange(lock, 0, 1), () => {
        f.set(index, i32.remU(i32.add(index, 1), slots.count));
        f.branch(again);
      });
    });
  }
  const slot = f.let(i32.add(scratch, i32.add(i32.mul(index, slots.slotBytes), headerBytes(slots.count))));
  body(slot);
  if (isShared) f.atomicStore(lock, 0);
}
