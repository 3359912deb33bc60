import { useEffect, useMemo, useState } from "preact/hooks";
import { type Client, createClient, type ModelInfo, RefusedError } from "./client.js";

/** How far the page has come in reaching its server. */
export type Connection =
  | { readonly state: "connecting" }
  | { readonly state: "needsKey"; readonly wasWrong: boolean }
  | { readonly state: "failed"; readonly message: string }
  | { readonly state: "ready"; readonly client: Client; readonly model: ModelInfo };

const storageKey = "heddle-api-key"; // kept until the tab closes

/** Reaches the server; `useKey` tries again with an API key, `retry` without a change. */
export function useConnection(): {
  connection: Connection;
  useKey: (key: string) => void;
  retry: () => void;
} {
  const [apiKey, setApiKey] = useState(() => sessionStorage.getItem(storageKey) ?? undefined);
  const [attempt, setAttempt] = useState(0);
  const [connection, setConnection] = useState<Connection>({ state: "connecting" });
  const client = useMemo(() => createClient(apiKey), [apiKey]);
  useEffect(() => {
    let isCurrent = true;
    connect(client, apiKey !== undefined).then((next) => {
      if (isCurrent) setConnection(next);
    });
    return () => {
      isCurrent = false;
    };
  }, [client, attempt]);
  return {
    connection,
    retry: () => setAttempt(attempt + 1),
    useKey(key) {
      sessionStorage.setItem(storageKey, key);
      setApiKey(key);
      setAttempt(attempt + 1);
    },
  };
}

async function connect(client: Client, hasKey: boolean): Promise<Connection> {
  try {
    return { state: "ready", client, model: await client.model() };
  } catch (error) {
    if (error instanceof RefusedError && error.status === 401) return { state: "needsKey", wasWrong: hasKey };
    return { state: "failed", message: error instanceof Error ? error.message : String(error) };
  }
}
