import { useState } from "preact/hooks";
import type { Client, GeneratedToken, Message } from "./client.js";
import { Status } from "./completion-view.js";
import { isUnderWay, noAnswer, useGeneration } from "./generation.js";
import { MainButton } from "./main-button.js";
import { TokenText, type TokenView } from "./token-text.js";
import { TokenViewSwitch } from "./token-view-switch.js";

interface Turn extends Message {
  readonly tokens?: readonly GeneratedToken[];
}

/** A conversation with the model. */
export function ChatView({ client, fields }: { client: Client; fields: Readonly<Record<string, unknown>> }) {
  const [turns, setTurns] = useState<readonly Turn[]>([]);
  const [system, setSystem] = useState("");
  const [view, setView] = useState<TokenView>("text");
  const { answer, run, stop, clear } = useGeneration();
  const isRunning = isUnderWay(answer);
  const send = async (content: string): Promise<void> => {
    const asked: readonly Turn[] = [...turns, { role: "user", content }];
    setTurns(asked);
    const said = asked.map(({ role, content }) => ({ role, content }));
    const messages: Message[] = system === "" ? said : [{ role: "system", content: system }, ...said];
    const ended = await run((signal) => client.chat(messages, fields, signal));
    if (ended.text === "") return;
    setTurns([...asked, { role: "assistant", content: ended.text, tokens: ended.tokens }]);
  };
  const startOver = (): void => {
    clear();
    setTurns([]);
  };
  const shown: readonly Turn[] = isRunning
    ? [...turns, { role: "assistant", content: answer.text, tokens: answer.tokens }]
    : turns;
  return (
    <section class="sheet chat" aria-label="Conversation">
      <Turns turns={shown} view={view} />
      <Composer isRunning={isRunning} onSend={(text) => void send(text)} onStop={stop} />
      <div class="actions">
        {turns.length > 0 && (
          <button type="button" onClick={startOver}>
            Start over
          </button>
        )}
        <Status answer={turns.length > 0 ? answer : noAnswer} />
        <TokenViewSwitch view={view} onChange={setView} />
      </div>
      <details class="system">
        <summary>System message</summary>
        <label>
          <span class="visually-hidden">System message</span>
          <textarea rows={2} value={system} onInput={(event) => setSystem(event.currentTarget.value)} />
        </label>
      </details>
      <p class="visually-hidden" aria-live="polite">
        {!isRunning && turns.at(-1)?.role === "assistant" && turns.at(-1)?.content}
      </p>
    </section>
  );
}

function Turns({ turns, view }: { turns: readonly Turn[]; view: TokenView }) {
  if (turns.length === 0) return <p class="hint">Say something to begin.</p>;
  return (
    <ol class="turns">
      {turns.map(({ role, content, tokens }, i) => (
        <li key={i} class={`turn of-${role}`}>
          <p class="role">{role === "user" ? "You" : "Model"}</p>
          {tokens === undefined ? (
            <p class="said">{content}</p>
          ) : (
            <TokenText key={view} tokens={tokens} view={view} label="Answer" />
          )}
        </li>
      ))}
    </ol>
  );
}

interface ComposerProps {
  readonly isRunning: boolean;
  readonly onSend: (text: string) => void;
  readonly onStop: () => void;
}

function Composer({ isRunning, onSend, onStop }: ComposerProps) {
  const [draft, setDraft] = useState("");
  const send = (): void => {
    if (draft.trim() === "" || isRunning) return;
    onSend(draft);
    setDraft("");
  };
  return (
    <div class="composer">
      <label>
        <span class="visually-hidden">Your message</span>
        <textarea
          rows={2}
          value={draft}
          placeholder="Your message"
          onInput={(event) => setDraft(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === "Escape") onStop();
            if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            send();
          }}
        />
      </label>
      <MainButton isRunning={isRunning} canStart={draft.trim() !== ""} onStart={send} onStop={onStop}>
        Send
      </MainButton>
    </div>
  );
}
