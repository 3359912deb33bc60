/** Node's Buffer, as far as it is needed here. */
interface PlatformBuffer {
  from(bytes: ArrayBuffer): TextCopier;
  /** Memory of its own that was not cleared. */
  allocUnsafeSlow(size: number): { readonly buffer: ArrayBuffer };
}

/** Copies a text as UTF-16. */
interface TextCopier {
  write(text: string, offset: number, encoding: "utf16le"): number;
}

/** Node's Buffer, or what stands for it elsewhere; undefined: there is none. */
export const platformBuffer = (globalThis as { readonly Buffer?: PlatformBuffer }).Buffer;
