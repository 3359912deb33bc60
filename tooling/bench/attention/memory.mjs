// Peak memory of exact attention at 1k to 32k tokens, beside what its inputs take: bytes a token, forward and with gradients.
//   node tooling/bench/attention/memory.mjs
import { importSource } from "../cpu/sources.mjs";

const { peakBytesPerToken } = await importSource("../attention/memory.ts");
console.log("tokens    forward  gradients  with a bias by distance");
for (let length = 1024; length <= 32_768; length *= 2) {
  const cells = [
    peakBytesPerToken(length, { hasGradient: false, hasDistanceBias: false }),
    peakBytesPerToken(length, { hasGradient: true, hasDistanceBias: false }),
    peakBytesPerToken(length, { hasGradient: true, hasDistanceBias: true }),
  ];
  console.log(String(length).padEnd(8), cells.map((bytes) => bytes.toFixed(1).padStart(9)).join("  "));
}
