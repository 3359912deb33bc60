/**
 * Rounds four numbers of at most 127 in size to the bytes of a word, ties to even: what is added has 2^23 for its leading bit, so that whole
 * numbers are the last bits of the sum. Conversions would take four times as long.
 */
export const roundedCodes = `fn roundedCodes(v: vec4f) -> u32 {
  let codes = bitcast<vec4u>(v + vec4f(12582912.0)) & vec4u(0xffu);
  return codes.x | (codes.y << 8u) | (codes.z << 16u) | (codes.w << 24u);
}`;

/** Function of WGSL that rounds one block of x; `x` is the array of its vectors. Twin: quantize-activations.ts. */
export const quantizedRow = `${roundedCodes}
fn inputQuad(row: u32, quad: u32) -> vec4f {
  return select(vec4f(), x[row + min(quad, P.quads - 1u)], quad < P.quads);
}`;

/** Statements that make `scale` and its `inverse` from the `largest` size of a block; blocks below 2^-100 become zeros. */
export const roundingScale = `let scale = select(0.0, largest / 127.0, largest > 7.888609e-31);
          let inverse = select(0.0, 127.0 / largest, largest > 7.888609e-31);`;

/**
 * Statements that round block `block` of the row of x that begins at vector `row` to int8 codes of 4 words in a vector, two
 * vectors a block at `place`, with its scale and the sums of the codes of both halves, times the scale.
 */
export function roundBlock(row: string, block: string, place: string): string {
  const each = (line: (i: number) => string) => Array.from({ length: 8 }, (_, i) => line(i)).join("\n");
  return `    {
      var top = vec4f();
${each((i) => `      let v${i} = inputQuad(${row}, (${block}) * 8u + ${i}u); top = max(top, abs(v${i}));`)}
      let largest = max(max(top.x, top.y), max(top.z, top.w));
      ${roundingScale}
${each((i) => `      let w${i} = roundedCodes(v${i} * inverse);`)}
      let low = dot4I8Packed(w0, 0x01010101u) + dot4I8Packed(w1, 0x01010101u) + dot4I8Packed(w2, 0x01010101u) + dot4I8Packed(w3, 0x01010101u);
      let high = dot4I8Packed(w4, 0x01010101u) + dot4I8Packed(w5, 0x01010101u) + dot4I8Packed(w6, 0x01010101u) + dot4I8Packed(w7, 0x01010101u);
      xCodes[(${place}) * 2u] = vec4u(w0, w1, w2, w3);
      xCodes[(${place}) * 2u + 1u] = vec4u(w4, w5, w6, w7);
      xScales[${place}] = vec4f(scale, scale * f32(low), scale * f32(high), 0.0);
    }`;
}
