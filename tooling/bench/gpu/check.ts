// Compares every op of the tensor package on this machine's GPU with the float64 reference, forward and backward:
// `check [half|fast] [matrices|eager|compiled] [own|emulated]`. What runs on matrix units is compared with float64 first: a line each, with the
// error in units of the tolerance on the adapter's own units and on their emulation, which tells wrong hardware or driver from wrong
// kernels. For machines without the test runner.
import { reference } from "@heddle/tensor";
import { matrixUnitOf } from "@heddle/tensor/kernel";
import { matrixAttention } from "../../../packages/attention/test/matrix-attention.ts";
import { matrixPrompts } from "../../../packages/attention/test/matrix-prompts.ts";
import { matrixGroups } from "../../../packages/models/test/matrix-groups.ts";
import { matrixWeights } from "../../../packages/quant/test/matrix-weights.ts";
import { conformanceCases, largestDifference, outcomeOf } from "../../../packages/tensor/test/conformance.ts";
import type { MatrixCheck, MatrixUnits } from "../../../packages/tensor/test/emulated-matrices.ts";
import { matrixProducts } from "../../../packages/tensor/test/matrix-products.ts";
import { describeDevice, openDevice } from "./parts/open-device.ts";

const tolerance = 1e-4;
const words = process.argv.slice(2);
const device = await openDevice(words);
console.log(describeDevice(device));
const start = performance.now();
let failed = 0;
let worst = 0;
const parts = ["matrices", "eager", "compiled"] as const;
const chosen = parts.filter((part) => words.includes(part) || !parts.some((word) => words.includes(word)));
const modes = chosen.filter((part) => part !== "matrices");
const units = (["own", "emulated"] as const).filter(
  (kind) =>
    (kind === "emulated" || matrixUnitOf(device.features) !== undefined) &&
    (words.includes(kind) || !(words.includes("own") || words.includes("emulated"))),
);
for (const check of [
  ...matrixProducts,
  ...matrixGroups,
  ...matrixWeights,
  ...matrixAttention,
  ...matrixPrompts,
]) {
  if (!chosen.includes("matrices")) break;
  const lines = await Promise.all(units.map((kind) => describeCheck(check, kind)));
  const isRight = lines.every(({ isRight }) => isRight);
  if (!isRight) failed++;
  console.log(`${isRight ? "ok  " : "FAIL"} ${check.name}: ${lines.map(({ text }) => text).join(", ")}`);
}

async function describeCheck({ error }: MatrixCheck, kind: MatrixUnits) {
  try {
    const value = await error(device, kind);
    return { isRight: value <= 1, text: `${kind} ${value.toFixed(2)}` };
  } catch (cause) {
    return { isRight: false, text: `${kind} ${cause instanceof Error ? cause.message : cause}` };
  }
}

for (const mode of modes) {
  for (const example of conformanceCases) {
    const expected = await outcomeOf(reference(), example, "eager");
    const actual = await outcomeOf(device, example, mode);
    const errors = [
      largestDifference(actual.value, expected.value),
      ...actual.grads.map((grad, i) => largestDifference(grad, expected.grads[i] ?? [])),
    ];
    const error = Math.max(...errors);
    worst = Math.max(worst, error);
    if (!(error <= tolerance)) {
      failed++;
      console.log(`FAIL ${mode} ${example.name}: ${errors.map((value) => value.toExponential(1)).join(" ")}`);
    }
  }
}
const total = conformanceCases.length * modes.length;
console.log(
  `${failed} failed; ${total} cases of ops compared, tolerance ${tolerance}; largest difference ${worst.toExponential(2)}; ${((performance.now() - start) / 1000).toFixed(1)} s`,
);
device.dispose();
process.exitCode = failed === 0 ? 0 : 1;
