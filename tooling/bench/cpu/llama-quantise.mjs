// Quantises a GGUF file with llama.cpp itself: the function that llama-quantize calls, from the library in node-llama-cpp's package.
// Arguments: the file to read, the file to write, a type such as Q4_K_M. In a process of its own, since the library prints and may abort.
import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import koffi from "koffi";

/** Numbers of `enum llama_ftype` in llama.h. */
const llamaFileTypes = {
  F16: 1,
  Q4_0: 2,
  Q4_1: 3,
  Q8_0: 7,
  Q5_0: 8,
  Q5_1: 9,
  Q2_K: 10,
  Q3_K_M: 12,
  Q4_K_M: 15,
  Q5_K_M: 17,
  Q6_K: 18,
};

/** The folder of llama.cpp's libraries for this machine. */
function libraries() {
  const own = createRequire(import.meta.url);
  const binding = createRequire(own.resolve("node-llama-cpp"));
  const platform = `${process.platform}-${process.arch}`;
  return join(dirname(binding.resolve(`@node-llama-cpp/${platform}`)), "../bins", platform);
}

/** Loads the library of that name, whose file may carry a version. */
function load(folder, name) {
  const file = readdirSync(folder).find((entry) => entry.startsWith(`${name}.`));
  if (file === undefined) throw new Error(`${folder} holds no ${name}`);
  return koffi.load(join(folder, file), { lazy: true, global: true });
}

/** Keeps the library's report on each tensor off stderr. */
function quiet(llama) {
  const Log = koffi.proto("void llama_log(int level, str text, void *data)");
  const log = koffi.register(() => {}, koffi.pointer(Log));
  llama.func("llama_log_set", "void", [koffi.pointer(Log), "void *"])(log, null);
}

const [, , from, to, type] = process.argv;
const fileType = llamaFileTypes[type];
if (fileType === undefined) {
  throw new Error(`llama.cpp's types here are ${Object.keys(llamaFileTypes).join(", ")}, not ${type}`);
}
const folder = libraries();
for (const name of ["libggml-base", "libggml"]) load(folder, name);
const llama = load(folder, "libllama");
// Only the first two fields are named: the rest, which differs between versions, keeps the library's defaults.
const Parameters = koffi.struct("llama_model_quantize_params", {
  threads: "int32_t",
  fileType: "int32_t",
  rest: koffi.array("uint8_t", 248),
});
const defaults = llama.func("llama_model_quantize_default_params", Parameters, []);
const quantise = llama.func("llama_model_quantize", "uint32_t", ["str", "str", koffi.pointer(Parameters)]);
quiet(llama);
const failed = quantise(from, to, { ...defaults(), fileType });
if (failed !== 0) throw new Error(`llama.cpp could not quantise ${from} to ${type}`);
