import { useEffect, useState } from "preact/hooks";
import type { Client, Lens, ModelInfo } from "./client.js";
import { LensTable } from "./lens-table.js";
import "./lens.css";
import { Switch } from "./switch.js";

const firstText = "Once upon a time there was a little girl named Lily. She loved to play with her";
/** Typing rests this long before the layers are asked for. */
const restMs = 250;

/** What the colour of a cell tells. */
export type LensShade = "probability" | "entropy";

/** What the served model would say if it ended after each of its layers: the logit lens of a text. */
export function LensView({ client, model }: { client: Client; model: ModelInfo }) {
  const [text, setText] = useState(firstText);
  const [shade, setShade] = useState<LensShade>("probability");
  const { lens, message } = useLens(client, text);
  if (model.lens === undefined) return <p class="notice">This server does not show its layers.</p>;
  return (
    <div class="lens">
      <label class="attention-text">
        <span>Text</span>
        <textarea rows={3} value={text} onInput={({ currentTarget }) => setText(currentTarget.value)} />
      </label>
      <Switch<LensShade>
        label="Colour by"
        options={[
          { value: "probability", text: "Probability" },
          { value: "entropy", text: "Entropy" },
        ]}
        value={shade}
        onChange={setShade}
      />
      {message !== undefined && (
        <p class="notice" role="alert">
          {message}
        </p>
      )}
      {lens !== undefined && (
        <>
          <LensTable lens={lens} shade={shade} vocabSize={model.vocabSize} />
          <p class="hint">
            A column for each token of the text, a row for each layer: the likeliest next token if the model
            ended there. The top row is what it says.{" "}
            {shade === "probability" ? "More colour: likelier." : "More colour: less sure."}
            {lens.tokens.length < lens.numTokens &&
              ` The first ${lens.tokens.length} of ${lens.numTokens} tokens.`}
          </p>
        </>
      )}
    </div>
  );
}

/** The lens of the latest text; the one before stays until it comes. */
function useLens(client: Client, text: string) {
  const [lens, setLens] = useState<Lens>();
  const [message, setMessage] = useState<string>();
  useEffect(() => {
    const controller = new AbortController();
    const read = async (): Promise<void> => {
      try {
        setLens(await client.lens(text, controller.signal));
        setMessage(undefined);
      } catch (error) {
        if (!controller.signal.aborted) setMessage(error instanceof Error ? error.message : String(error));
      }
    };
    const timer = setTimeout(() => void read(), restMs);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [client, text]);
  return { lens, message };
}
