/** What a training run tells while it runs. */
export type TrainingEvent =
  | {
      readonly kind: "step";
      /** Steps done, this one included. */
      readonly step: number;
      /** Mean over the tokens of this step, in nats. */
      readonly loss: number;
      /** Norm of the gradient before clipping. */
      readonly gradNorm: number;
      readonly learningRate: number;
      /** Tokens trained on so far. */
      readonly tokens: number;
      /** Since the event before, in this process. */
      readonly tokensPerSecond: number;
    }
  | {
      readonly kind: "evaluation";
      readonly step: number;
      readonly loss: number;
      readonly perplexity: number;
      readonly tokens: number;
    }
  | { readonly kind: "checkpoint"; readonly step: number; readonly path: string };
