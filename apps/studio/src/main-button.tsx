import type { ComponentChildren } from "preact";

interface MainButtonProps {
  readonly isRunning: boolean;
  readonly canStart: boolean;
  readonly onStart: () => void;
  readonly onStop: () => void;
  /** What the button says while nothing runs. */
  readonly children: ComponentChildren;
}

/**
 * Starts, and while something runs stops. One element all the time, so that it keeps the focus; and no submit
 * button, because the click that stops would submit the form as soon as the button is one again.
 */
export function MainButton({ isRunning, canStart, onStart, onStop, children }: MainButtonProps) {
  return (
    <button
      type="button"
      class="primary"
      disabled={!isRunning && !canStart}
      onClick={isRunning ? onStop : onStart}
    >
      {isRunning ? "Stop" : children}
    </button>
  );
}
