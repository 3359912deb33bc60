import type { GgufWeightRule } from "../gguf-family.js";

/** The tensor names of a decoder with gated feed-forward blocks; those that a model does not have are not asked for. */
export function decoderRules({
  hasPairedRows,
}: {
  readonly hasPairedRows: boolean;
}): readonly GgufWeightRule[] {
  return [
    { paths: ["embedding"], name: "token_embd.weight" },
    ...both("attentionNorm", "attn_norm"),
    ...both("attention.query", "attn_q", hasPairedRows ? { interleaved: "numHeads" } : {}),
    ...both("attention.key", "attn_k", hasPairedRows ? { interleaved: "numKvHeads" } : {}),
    ...both("attention.value", "attn_v"),
    ...both("attention.output", "attn_output"),
    ...both("attention.queryNorm", "attn_q_norm"),
    ...both("attention.keyNorm", "attn_k_norm"),
    ...both("mlpNorm", "ffn_norm"),
    ...both("mlp.gate", "ffn_gate"),
    ...both("mlp.up", "ffn_up"),
    ...both("mlp.down", "ffn_down"),
    { paths: ["norm.weight"], name: "output_norm.weight" },
    { paths: ["norm.bias"], name: "output_norm.bias" },
    { paths: ["unembedding"], name: "output.weight" },
  ];
}

/** Weight and bias of one part of a layer, or of several that are stored as one matrix. */
export function both(
  path: string | readonly string[],
  name: string,
  extra: Pick<GgufWeightRule, "interleaved" | "offset"> = {},
): GgufWeightRule[] {
  const paths = typeof path === "string" ? [path] : path;
  return ["weight", "bias"].map((part) => ({
    paths: paths.map((each) => `layers.*.${each}.${part}`),
    name: `blk.*.${name}.${part}`,
    ...extra,
  }));
}
