import { useEffect, useState } from "preact/hooks";

/** Typing rests this long before the server is asked. */
const restMs = 250;

/**
 * What the server answers to the latest question; the answer before stays until it comes.
 *
 * @param ask  asked once `parts`, of which the question is made, have rested; aborted when they change; undefined asks nothing
 */
export function useAnswer<Answer>(
  ask: ((signal: AbortSignal) => Promise<Answer>) | undefined,
  parts: readonly unknown[],
): { readonly answer: Answer | undefined; readonly message: string | undefined } {
  const [answer, setAnswer] = useState<Answer>();
  const [message, setMessage] = useState<string>();
  useEffect(() => {
    if (ask === undefined) return undefined;
    const controller = new AbortController();
    const read = async (): Promise<void> => {
      try {
        const found = await ask(controller.signal);
        setAnswer(() => found);
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
  }, [...parts]);
  return { answer, message };
}
