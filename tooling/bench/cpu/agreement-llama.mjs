// What node-llama-cpp takes for the likeliest next token at every position. Arguments: a GGUF file, ids as JSON on stdin.
import { getLlama } from "node-llama-cpp";

const [, , file] = process.argv;
const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const { windows } = JSON.parse(Buffer.concat(chunks).toString("utf8"));
const llama = await getLlama({ gpu: false, build: "never", logLevel: "error" });
const model = await llama.loadModel({ modelPath: file });
const longest = Math.max(...windows.map((ids) => ids.length));
const context = await model.createContext({ contextSize: longest + 8, batchSize: Math.max(512, longest) });
const sequence = context.getSequence();
const choices = [];
for (const ids of windows) {
  await sequence.clearHistory();
  const options = { generateNext: { token: true, options: { temperature: 0 } } };
  const answers = await sequence.controlledEvaluate(ids.map((id) => [id, options]));
  choices.push(answers.map((answer) => answer?.next?.token ?? -1));
}
process.stdout.write(JSON.stringify({ choices, texts: windows.map((ids) => model.detokenize(ids)) }));
await llama.dispose();
