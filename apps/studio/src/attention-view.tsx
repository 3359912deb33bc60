import { useState } from "preact/hooks";
import type { Client, ModelInfo } from "./client.js";
import { useAnswer } from "./use-answer.js";

const firstText = "The cat sat on the mat because it was tired.";

/** Where the tokens of a text look: one layer and head of the served model, drawn by the server. */
export function AttentionView({ client, model }: { client: Client; model: ModelInfo }) {
  const [text, setText] = useState(firstText);
  const [layer, setLayer] = useState(0);
  const [head, setHead] = useState(0);
  const { answer: picture, message } = useAnswer(
    model.attention && ((signal) => client.attention(text, { layer, head }, signal)),
    [client, model.attention, text, layer, head],
  );
  if (model.attention === undefined) return <p class="notice">This server does not show attention.</p>;
  const { numLayers, numHeads } = model.attention;
  return (
    <div class="attention">
      <label class="attention-text">
        <span>Text</span>
        <textarea rows={3} value={text} onInput={({ currentTarget }) => setText(currentTarget.value)} />
      </label>
      <div class="attention-choosers">
        <Chooser label="Layer" count={numLayers} value={layer} onChange={setLayer} />
        <Chooser label="Head" count={numHeads} value={head} onChange={setHead} />
      </div>
      {message !== undefined && (
        <p class="notice" role="alert">
          {message}
        </p>
      )}
      {picture !== undefined && (
        <figure>
          <img
            src={`data:image/svg+xml;charset=utf-8,${encodeURIComponent(picture.svg)}`}
            alt={`Attention weights of layer ${layer}, head ${head}: a row for each token, a column for each token that it attends to`}
          />
          <figcaption>
            Each row is a token, each column a token that it attends to; rows sum to 1.
            {picture.shown < picture.tokens && ` The first ${picture.shown} of ${picture.tokens} tokens.`}
          </figcaption>
        </figure>
      )}
    </div>
  );
}

interface ChooserProps {
  readonly label: string;
  readonly count: number;
  readonly value: number;
  readonly onChange: (value: number) => void;
}

/** Chooses one of `count` numbered things; arrow keys move through them. */
function Chooser({ label, count, value, onChange }: ChooserProps) {
  return (
    <label>
      <span>
        {label} {value} of 0 to {count - 1}
      </span>
      <input
        type="range"
        min={0}
        max={count - 1}
        value={value}
        onInput={({ currentTarget }) => onChange(Number(currentTarget.value))}
      />
    </label>
  );
}
