import type { TokenRows } from "../src/architecture.js";
import {
  type GoldenArray,
  goldenConfig,
  goldenExpected,
  goldenFiles,
  goldenNames,
  rowsOf,
} from "./golden-model.js";
import { packedConfig, packedExpected, packedFiles, packedNames } from "./packed-golden.js";

/** Every golden model, of whatever architecture. */
export const everyName: readonly string[] = [...goldenNames, ...packedNames];

const isPacked = (name: string) => (packedNames as readonly string[]).includes(name);

/** The files of a golden model's directory. */
export function everyFiles(name: string): Record<string, Uint8Array> {
  return isPacked(name) ? packedFiles(name) : goldenFiles(name);
}

/** `config.json` of a golden model. */
export function everyConfig(name: string): Readonly<Record<string, unknown>> {
  return (isPacked(name) ? packedConfig(name) : goldenConfig(name)) as Readonly<Record<string, unknown>>;
}

/** What Hugging Face computed with a golden model. */
export async function everyExpected(name: string): Promise<Readonly<Record<string, GoldenArray>>> {
  if (!isPacked(name)) return goldenExpected(name);
  const arrays = packedExpected(name);
  return Object.fromEntries(
    arrays.names.map((key) => {
      const { shape, data } = arrays.get(key);
      return [key, { shape, data: Float64Array.from(data) }];
    }),
  );
}

/** The inputs of a golden case, as rows on the host. */
export function caseRows(golden: Readonly<Record<string, GoldenArray>>, kind: string): TokenRows {
  const rows = (input: string) => {
    const array = golden[`${kind}.${input}`];
    return array === undefined ? undefined : rowsOf(array);
  };
  const frames = golden[`${kind}.input_features`];
  const inputs = {
    attentionMask: rows("attention_mask"),
    tokenTypeIds: rows("token_type_ids"),
    decoderIds: rows("decoder_input_ids"),
    decoderAttentionMask: rows("decoder_attention_mask"),
    frames: frames && { shape: frames.shape, data: Float32Array.from(frames.data) },
  };
  const given = Object.fromEntries(Object.entries(inputs).filter(([, value]) => value !== undefined));
  return { ids: rows("input_ids") ?? [], ...given };
}
