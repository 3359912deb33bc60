import { HeddleError } from "./error.js";

/**
 * Decodes standard base64 (padding optional).
 *
 * @throws HeddleError "format" if the text is not base64
 */
export function decodeBase64(text: string): Uint8Array {
  let binary: string;
  try {
    binary = atob(text);
  } catch {
    const shown = text.length > 40 ? `${text.slice(0, 40)}...` : text;
    throw new HeddleError(
      "format",
      `decodeBase64: text must be base64; got ${JSON.stringify(shown)} (${text.length} characters). Check the file for damage.`,
      { length: text.length },
    );
  }
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** Encodes bytes as standard base64 with padding. */
export function encodeBase64(bytes: Uint8Array): string {
  let binary = "";
  for (let at = 0; at < bytes.length; at += 0x8000) {
    binary += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  }
  return btoa(binary);
}
