import { fromGgufVocabulary, type Tokenizer } from "@heddle/tokenizers";
import type { GgufFields } from "./gguf-fields.js";

const prefix = "tokenizer.ggml.";

/**
 * The tokenizer in the metadata of a GGUF file; undefined where the file holds none.
 *
 * @throws HeddleError "format" naming a field that does not fit; "unsupported" for a kind of tokenizer that Heddle lacks
 */
export function ggufTokenizer(fields: GgufFields): Tokenizer | undefined {
  const model = fields.optionalText(`${prefix}model`);
  const tokens = fields.optionalTexts(`${prefix}tokens`);
  if (model === undefined || model === "no_vocab" || tokens === undefined) return undefined;
  const id = (role: string) => fields.optionalNumber(`${prefix}${role}_token_id`);
  const flag = (name: string) => fields.optionalFlag(`${prefix}${name}`);
  const charsmap = fields.optionalNumbers(`${prefix}precompiled_charsmap`);
  return fromGgufVocabulary({
    model,
    tokens,
    pre: fields.optionalText(`${prefix}pre`),
    scores: fields.optionalNumbers(`${prefix}scores`),
    types: fields.optionalNumbers(`${prefix}token_type`),
    merges: fields.optionalTexts(`${prefix}merges`),
    precompiledCharsmap: charsmap === undefined ? undefined : Uint8Array.from(charsmap),
    ids: {
      bos: id("bos"),
      eos: id("eos"),
      unk: id("unknown"),
      sep: id("seperator") ?? id("separator"),
      pad: id("padding"),
      cls: id("cls"),
      mask: id("mask"),
    },
    flags: {
      addBos: flag("add_bos_token"),
      addEos: flag("add_eos_token"),
      addSep: flag("add_sep_token"),
      addSpacePrefix: flag("add_space_prefix"),
      removeExtraWhitespaces: flag("remove_extra_whitespaces"),
    },
  });
}

/** Tokens that end a turn by their text, whatever else a file says of them; llama.cpp goes by such a list, too. */
const endNames = [
  "<|eot_id|>",
  "<|im_end|>",
  "<|end|>",
  "<|return|>",
  "<|call|>",
  "<end_of_turn>",
  "<|endoftext|>",
  "<|eom_id|>",
  "<EOT>",
  "<|end_of_text|>",
  "<end_of_utterance>",
  "<turn|>",
  "<\uff5cend\u2581of\u2581sentence\uff5c>",
];
const controlType = 3;

/** Ids that end a text: those that the file names (end of sequence, of turn, of message) and control tokens known by name. */
export function endOfTextIds(fields: GgufFields): readonly number[] {
  const named = ["eos", "eot", "eom"].flatMap(
    (role) => fields.optionalNumber(`${prefix}${role}_token_id`) ?? [],
  );
  const controls = fields.placesOf(`${prefix}token_type`, controlType);
  const known = new Set(endNames);
  const byName = controls.filter((id) => known.has(fields.optionalTextAt(`${prefix}tokens`, id) ?? ""));
  return [...new Set([...named, ...byName])];
}
