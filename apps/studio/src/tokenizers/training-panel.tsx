import { toTokenizerJson } from "@heddle/tokenizers";
import { useId, useRef, useState } from "preact/hooks";
import { MainButton } from "../main-button.js";
import { Curve } from "./curve.js";
import { FileButton } from "./file-button.js";
import type { NamedTokenizer } from "./tokenizer-files.js";
import { type Training, train } from "./training.js";

type State =
  | { readonly name: "idle" }
  | { readonly name: "running"; readonly done: string }
  | { readonly name: "done"; readonly training: Training }
  | { readonly name: "failed"; readonly message: string };

interface TrainingPanelProps {
  /** What is learnt from unless a file is picked. */
  readonly text: string;
  readonly onTrained: (named: NamedTokenizer) => void;
}

/** Trains a small vocabulary in the page and shows what each further token is worth. */
export function TrainingPanel({ text, onTrained }: TrainingPanelProps) {
  const sizeId = useId();
  const [vocabSize, setVocabSize] = useState(600);
  const [file, setFile] = useState<{ readonly name: string; readonly text: string }>();
  const [state, setState] = useState<State>({ name: "idle" });
  const abort = useRef<AbortController>(undefined);
  const corpus = file?.text ?? text;
  const start = async (): Promise<void> => {
    const controller = new AbortController();
    abort.current = controller;
    setState({ name: "running", done: "" });
    try {
      const training = await train({
        corpus,
        vocabSize,
        signal: controller.signal,
        onProgress: ({ phase, done }) =>
          setState({ name: "running", done: phase === "count" ? "reading" : `${done} tokens` }),
      });
      setState({ name: "done", training });
      onTrained({ name: `Trained here (${training.tokenizer.vocabSize})`, tokenizer: training.tokenizer });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      setState(controller.signal.aborted ? { name: "idle" } : { name: "failed", message });
    }
  };
  return (
    <section class="panel training" aria-label="Train a vocabulary">
      <h2>Train a vocabulary</h2>
      <p>
        Byte-level BPE, learnt in this page from {file === undefined ? "the text above" : file.name} (
        {corpus.length.toLocaleString("en")} characters).
      </p>
      <div class="field slider">
        <label for={sizeId}>Tokens at most</label>
        <output>{vocabSize}</output>
        <input
          id={sizeId}
          type="range"
          min={260}
          max={4000}
          step={20}
          value={vocabSize}
          onInput={(event) => setVocabSize(Number(event.currentTarget.value))}
        />
      </div>
      <div class="actions is-bare">
        <MainButton
          isRunning={state.name === "running"}
          canStart={corpus !== ""}
          onStart={() => void start()}
          onStop={() => abort.current?.abort()}
        >
          Train
        </MainButton>
        <FileButton
          accept=".txt,.md,.json,.jsonl,.csv,text/*"
          onPick={async (picked) => setFile({ name: picked.name, text: await picked.text() })}
        >
          Learn from a file
        </FileButton>
        {state.name === "running" && <p class="status">{state.done}</p>}
        {state.name === "failed" && (
          <p class="status is-error" role="alert">
            {state.message}
          </p>
        )}
      </div>
      {state.name === "done" && (
        <>
          <Curve points={state.training.curve} />
          <button type="button" onClick={() => save(state.training)}>
            Save as tokenizer.json
          </button>
        </>
      )}
    </section>
  );
}

function save({ tokenizer }: Training): void {
  const blob = new Blob([JSON.stringify(toTokenizerJson(tokenizer))], { type: "application/json" });
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = "tokenizer.json";
  link.click();
  URL.revokeObjectURL(url);
}
