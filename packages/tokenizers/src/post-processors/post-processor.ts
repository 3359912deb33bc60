import { specialToken, withTypeId } from "../token-list.js";
import { type BertEnds, compileBertEnds } from "./bert.js";
import { trimByteLevelOffsets } from "./byte-level.js";
import { type CompiledPostProcessor, NO_POST_PROCESSOR } from "./compiled.js";
import { compileTemplate, type Template } from "./template.js";

/** Adds special tokens and joins pairs; the names and fields are those of tokenizer.json in camel case. */
export type PostProcessor =
  | { readonly type: "Sequence"; readonly processors: readonly PostProcessor[] }
  | {
      readonly type: "ByteLevel";
      readonly addPrefixSpace: boolean;
      readonly trimOffsets: boolean;
      readonly useRegex: boolean;
    }
  | Template
  | ({ readonly type: "BertProcessing" } & BertEnds)
  | RobertaProcessing;

/** Roberta's ends, and offsets without spaces. */
interface RobertaProcessing extends BertEnds {
  readonly type: "RobertaProcessing";
  readonly trimOffsets: boolean;
  readonly addPrefixSpace: boolean;
}

/** Prepares a post-processor of any kind. */
export function compilePostProcessor(processor: PostProcessor | null): CompiledPostProcessor {
  if (processor === null) return NO_POST_PROCESSOR;
  switch (processor.type) {
    case "Sequence": {
      const steps = processor.processors.map(compilePostProcessor);
      return {
        process: (lists, addSpecialTokens) =>
          steps.reduce((now, step) => step.process(now, addSpecialTokens), lists),
        countAdded: (isPair) => steps.reduce((sum, step) => sum + step.countAdded(isPair), 0),
      };
    }
    case "ByteLevel":
      return compileTrim(processor);
    case "TemplateProcessing":
      return compileTemplate(processor);
    case "BertProcessing":
      return compileBertEnds(processor);
    case "RobertaProcessing":
      return compileRoberta(processor);
    default:
      return processor satisfies never;
  }
}

function compileTrim(options: {
  readonly trimOffsets: boolean;
  readonly addPrefixSpace: boolean;
}): CompiledPostProcessor {
  if (!options.trimOffsets) return NO_POST_PROCESSOR;
  return {
    process: (lists) => lists.map((list) => trimByteLevelOffsets(list, options.addPrefixSpace)),
    countAdded: () => 0,
  };
}

/** <s> A </s>, or <s> A </s> </s> B </s>, all of type 0. */
function compileRoberta(processor: RobertaProcessing): CompiledPostProcessor {
  const { sep, cls } = processor;
  const trim = compileTrim(processor);
  return {
    process(lists, addSpecialTokens) {
      const flat = trim.process(lists, addSpecialTokens).map((list) => withTypeId(list, 0));
      if (!addSpecialTokens) return flat;
      return flat.flatMap((list, i) => [
        specialToken(i === 0 ? cls[1] : sep[1], 0),
        list,
        specialToken(sep[1], 0),
      ]);
    },
    countAdded: (isPair) => (isPair ? 4 : 2),
  };
}
