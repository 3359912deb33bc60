import { useState } from "preact/hooks";
import type { Client, ModelInfo } from "./client.js";
import { type LensShade, LensTable } from "./lens-table.js";
import "./lens.css";
import { Switch } from "./switch.js";
import { useAnswer } from "./use-answer.js";

const firstText = "Once upon a time there was a little girl named Lily. She loved to play with her";

/** What the served model would say if it ended after each of its layers: the logit lens of a text. */
export function LensView({ client, model }: { client: Client; model: ModelInfo }) {
  const [text, setText] = useState(firstText);
  const [shade, setShade] = useState<LensShade>("probability");
  const { answer: lens, message } = useAnswer(model.lens && ((signal) => client.lens(text, signal)), [
    client,
    model.lens,
    text,
  ]);
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
