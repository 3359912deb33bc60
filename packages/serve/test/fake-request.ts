import { createRequest } from "../src/admission.js";
import type { Request } from "../src/request.js";
import { byteTokenizer } from "./fake-model.js";

/** A queued request with a prompt of so many tokens. */
export function fakeRequest(id: string, numPromptTokens: number): Request {
  const prompt = Array.from({ length: numPromptTokens }, (_, i) => i % 256);
  const limits = { vocabSize: 256, maxSeqLen: 10_000 };
  return createRequest(
    { prompt },
    { id, limits, tokenizer: byteTokenizer, decoder: {}, onAbandon: () => {}, nowMs: 0 },
  );
}
