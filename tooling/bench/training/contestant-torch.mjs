// PyTorch of this machine in a process of its own (Debian: python3-torch, libopenblas0-pthread), under the same protocol.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { serve } from "../cpu/contestant.mjs";

// Debian's own interpreter, unless PYTHON names another. OpenBLAS chooses its kernels for the processor by itself.
const { OPENBLAS_CORETYPE: _type, OPENBLAS_L2_SIZE: _size, ...env } = process.env;
const script = fileURLToPath(new URL("torch-step.py", import.meta.url));
const child = spawn(process.env.PYTHON ?? "/usr/bin/python3", [script, process.argv[2]], {
  env,
  stdio: ["pipe", "pipe", "inherit"],
});
child.on("exit", (code) => process.exit(code ?? 1));
const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
const description = JSON.parse((await lines.next()).value);

serve(description, async () => {
  child.stdin.write("step\n");
  const [ms, loss] = (await lines.next()).value.split(" ").map(Number);
  return { ms, loss };
});
process.on("disconnect", () => child.kill());
