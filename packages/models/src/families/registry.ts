import { HeddleError } from "@heddle/tensor";
import { shownValue } from "../loading/shown-value.js";
import { albert } from "./albert.js";
import { baichuan } from "./baichuan.js";
import { bart } from "./bart.js";
import { bert } from "./bert.js";
import { bloom } from "./bloom.js";
import { chatglm } from "./chatglm.js";
import { cohere } from "./cohere.js";
import { deberta } from "./deberta.js";
import { debertaV2 } from "./deberta-v2.js";
import { deci } from "./deci.js";
import { deepseekV2 } from "./deepseek-v2.js";
import { deepseekV3 } from "./deepseek-v3.js";
import { distilbert } from "./distilbert.js";
import { electra } from "./electra.js";
import { falcon } from "./falcon.js";
import type { AnyFamily } from "./family.js";
import { gemma } from "./gemma.js";
import { gemma2 } from "./gemma2.js";
import { gemma3 } from "./gemma3.js";
import { glm } from "./glm.js";
import { glm4 } from "./glm4.js";
import { gptNeo } from "./gpt-neo.js";
import { gptNeox } from "./gpt-neox.js";
import { gptOss } from "./gpt-oss.js";
import { gpt2 } from "./gpt2.js";
import { gptj } from "./gptj.js";
import { granite } from "./granite.js";
import { llama } from "./llama.js";
import { mamba } from "./mamba.js";
import { mamba2 } from "./mamba2.js";
import { mistral } from "./mistral.js";
import { mixtral } from "./mixtral.js";
import { modernbert } from "./modernbert.js";
import { mpt } from "./mpt.js";
import { olmo } from "./olmo.js";
import { olmo2 } from "./olmo2.js";
import { olmoe } from "./olmoe.js";
import { opt } from "./opt.js";
import { phi } from "./phi.js";
import { phi3 } from "./phi3.js";
import { qwen2 } from "./qwen2.js";
import { qwen2Moe } from "./qwen2-moe.js";
import { qwen3 } from "./qwen3.js";
import { qwen3Moe } from "./qwen3-moe.js";
import { retnet } from "./retnet.js";
import { roberta } from "./roberta.js";
import { rwkv } from "./rwkv.js";
import { stablelm } from "./stablelm.js";
import { starcoder2 } from "./starcoder2.js";
import { t5 } from "./t5.js";
import { whisper } from "./whisper.js";
import { xlnet } from "./xlnet.js";

const decoders = [
  baichuan,
  bloom,
  chatglm,
  cohere,
  deci,
  deepseekV2,
  deepseekV3,
  falcon,
  gemma,
  gemma2,
  gemma3,
  glm,
  glm4,
  gpt2,
  gptj,
  gptNeo,
  gptNeox,
  gptOss,
  granite,
  llama,
  mistral,
  mixtral,
  mpt,
  olmo,
  olmo2,
  olmoe,
  opt,
  phi,
  phi3,
  qwen2,
  qwen2Moe,
  qwen3,
  qwen3Moe,
  stablelm,
  starcoder2,
];

const recurrent = [mamba, mamba2, retnet, rwkv];

const encoders = [albert, bert, deberta, debertaV2, distilbert, electra, modernbert, roberta, xlnet];

const encoderDecoders = [bart, t5, whisper];

/** Every family, by the `model_type` of its config.json. */
export const families: Readonly<Record<string, AnyFamily>> = Object.fromEntries(
  [...decoders, ...recurrent, ...encoders, ...encoderDecoders].flatMap((family): [string, AnyFamily][] =>
    [family.modelType, ...(family.aliases ?? [])].map((name) => [name, family as unknown as AnyFamily]),
  ),
);

/** The family of a model_type. @throws HeddleError "unsupported" naming those there are */
export function findFamily(modelType: unknown): AnyFamily {
  const family =
    typeof modelType === "string" && Object.hasOwn(families, modelType) ? families[modelType] : undefined;
  if (family !== undefined) return family;
  const known = Object.keys(families).sort().join(", ");
  const message = `parseConfig: model_type must be one of ${known}; got ${shownValue(modelType)}. Convert the model or choose another.`;
  throw new HeddleError("unsupported", message, { modelType, known: Object.keys(families) });
}
