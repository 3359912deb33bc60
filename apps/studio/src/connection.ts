import { useEffect, useMemo, useState } from "preact/hooks";
import { type Client, createClient, type ModelInfo, RefusedError } from "./client.js";
import type { Send } from "./page-engine.js";

/** How far the page has come in reaching its server. */
export type Connection =
  | { readonly state: "connecting" }
  | { readonly state: "needsKey"; readonly wasWrong: boolean }
  | { readonly state: "failed"; readonly message: string }
  | { readonly state: "ready"; readonly client: Client; readonly model: ModelInfo };

const storageKey = "heddle-api-key"; // kept until the tab closes

/** Which engine answers: that of the server, or one inside the page. */
export type Host = "server" | "page";

/** The engine inside the page, started when it is first asked for and kept while the page is open. */
function pageSend(): Send {
  let started: Promise<Send> | undefined;
  return async (path, init) => {
    started ??= import("./page-engine.js").then(({ startPageEngine }) => startPageEngine());
    // After a failure the next request tries again.
    started.catch(() => {
      started = undefined;
    });
    return (await started)(path, init);
  };
}

/** Reaches the engine of a host; `useKey` tries again with an API key, `retry` without a change. */
export function useConnection(host: Host): {
  connection: Connection;
  useKey: (key: string) => void;
  retry: () => void;
} {
  const [apiKey, setApiKey] = useState(() => sessionStorage.getItem(storageKey) ?? undefined);
  const [attempt, setAttempt] = useState(0);
  const [connection, setConnection] = useState<Connection>({ state: "connecting" });
  const inPage = useMemo(pageSend, []);
  const client = useMemo(
    () => (host === "page" ? createClient(undefined, inPage) : createClient(apiKey)),
    [apiKey, host],
  );
  useEffect(() => {
    let isCurrent = true;
    setConnection({ state: "connecting" });
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
