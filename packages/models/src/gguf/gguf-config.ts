import type { GgufFiles } from "@heddle/checkpoints";
import { dequantize } from "@heddle/checkpoints";
import type { DecoderConfig } from "../config.js";
import { parseModelConfig } from "../loading/parse-config.js";
import type { GgufFamily } from "./gguf-family.js";
import type { GgufFields } from "./gguf-fields.js";
import { factorTensors } from "./gguf-rope.js";
import { endOfTextIds } from "./gguf-tokenizer.js";

/**
 * The configuration that a GGUF file describes: its fields become a config.json, which is read like any other.
 *
 * @throws HeddleError "format" naming the field that is missing or wrong; "config" listing what the family cannot be
 */
export async function ggufConfig(
  files: GgufFiles,
  family: GgufFamily,
  fields: GgufFields,
): Promise<DecoderConfig> {
  const factors: Record<string, readonly number[]> = {};
  for (const name of factorTensors) {
    const listed = files.tensors.get(name);
    if (listed === undefined) continue;
    const count = listed.shape.reduce((product, size) => product * size, 1);
    factors[name] = [...dequantize(listed.type, await files.read(name), count)];
  }
  const json = family.toJson({ fields, factors, shapeOf: (name) => files.tensors.get(name)?.shape });
  const bos = fields.optionalNumber("tokenizer.ggml.bos_token_id");
  const pad = fields.optionalNumber("tokenizer.ggml.padding_token_id");
  const config = parseModelConfig({
    model_type: family.modelType,
    ...json,
    eos_token_id: endOfTextIds(fields),
    ...(bos === undefined ? {} : { bos_token_id: bos }),
    ...(pad === undefined ? {} : { pad_token_id: pad }),
  });
  // All that GGUF holds are decoders, or encoders, whose configuration is one of a decoder and more.
  return config as DecoderConfig;
}
