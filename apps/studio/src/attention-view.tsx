import { useEffect, useState } from "preact/hooks";
import type { AttentionPicture, Client, ModelInfo } from "./client.js";

const firstText = "The cat sat on the mat because it was tired.";
/** Typing rests this long before a picture is asked for. */
const restMs = 250;

/** Where the tokens of a text look: one layer and head of the served model, drawn by the server. */
export function AttentionView({ client, model }: { client: Client; model: ModelInfo }) {
  const [text, setText] = useState(firstText);
  const [layer, setLayer] = useState(0);
  const [head, setHead] = useState(0);
  const { picture, message } = usePicture(client, { text, layer, head });
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

/** The picture for the latest text, layer and head; the one before stays until it comes. */
function usePicture(
  client: Client,
  { text, layer, head }: { readonly text: string; readonly layer: number; readonly head: number },
) {
  const [picture, setPicture] = useState<AttentionPicture>();
  const [message, setMessage] = useState<string>();
  useEffect(() => {
    const controller = new AbortController();
    const show = async (): Promise<void> => {
      try {
        setPicture(await client.attention(text, { layer, head }, controller.signal));
        setMessage(undefined);
      } catch (error) {
        if (!controller.signal.aborted) setMessage(error instanceof Error ? error.message : String(error));
      }
    };
    const timer = setTimeout(() => void show(), restMs);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [client, text, layer, head]);
  return { picture, message };
}
