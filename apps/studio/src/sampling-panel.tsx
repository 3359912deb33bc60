import { useId } from "preact/hooks";
import type { Sampling } from "./sampling.js";

interface PanelProps {
  readonly sampling: Sampling;
  readonly maxSeqLen: number;
  readonly onChange: (sampling: Sampling) => void;
}

/** The controls of how tokens are chosen. */
export function SamplingPanel({ sampling, maxSeqLen, onChange }: PanelProps) {
  const set = (change: Partial<Sampling>): void => onChange({ ...sampling, ...change });
  return (
    <section class="panel" aria-labelledby="sampling-heading">
      <h2 id="sampling-heading">Sampling</h2>
      <Slider
        label="Temperature"
        hint={sampling.temperature === 0 ? "always the likeliest" : undefined}
        value={sampling.temperature}
        max={2}
        step={0.05}
        onChange={(temperature) => set({ temperature })}
      />
      <Slider
        label="Top p"
        value={sampling.topP}
        min={0.05}
        max={1}
        step={0.05}
        onChange={(topP) => set({ topP })}
      />
      <NumberField
        label="Most tokens"
        value={sampling.maxTokens}
        min={1}
        max={maxSeqLen}
        onChange={(maxTokens) => set({ maxTokens })}
      />
      <details>
        <summary>More</summary>
        <NumberField
          label="Top k"
          hint="0 keeps all"
          value={sampling.topK}
          max={100_000}
          onChange={(topK) => set({ topK })}
        />
        <Slider label="Min p" value={sampling.minP} max={1} step={0.01} onChange={(minP) => set({ minP })} />
        <Slider
          label="Repetition penalty"
          value={sampling.repetitionPenalty}
          min={1}
          max={2}
          step={0.05}
          onChange={(repetitionPenalty) => set({ repetitionPenalty })}
        />
        <label class="field">
          <span>Seed</span>
          <input
            type="text"
            inputMode="numeric"
            pattern="[0-9]*"
            placeholder="random"
            value={sampling.seed}
            onInput={(event) => set({ seed: event.currentTarget.value.replace(/\D/g, "") })}
          />
        </label>
        <label class="field is-tall">
          <span>
            Stop strings <small>one a line</small>
          </span>
          <textarea
            rows={2}
            value={sampling.stop}
            onInput={(event) => set({ stop: event.currentTarget.value })}
          />
        </label>
      </details>
    </section>
  );
}

interface SliderProps {
  readonly label: string;
  readonly hint?: string | undefined;
  readonly value: number;
  readonly min?: number;
  readonly max: number;
  readonly step: number;
  readonly onChange: (value: number) => void;
}

function Slider({ label, hint, value, min = 0, max, step, onChange }: SliderProps) {
  const id = useId();
  return (
    <div class="field slider">
      <label for={id}>
        {label} {hint !== undefined && <small>{hint}</small>}
      </label>
      <output for={id}>{value.toFixed(2)}</output>
      <input
        id={id}
        type="range"
        value={value}
        min={min}
        max={max}
        step={step}
        onInput={(event) => onChange(event.currentTarget.valueAsNumber)}
      />
    </div>
  );
}

interface NumberFieldProps {
  readonly label: string;
  readonly hint?: string;
  readonly value: number;
  readonly min?: number;
  readonly max: number;
  readonly onChange: (value: number) => void;
}

function NumberField({ label, hint, value, min = 0, max, onChange }: NumberFieldProps) {
  return (
    <label class="field">
      <span>
        {label} {hint !== undefined && <small>{hint}</small>}
      </span>
      <input
        type="number"
        value={value}
        min={min}
        max={max}
        onChange={(event) => {
          const wanted = event.currentTarget.valueAsNumber;
          if (Number.isFinite(wanted)) onChange(Math.min(max, Math.max(min, Math.round(wanted))));
        }}
      />
    </label>
  );
}
