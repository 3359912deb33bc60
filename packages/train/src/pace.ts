/** Measures tokens a second over the last few reports, without pauses for other work. */
export interface Pace {
  /** Begins anew at a number of tokens. */
  restart(tokens: number): void;
  /** Notes how many tokens are done by now, and gives the speed; 0 while it is not known. */
  mark(tokens: number): number;
  /** Stops the clock until the returned function is called. */
  pause(): () => void;
}

const numMarks = 16;

/** Starts the clock at 0 tokens. */
export function createPace(now: () => number = () => performance.now()): Pace {
  const marks = [{ at: now(), tokens: 0 }];
  const state = { pausedMs: 0 };
  return {
    restart(tokens) {
      marks.splice(0, marks.length, { at: now() - state.pausedMs, tokens });
    },
    mark(tokens) {
      const mark = { at: now() - state.pausedMs, tokens };
      marks.push(mark);
      if (marks.length > numMarks) marks.shift();
      const [oldest = mark] = marks;
      return mark.at > oldest.at ? ((tokens - oldest.tokens) / (mark.at - oldest.at)) * 1000 : 0;
    },
    pause() {
      const startedAt = now();
      return () => {
        state.pausedMs += now() - startedAt;
      };
    },
  };
}
