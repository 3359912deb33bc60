import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { GeneratedToken, Piece } from "./client.js";

/** An answer as far as it has come. */
export interface Answer {
  readonly state: "idle" | "waiting" | "streaming" | "done" | "stopped" | "failed";
  readonly text: string;
  readonly tokens: readonly GeneratedToken[];
  readonly finishReason: string | null;
  readonly error: string;
  /** Tokens a second since the first one. */
  readonly tokensPerSecond: number;
}

export const noAnswer: Answer = {
  state: "idle",
  text: "",
  tokens: [],
  finishReason: null,
  error: "",
  tokensPerSecond: 0,
};

/** Whether the model is at work on the answer. */
export function isUnderWay({ state }: Answer): boolean {
  return state === "waiting" || state === "streaming";
}

/** An answer in the making, and what starts and stops it. */
export interface Generation {
  readonly answer: Answer;
  /** Reads a stream to its end; resolves to the answer as it ended. */
  run(open: (signal: AbortSignal) => AsyncIterable<Piece>): Promise<Answer>;
  stop(): void;
  clear(): void;
}

/** Holds one answer; a new run stops the one before, and so does leaving the page. */
export function useGeneration(): Generation {
  const [answer, setAnswer] = useState(noAnswer);
  const current = useRef<AbortController>(undefined);
  useEffect(() => () => current.current?.abort(), []);
  return useMemo(() => {
    const stop = (): void => current.current?.abort();
    return {
      answer,
      stop,
      clear() {
        stop();
        setAnswer(noAnswer);
      },
      run(open) {
        stop();
        const controller = new AbortController();
        current.current = controller;
        const show = (next: Answer): void => {
          if (current.current === controller) setAnswer(next);
        };
        return follow(open, controller.signal, show);
      },
    };
  }, [answer]);
}

/** Reads a stream and shows what has come, at most once a frame. */
async function follow(
  open: (signal: AbortSignal) => AsyncIterable<Piece>,
  signal: AbortSignal,
  show: (answer: Answer) => void,
): Promise<Answer> {
  let answer: Answer = { ...noAnswer, state: "waiting" };
  show(answer);
  let startedAt = 0;
  let frame = 0;
  const tokens: GeneratedToken[] = [];
  const showSoon = (): void => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      show(answer);
    });
  };
  try {
    for await (const piece of open(signal)) {
      startedAt ||= performance.now();
      tokens.push(...piece.tokens);
      const seconds = (performance.now() - startedAt) / 1000;
      const tokensPerSecond = seconds > 0 ? (tokens.length - 1) / seconds : 0;
      const finishReason = piece.finishReason ?? answer.finishReason;
      const text = answer.text + piece.text;
      answer = { ...answer, state: "streaming", text, tokens: [...tokens], finishReason, tokensPerSecond };
      showSoon();
    }
    answer = { ...answer, state: "done" };
  } catch (error) {
    if (signal.aborted) answer = { ...answer, state: "stopped" };
    else
      answer = { ...answer, state: "failed", error: error instanceof Error ? error.message : String(error) };
  }
  cancelAnimationFrame(frame);
  show(answer);
  return answer;
}

/** What happened, in words, for the line below an answer. */
export function describeAnswer({ state, tokens, finishReason, tokensPerSecond, error }: Answer): string {
  const speed = tokensPerSecond > 0 ? `, ${formatRate(tokensPerSecond)} a second` : "";
  const count = `${tokens.length} ${tokens.length === 1 ? "token" : "tokens"}${speed}`;
  switch (state) {
    case "idle":
      return "";
    case "waiting":
      return "Waiting for the first token";
    case "streaming":
      return count;
    case "done":
      return `${count}, ${finishReason === "length" ? "limit reached" : "ended by itself"}`;
    case "stopped":
      return `${count}, stopped`;
    case "failed":
      return error;
    default:
      return state satisfies never;
  }
}

/** A rate with as many digits as are worth reading. */
export function formatRate(rate: number): string {
  return rate > 0 && rate < 10 ? rate.toFixed(1) : Math.round(rate).toLocaleString("en");
}
