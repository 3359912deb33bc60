import { HeddleError, scope } from "@heddle/tensor";
import type { Architecture, TokenRows } from "../architecture.js";
import { activationsOf } from "../inspection/inspect.js";
import { checkIds, tokenGrid } from "../token-grid.js";
import type { RecurrentConfig } from "./config.js";
import {
  buildRecurrentWeights,
  type RecurrentInputs,
  type RecurrentWeights,
  recurrentHidden,
  recurrentLogits,
} from "./recurrent.js";
import { createRecurrentDecoder } from "./recurrent-decoder.js";

/** Language models that carry the past along in a state of fixed size. */
export const recurrent: Architecture<RecurrentConfig, RecurrentWeights, RecurrentInputs> = {
  name: "recurrent",
  buildWeights: buildRecurrentWeights,
  forward: ({ config, weights }, inputs) => recurrentLogits(config, weights, inputs),
  logits({ config, weights, device }, rows) {
    checkIds(rows.ids, config.vocabSize);
    const isPaddedLeft = checkPadding(config, rows);
    return scope(device, () => {
      const ids = tokenGrid(device, rows.ids);
      const mask = isPaddedLeft ? tokenGrid(device, rows.attentionMask ?? [], { like: rows.ids }) : undefined;
      const isToken = mask?.cast(device.defaultFloat);
      return recurrentLogits(config, weights, { ids, ...(isToken === undefined ? {} : { isToken }) });
    });
  },
  inspect({ config, weights, device }, rows, inspect) {
    checkIds(rows.ids, config.vocabSize);
    using ids = tokenGrid(device, rows.ids);
    return activationsOf(device, () => recurrentHidden(config, weights, { ids, inspect }));
  },
  async start(
    model,
    promptIds,
    { numSlots = 1 }: { readonly maxTokens: number; readonly numSlots?: number },
  ) {
    return { decoder: createRecurrentDecoder(model, { numSlots }), ids: promptIds };
  },
};

/** Whether padding comes before tokens; what comes after them changes nothing. */
function checkPadding({ mixer, family }: RecurrentConfig, { ids, attentionMask }: TokenRows): boolean {
  if (attentionMask === undefined) return false;
  const isPaddedLeft = attentionMask.some((row) =>
    /0.*1/.test(Array.from(row, (kept) => (kept ? 1 : 0)).join("")),
  );
  if (isPaddedLeft && (mixer.kind === "wkv" || mixer.kind === "retention")) {
    const message = `logits: padding must stand on the right for a ${family} model, whose state it would change; got ${ids.length} rows with padding before tokens. Turn it round, or run rows one by one.`;
    throw new HeddleError("unsupported", message, { family });
  }
  return isPaddedLeft;
}
