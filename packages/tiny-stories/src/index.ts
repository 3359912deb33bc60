/** The files of the model under `@heddle/tiny-stories/model/`: a directory in Hugging Face layout. */
export const modelFiles = [
  "config.json",
  "generation_config.json",
  "model.safetensors",
  "tokenizer.json",
  "tokenizer_config.json",
] as const;
