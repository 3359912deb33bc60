/**
 * Makes a module that is written in hexadecimal digits and exports its memory as `m`.
 *
 * @param morePages  pages of 64 kB that its memory gets beside its own
 * @returns null where the platform forbids WebAssembly, lacks a part of it, or has no such memory
 */
export function instantiate<Exports extends { readonly m: WebAssembly.Memory }>(
  code: string,
  imports: Readonly<Record<string, WebAssembly.ImportValue>> = {},
  morePages = 0,
): Exports | null {
  try {
    const bytes = Uint8Array.from(code.match(/../g) as string[], (digits) => Number.parseInt(digits, 16));
    const module = new WebAssembly.Module(bytes);
    const exports = new WebAssembly.Instance(module, { "": imports }).exports as unknown as Exports;
    exports.m.grow(morePages);
    return exports;
  } catch {
    return null;
  }
}
