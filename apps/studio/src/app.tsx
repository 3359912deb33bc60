import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { AttentionView } from "./attention-view.js";
import { ChatView } from "./chat-view.js";
import type { Client, ModelInfo } from "./client.js";
import { CompletionView } from "./completion-view.js";
import { type Connection, type Host, useConnection } from "./connection.js";
import { EnginePanel } from "./engine-panel.js";
import { HostSwitch } from "./host-switch.js";
import { LensView } from "./lens-view.js";
import { type Place, places, usePlace } from "./place.js";
import { initialSampling, requestFields } from "./sampling.js";
import { SamplingPanel } from "./sampling-panel.js";
import { Switch } from "./switch.js";

/** The whole page. */
export function App() {
  const [host, setHost] = useState<Host>("server");
  const { connection, useKey, retry } = useConnection(host);
  const place = usePlace();
  return (
    <>
      <a class="skip-link" href="#main">
        Skip to the {place === "tokenizers" ? "tokenizers" : "playground"}
      </a>
      <Header model={connection.state === "ready" ? connection.model : undefined} place={place} />
      <main id="main" tabIndex={-1}>
        {place === "tokenizers" ? (
          <TokenizerPlace />
        ) : (
          <>
            <HostSwitch host={host} onChange={setHost} />
            <PlaygroundPlace
              connection={connection}
              host={host}
              place={place}
              onKey={useKey}
              onRetry={retry}
            />
          </>
        )}
      </main>
    </>
  );
}

function PlaygroundPlace({ connection, host, place, onKey, onRetry }: PlaygroundPlaceProps) {
  return (
    <>
      {connection.state === "connecting" && (
        <p class="notice">
          {host === "server" ? "Reaching the server …" : "Loading the model into this page …"}
        </p>
      )}
      {connection.state === "needsKey" && <KeyForm wasWrong={connection.wasWrong} onKey={onKey} />}
      {connection.state === "failed" && (
        <div class="notice" role="alert">
          <p>
            {host === "server" ? "The server does not answer" : "The engine in this page does not start"}:{" "}
            {connection.message}
          </p>
          <button type="button" onClick={onRetry}>
            Try again
          </button>
        </div>
      )}
      {connection.state === "ready" && (
        <ModelPlace
          key={connection.model.id}
          client={connection.client}
          model={connection.model}
          place={place}
        />
      )}
    </>
  );
}

/** What is shown of a model that answers. */
function ModelPlace({ client, model, place }: { client: Client; model: ModelInfo; place: Place }) {
  if (place === "attention") return <AttentionView client={client} model={model} />;
  if (place === "lens") return <LensView client={client} model={model} />;
  return <Playground client={client} model={model} />;
}

interface PlaygroundPlaceProps {
  readonly connection: Connection;
  readonly host: Host;
  readonly place: Place;
  readonly onKey: (key: string) => void;
  readonly onRetry: () => void;
}

/** The bench for tokenizers, which is fetched when it is first wanted. */
function TokenizerPlace() {
  const [Page, setPage] = useState<ComponentType>();
  useEffect(() => {
    void import("./tokenizers/tokenizer-page.js").then(({ TokenizerPage }) => setPage(() => TokenizerPage));
  }, []);
  return Page === undefined ? <p class="notice">Setting up …</p> : <Page />;
}

function Header({ model, place }: { model: ModelInfo | undefined; place: Place }) {
  const facts = Object.entries(model?.facts ?? {}).map(([name, value]) => `${name} ${value}`);
  return (
    <header class="top">
      <h1>
        <Mark />
        Heddle <span>Studio</span>
      </h1>
      <nav class="places" aria-label="Places">
        {places.map(({ name, text }) => (
          <a key={name} href={`#${name}`} aria-current={name === place ? "page" : undefined}>
            {text}
          </a>
        ))}
      </nav>
      {model !== undefined && place !== "tokenizers" && (
        <p class="model">
          <strong>{model.id}</strong>
          <span>{[...facts, `context ${model.maxSeqLen.toLocaleString("en")}`].join(", ")}</span>
        </p>
      )}
    </header>
  );
}

/** Threads going over and under each other. */
function Mark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
      <path d="M8 3v10M8 19v10M16 3v4M16 13v6M16 25v4M24 3v10M24 19v10" />
      <path class="weft" d="M3 10h2M11 10h18M3 16h10M19 16h10M3 22h2M11 22h18" />
    </svg>
  );
}

type Mode = "complete" | "chat";

function Playground({ client, model }: { client: Client; model: ModelInfo }) {
  const [mode, setMode] = useState<Mode>(model.prefersChat ? "chat" : "complete");
  const [sampling, setSampling] = useState(() => initialSampling(model));
  const fields = requestFields(sampling);
  return (
    <div class="layout">
      <div class="desk">
        <Switch
          label="Playground"
          options={[
            { value: "complete", text: "Complete" },
            {
              value: "chat",
              text: model.hasChat ? "Chat" : "Chat: not with this model",
              isDisabled: !model.hasChat,
            },
          ]}
          value={mode}
          onChange={setMode}
        />
        {mode === "complete" ? (
          <CompletionView client={client} fields={fields} />
        ) : (
          <ChatView client={client} fields={fields} />
        )}
      </div>
      <aside>
        <EnginePanel client={client} />
        <SamplingPanel sampling={sampling} maxSeqLen={model.maxSeqLen} onChange={setSampling} />
      </aside>
    </div>
  );
}

function KeyForm({ wasWrong, onKey }: { wasWrong: boolean; onKey: (key: string) => void }) {
  const [key, setKey] = useState("");
  return (
    <form
      class="notice"
      onSubmit={(event) => {
        event.preventDefault();
        onKey(key);
      }}
    >
      <label>
        This server asks for its API key.
        <input
          type="password"
          autocomplete="off"
          value={key}
          aria-invalid={wasWrong}
          onInput={(event) => setKey(event.currentTarget.value)}
        />
      </label>
      {wasWrong && <p role="alert">That was not the key.</p>}
      <button type="submit" class="primary" disabled={key === ""}>
        Open
      </button>
    </form>
  );
}
