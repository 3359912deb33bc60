import { HeddleError } from "@heddle/tensor";
import { z } from "zod";
import { shownValue } from "../shown-value.js";

/** How the weights of a checkpoint are stored in fewer bits, by `quantization_config` of its config.json. */
export type StoredQuantisation =
  | { readonly method: "mxfp4" }
  | { readonly method: "fp8"; readonly blockShape: readonly [rows: number, columns: number] };

const size = z.int().positive();
const schemas = {
  mxfp4: z
    .object({ quant_method: z.literal("mxfp4") })
    .transform((): StoredQuantisation => ({ method: "mxfp4" })),
  // Activations, which are rounded to 8 bits by the model's own server ("dynamic"), stay as they are here.
  fp8: z
    .object({
      quant_method: z.literal("fp8"),
      fmt: z.literal("e4m3").default("e4m3"),
      activation_scheme: z.literal("dynamic").default("dynamic"),
      weight_block_size: z.tuple([size, size]),
    })
    .transform(({ weight_block_size: blockShape }): StoredQuantisation => ({ method: "fp8", blockShape })),
} as const;

/**
 * Reads `quantization_config`.
 *
 * @returns undefined for a checkpoint that stores its weights as they are used
 * @throws HeddleError "unsupported" for a method that Heddle lacks, "config" naming the keys that do not fit
 */
export function parseStoredQuantisation(json: unknown): StoredQuantisation | undefined {
  if (json === undefined || json === null || json === false) return undefined;
  const { quant_method: method } = json as { readonly quant_method?: unknown };
  if (typeof method !== "string" || !Object.hasOwn(schemas, method)) {
    const message = `parseConfig: quantization_config.quant_method must be ${Object.keys(schemas).join(" or ")}; got ${shownValue(method)}. Load the checkpoint as it was before quantising, or its GGUF file.`;
    throw new HeddleError("unsupported", message, { method });
  }
  const parsed = schemas[method as keyof typeof schemas].safeParse(json);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => `${path.join(".")} (${message})`);
  const message = `parseConfig: quantization_config must say how ${method} weights are stored; got problems in ${problems.join("; ")}. Mend these keys.`;
  throw new HeddleError("config", message, { problems });
}
