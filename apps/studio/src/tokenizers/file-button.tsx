import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";

/** A button that lets the user pick a file; the file is read by the page and goes nowhere. */
export function FileButton({ accept, onPick, children }: FileButtonProps) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <button type="button" onClick={() => input.current?.click()}>
        {children}
      </button>
      <label class="visually-hidden">
        {children}
        <input
          ref={input}
          type="file"
          tabIndex={-1}
          accept={accept}
          onChange={({ currentTarget }) => {
            const file = currentTarget.files?.[0];
            currentTarget.value = "";
            if (file !== undefined) void onPick(file);
          }}
        />
      </label>
    </>
  );
}

interface FileButtonProps {
  readonly accept: string;
  readonly onPick: (file: File) => unknown;
  readonly children: ComponentChildren;
}
