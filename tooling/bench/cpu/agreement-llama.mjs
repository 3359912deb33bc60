// What node-llama-cpp takes for the likeliest next token at every position, and by how much it prefers one given token to another (in
// logits). Arguments: a GGUF file; as JSON on stdin ids and pairs of tokens for every position.
import { getLlama } from "node-llama-cpp";

const [, , file] = process.argv;
const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const { windows, pairs } = JSON.parse(Buffer.concat(chunks).toString("utf8"));
const llama = await getLlama({ gpu: false, build: "never", logLevel: "error" });
const model = await llama.loadModel({ modelPath: file });
const longest = Math.max(...windows.map((ids) => ids.length));
const context = await model.createContext({ contextSize: longest + 8, batchSize: Math.max(512, longest) });
const sequence = context.getSequence();
const choices = [];
const leads = [];
for (const [at, ids] of windows.entries()) {
  await sequence.clearHistory();
  const options = { generateNext: { token: true, probabilities: true, options: { temperature: 0 } } };
  const answers = await sequence.controlledEvaluate(ids.map((id) => [id, options]));
  choices.push(answers.map((answer) => answer?.next?.token ?? -1));
  leads.push(
    answers.map((answer, i) => {
      const [a, b] = pairs[at][i].map((id) => Math.log(answer?.next?.probabilities?.get(id) ?? Number.NaN));
      return Number.isFinite(a - b) ? a - b : null;
    }),
  );
}
process.stdout.write(JSON.stringify({ choices, leads, texts: windows.map((ids) => model.detokenize(ids)) }));
await llama.dispose();
