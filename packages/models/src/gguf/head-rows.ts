/**
 * Puts the rows of each head back half by half: row (h, i, p) of a file goes to (h, p, i), where i counts pairs and p is the
 * feature's place in the pair. llama.cpp's converters do the reverse for models that it rotates pair by pair.
 *
 * @param bytes  rows of `rowBytes` each, head after head; an even number for each head
 * @returns new bytes
 */
export function restoreHalves(
  bytes: Uint8Array,
  { numHeads, rowBytes }: { readonly numHeads: number; readonly rowBytes: number },
): Uint8Array {
  return moveRows(bytes, { numHeads, rowBytes, isReverse: false });
}

/** The reverse of `restoreHalves`: half by half becomes pair by pair. */
export function interleaveHalves(
  bytes: Uint8Array,
  { numHeads, rowBytes }: { readonly numHeads: number; readonly rowBytes: number },
): Uint8Array {
  return moveRows(bytes, { numHeads, rowBytes, isReverse: true });
}

function moveRows(
  bytes: Uint8Array,
  {
    numHeads,
    rowBytes,
    isReverse,
  }: { readonly numHeads: number; readonly rowBytes: number; readonly isReverse: boolean },
): Uint8Array {
  const out = new Uint8Array(bytes.byteLength);
  const half = bytes.byteLength / rowBytes / numHeads / 2;
  for (let head = 0; head < numHeads; head++) {
    for (let pair = 0; pair < half; pair++) {
      for (let place = 0; place < 2; place++) {
        const paired = (head * 2 * half + 2 * pair + place) * rowBytes;
        const halved = (head * 2 * half + place * half + pair) * rowBytes;
        const [from, to] = isReverse ? [halved, paired] : [paired, halved];
        out.set(bytes.subarray(from, from + rowBytes), to);
      }
    }
  }
  return out;
}
