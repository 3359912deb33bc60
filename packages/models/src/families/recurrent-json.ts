import { z } from "zod";

/** Models without positions have no longest sequence of their own; callers want a number. */
export const unboundedSeqLen = 2 ** 20;

/** A number that may be infinite; transformers writes {"__float__": "Infinity"}, older releases the bare word. */
export const limitJson = z.union([
  z.number(),
  z.enum(["Infinity", "-Infinity"]),
  z.strictObject({ __float__: z.enum(["Infinity", "-Infinity"]) }),
]);

export function limitFromJson(limit: z.infer<typeof limitJson>): number {
  return Number(typeof limit === "object" ? limit.__float__ : limit);
}

export function limitToJson(limit: number): z.infer<typeof limitJson> {
  if (Number.isFinite(limit)) return limit;
  return { __float__: limit > 0 ? "Infinity" : "-Infinity" };
}
