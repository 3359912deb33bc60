/** Writes texts as UTF-8; a lone surrogate becomes the three bytes of U+FFFD. */
export const encoder: TextEncoder = /* @__PURE__ */ new TextEncoder();

/** Reads whole texts from UTF-8, without a byte order mark that they begin with. */
export const decoder: TextDecoder = /* @__PURE__ */ new TextDecoder();

/** Number of a text's bytes in UTF-8. */
export const byteLength = (text: string): number => encoder.encode(text).length;
