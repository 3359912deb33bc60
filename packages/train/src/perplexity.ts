import {
  compile,
  crossEntropy,
  type Device,
  HeddleError,
  nextTurn,
  scope,
  type Tensor,
  tensor,
} from "@heddle/tensor";
import type { Evaluation } from "./evaluate.js";

export interface PerplexityOptions {
  readonly device: Device;
  /** Most tokens that a prediction can see, itself included: the model's longest sequence, or less. */
  readonly window: number;
  /** Tokens from the start of one window to the next; default half a window. */
  readonly stride?: number;
  /** Windows that run together; default 8. */
  readonly rows?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { readonly done: number; readonly total: number }) => void;
}

/** One window of a text: ids[begin..end), of which the last `numNew` were in no window before. */
export interface PerplexityWindow {
  readonly begin: number;
  readonly end: number;
  /** Predictions that count: `numNew`, but never the first token of the window, which has no context. */
  readonly numScored: number;
  /** Sum of their negative log-likelihoods, in nats. */
  readonly nll: number;
}

export interface Perplexity extends Evaluation {
  readonly windows: readonly PerplexityWindow[];
}

/**
 * Perplexity of a text under a model that sees at most `window` tokens, by overlapping windows: each counts only tokens that
 * no earlier window counted, so a small stride gives every prediction more context, and takes longer.
 *
 * @param logits  ids [B, T] i32 -> [B, T, V]
 * @throws HeddleError "config" for a window below 2, a stride outside 1..window, or a text of fewer than 2 tokens
 * @see the strided evaluation of Hugging Face's guide "Perplexity of fixed-length models"
 */
export async function perplexity(
  logits: (ids: Tensor) => Tensor,
  ids: ArrayLike<number>,
  options: PerplexityOptions,
): Promise<Perplexity> {
  const {
    device,
    window,
    stride = Math.max(1, Math.floor(window / 2)),
    rows = 8,
    signal,
    onProgress,
  } = options;
  checkOptions(ids.length, window, stride);
  const plan = compile((tokens: Tensor, labels: Tensor) => {
    const [numRows = 1, length = 1] = tokens.shape;
    // The last token predicts nothing here; leaving it in keeps one shape for all.
    const losses = crossEntropy(logits(tokens), labels, { reduction: "none" });
    return losses.reshape([numRows, length]).sum({ axes: 1 });
  });
  const planned = planWindows(ids.length, window, stride);
  const windows: PerplexityWindow[] = [];
  try {
    for (const group of groups(planned, rows)) {
      await nextTurn();
      signal?.throwIfAborted();
      const sums = scope(device, () => plan(...windowTensors(device, ids, group)));
      const values = await sums.data();
      sums.dispose();
      windows.push(...group.map((one, at) => ({ ...one, nll: values[at] ?? Number.NaN })));
      onProgress?.({ done: windows.length, total: planned.length });
    }
  } finally {
    plan.dispose();
  }
  const nll = windows.reduce((sum, one) => sum + one.nll, 0);
  const tokens = windows.reduce((sum, one) => sum + one.numScored, 0);
  return { loss: nll / tokens, perplexity: Math.exp(nll / tokens), tokens, windows };
}

type Span = Omit<PerplexityWindow, "nll">;

function planWindows(length: number, window: number, stride: number): Span[] {
  const spans: Span[] = [];
  let scoredUpTo = 0;
  for (let begin = 0; scoredUpTo < length; begin += stride) {
    const end = Math.min(begin + window, length);
    const numScored = end - Math.max(scoredUpTo, begin + 1);
    if (numScored > 0) spans.push({ begin, end, numScored });
    scoredUpTo = end;
  }
  return spans;
}

/** Neighbouring windows of one length, at most `rows` together. */
function* groups(spans: readonly Span[], rows: number): Generator<Span[]> {
  let group: Span[] = [];
  for (const span of spans) {
    const first = group[0];
    if (first !== undefined && (group.length === rows || span.end - span.begin !== first.end - first.begin)) {
      yield group;
      group = [];
    }
    group.push(span);
  }
  if (group.length > 0) yield group;
}

/** Tokens [B, T] of the windows, and for each the token after it where that one counts, else -100. */
function windowTensors(device: Device, ids: ArrayLike<number>, group: readonly Span[]): [Tensor, Tensor] {
  const length = (group[0]?.end ?? 0) - (group[0]?.begin ?? 0);
  const tokens = new Int32Array(group.length * length);
  const labels = new Int32Array(group.length * length).fill(-100);
  for (const [row, { begin, numScored }] of group.entries()) {
    for (let at = 0; at < length; at++) {
      tokens[row * length + at] = ids[begin + at] ?? 0;
      if (at + 1 < length && at + 1 >= length - numScored)
        labels[row * length + at] = ids[begin + at + 1] ?? 0;
    }
  }
  const shape = [group.length, length];
  return [tensor(device, tokens, { shape }), tensor(device, labels, { shape })];
}

function checkOptions(length: number, window: number, stride: number): void {
  const problem =
    window < 2 || !Number.isSafeInteger(window)
      ? `window must be a whole number >= 2; got ${window}`
      : stride < 1 || stride > window || !Number.isSafeInteger(stride)
        ? `stride must be a whole number from 1 to the window; got stride ${stride}, window ${window}`
        : length < 2
          ? `the text must have at least 2 tokens; got ${length}`
          : undefined;
  if (problem === undefined) return;
  throw new HeddleError("config", `perplexity: ${problem}. Change the options or the text.`, {
    window,
    stride,
    length,
  });
}
