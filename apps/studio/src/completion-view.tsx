import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { Client } from "./client.js";
import { type Answer, describeAnswer, isUnderWay, useGeneration } from "./generation.js";
import { MainButton } from "./main-button.js";
import { PromptTokens } from "./prompt-tokens.js";
import { TokenText, type TokenView } from "./token-text.js";
import { TokenViewSwitch } from "./token-view-switch.js";

const beginnings = ["Once upon a time, there was a", "The little boat was", "“Who is there?” asked"];

/** A sheet of paper: you write its beginning, the model goes on. */
export function CompletionView({
  client,
  fields,
}: {
  client: Client;
  fields: Readonly<Record<string, unknown>>;
}) {
  const [prompt, setPrompt] = useState(beginnings[0] ?? "");
  const [view, setView] = useState<TokenView>("text");
  const { answer, run, stop, clear } = useGeneration();
  const isRunning = isUnderWay(answer);
  const start = (): void => {
    if (prompt !== "") void run((signal) => client.complete(prompt, fields, signal));
  };
  const keep = (): void => {
    setPrompt(prompt + answer.text);
    clear();
  };
  return (
    <section class="sheet" aria-label="Text">
      <PromptField
        prompt={prompt}
        isAlone={answer.state === "idle"}
        onChange={setPrompt}
        onStart={start}
        onStop={stop}
      />
      {view === "tokens" && <PromptTokens client={client} text={prompt} />}
      {answer.state === "idle" ? (
        <Beginnings onPick={setPrompt} />
      ) : (
        <TokenText key={view} tokens={answer.tokens} view={view} label="What the model wrote" />
      )}
      <Actions answer={answer} canStart={prompt !== ""} onStart={start} onStop={stop} onKeep={keep}>
        <TokenViewSwitch view={view} onChange={setView} />
      </Actions>
      <p class="visually-hidden" aria-live="polite">
        {!isRunning && answer.text}
      </p>
    </section>
  );
}

interface ActionsProps {
  readonly answer: Answer;
  readonly canStart: boolean;
  readonly onStart: () => void;
  readonly onStop: () => void;
  readonly onKeep: () => void;
  readonly children: ComponentChildren;
}

function Actions({ answer, canStart, onStart, onStop, onKeep, children }: ActionsProps) {
  const isRunning = isUnderWay(answer);
  return (
    <div class="actions">
      <MainButton isRunning={isRunning} canStart={canStart} onStart={onStart} onStop={onStop}>
        {answer.state === "idle" ? "Continue the text" : "Try again"}
      </MainButton>
      {!isRunning && answer.text !== "" && (
        <button type="button" onClick={onKeep}>
          Keep it
        </button>
      )}
      {answer.state === "idle" ? <p class="status">or press Ctrl+Enter</p> : <Status answer={answer} />}
      {children}
    </div>
  );
}

interface PromptFieldProps {
  readonly prompt: string;
  /** Whether no answer follows, so that there is room for a long beginning. */
  readonly isAlone: boolean;
  readonly onChange: (prompt: string) => void;
  readonly onStart: () => void;
  readonly onStop: () => void;
}

function PromptField({ prompt, isAlone, onChange, onStart, onStop }: PromptFieldProps) {
  return (
    <label class={isAlone ? "prompt is-alone" : "prompt"}>
      <span class="visually-hidden">Beginning of the text</span>
      <textarea
        rows={1}
        value={prompt}
        placeholder="Write the beginning of a text"
        onInput={(event) => onChange(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Escape") onStop();
          if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
          event.preventDefault();
          onStart();
        }}
      />
    </label>
  );
}

function Beginnings({ onPick }: { onPick: (beginning: string) => void }) {
  return (
    <ul class="beginnings" aria-label="Beginnings to try">
      {beginnings.map((beginning) => (
        <li key={beginning}>
          <button type="button" onClick={() => onPick(beginning)}>
            {beginning} …
          </button>
        </li>
      ))}
    </ul>
  );
}

/** What the answer is doing, or how it ended. */
export function Status({ answer }: { answer: Answer }) {
  const isFailed = answer.state === "failed";
  return (
    <p class={isFailed ? "status is-error" : "status"} role={isFailed ? "alert" : undefined}>
      {describeAnswer(answer)}
    </p>
  );
}
