import { useId } from "preact/hooks";

/** A row of choices of which one holds; a group of radio buttons underneath. */
export function Switch<T extends string>({ label, options, value, onChange }: SwitchProps<T>) {
  const name = useId();
  return (
    <fieldset class="switch">
      <legend class="visually-hidden">{label}</legend>
      {options.map((option) => (
        <label key={option.value}>
          <input
            type="radio"
            name={name}
            checked={option.value === value}
            disabled={option.isDisabled === true}
            onChange={() => onChange(option.value)}
          />
          <span class="choice">{option.text}</span>
        </label>
      ))}
    </fieldset>
  );
}

interface SwitchProps<T extends string> {
  readonly label: string;
  readonly options: readonly { readonly value: T; readonly text: string; readonly isDisabled?: boolean }[];
  readonly value: T;
  readonly onChange: (value: T) => void;
}
