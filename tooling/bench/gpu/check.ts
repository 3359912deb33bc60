// Compares every op of the tensor package on this machine's GPU with the float64 reference, forward and backward:
// `check [half|fast] [eager|compiled]`. For machines without the test runner.
import { reference } from "@heddle/tensor";
import { conformanceCases, largestDifference, outcomeOf } from "../../../packages/tensor/test/conformance.ts";
import { describeDevice, openDevice } from "./parts/open-device.ts";

const tolerance = 1e-4;
const words = process.argv.slice(2);
const device = await openDevice(words);
console.log(describeDevice(device));
const start = performance.now();
let failed = 0;
let worst = 0;
const modes = (["eager", "compiled"] as const).filter(
  (mode) => words.includes(mode) || !["eager", "compiled"].some((word) => words.includes(word)),
);
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
  `${total - failed} of ${total} agree within ${tolerance}; largest difference ${worst.toExponential(2)}; ${((performance.now() - start) / 1000).toFixed(1)} s`,
);
device.dispose();
process.exitCode = failed === 0 ? 0 : 1;
