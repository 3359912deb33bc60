import storyTokenizer from "@heddle/tiny-stories/model/tokenizer.json?raw";
import { createByteTokenizer, fromTokenizerJson } from "@heddle/tokenizers";
import { useEffect, useMemo, useState } from "preact/hooks";
import { Switch } from "../switch.js";
import { FileButton } from "./file-button.js";
import { sampleText } from "./sample-text.js";
import { type PaneView, type Range, TokenPane } from "./token-pane.js";
import { type NamedTokenizer, readTokenizer } from "./tokenizer-files.js";
import { TrainingPanel } from "./training-panel.js";
import "./tokenizers.css";

const views = [
  { value: "text", text: "Text" },
  { value: "list", text: "List" },
] as const;

/** Cuts a text with two tokenizers side by side. Needs no server. */
export function TokenizerPage() {
  const [text, setText] = useState(sampleText);
  const [view, setView] = useState<PaneView>("text");
  const [range, setRange] = useState<Range>();
  const shelf = useShelf();
  return (
    <div class="tokenizers">
      <label class="sheet source">
        <span class="visually-hidden">Text to cut into tokens</span>
        <textarea
          rows={8}
          value={text}
          placeholder="Write or paste a text"
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </label>
      <div class="pane-tools">
        <Switch<PaneView> label="Show as" options={views} value={view} onChange={setView} />
        <FileButton accept=".json,.model,.tiktoken,.txt" onPick={shelf.open}>
          Open a tokenizer
        </FileButton>
        {shelf.problem !== undefined && (
          <p class="status is-error" role="alert">
            {shelf.problem}
          </p>
        )}
      </div>
      <div class="panes">
        {shelf.chosen.map((index, side) => (
          <section
            key={side}
            class="sheet pane"
            aria-label={side === 0 ? "First tokenizer" : "Second tokenizer"}
          >
            <label class="choose">
              <span class="visually-hidden">{side === 0 ? "First tokenizer" : "Second tokenizer"}</span>
              <select
                value={index}
                onChange={(event) => shelf.choose(side, Number(event.currentTarget.value))}
              >
                {shelf.tokenizers.map(({ name }, i) => (
                  <option key={name} value={i}>
                    {name}
                  </option>
                ))}
              </select>
            </label>
            <TokenPane
              named={shelf.tokenizers[index] as NamedTokenizer}
              text={text}
              view={view}
              range={range}
              onRange={setRange}
            />
          </section>
        ))}
      </div>
      <TrainingPanel text={text} onTrained={shelf.put} />
    </div>
  );
}

/** The tokenizers at hand, and the two that are shown. */
function useShelf() {
  const first = useMemo<NamedTokenizer[]>(
    () => [
      { name: "Bytes of UTF-8", tokenizer: createByteTokenizer() },
      { name: "Tiny stories (2,048)", tokenizer: fromTokenizerJson(storyTokenizer) },
    ],
    [],
  );
  const [tokenizers, setTokenizers] = useState<readonly NamedTokenizer[]>(first);
  const [chosen, setChosen] = useState<readonly number[]>([0, 1]);
  const [problem, setProblem] = useState<string>();
  const choose = (side: number, index: number): void =>
    setChosen((before) => before.map((each, i) => (i === side ? index : each)));
  // The one that came last is shown at the right.
  useEffect(() => {
    if (tokenizers.length > first.length) choose(1, tokenizers.length - 1);
  }, [tokenizers]);
  const put = (named: NamedTokenizer): void => {
    setProblem(undefined);
    setTokenizers((before) => [...before.filter(({ name }) => name !== named.name), named]);
  };
  const open = async (file: File): Promise<void> => {
    try {
      put(await readTokenizer(file));
    } catch (error) {
      setProblem(`${file.name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  return { tokenizers, chosen, choose, problem, put, open };
}
