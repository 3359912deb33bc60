import { useEffect, useState } from "preact/hooks";
import type { Client, Tokenization } from "./client.js";
import { visibleToken } from "./token-format.js";

/** The tokens of a text that somebody wrote, with their ids; asked for anew a moment after the text changed. */
export function PromptTokens({ client, text }: { client: Client; text: string }) {
  const tokenization = useTokenization(client, text);
  if (tokenization === undefined) return null;
  const { ids, offsets } = tokenization;
  return (
    <div class="tokens as-tokens of-prompt">
      <p class="hint">
        {ids.length} prompt {ids.length === 1 ? "token" : "tokens"}
      </p>
      {ids.map((id, i) => (
        <span class="token" key={i}>
          {visibleToken(text.slice(...(offsets[i] ?? [0, 0])))}
          <small>{id}</small>
        </span>
      ))}
    </div>
  );
}

const settleMs = 250;

function useTokenization(client: Client, text: string): Tokenization | undefined {
  const [tokenization, setTokenization] = useState<Tokenization>();
  useEffect(() => {
    const controller = new AbortController();
    const timer = setTimeout(() => {
      client.tokenize(text, controller.signal).then(setTokenization, () => {}); // shown again at the next change
    }, settleMs);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [client, text]);
  return tokenization;
}
