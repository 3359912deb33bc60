import { expect, test } from "vitest";
import {
  arange,
  concat,
  cpu,
  crossEntropy,
  dropout,
  fromBytes,
  HeddleError,
  invariant,
  layerNorm,
  matmul,
  pad,
  randomKey,
  reference,
  rmsNorm,
  softmax,
  split,
  squeeze,
  take,
  tensor,
  topK,
  valueAndGrad,
  where,
  writeInto,
  zeros,
} from "./index.js";

const device = reference();
const a = zeros(device, [2, 3]);
const b = zeros(device, [4, 5]);
const v = zeros(device, [3]);
const ints = zeros(device, [2, 3], { dtype: "i32" });

/** Every mistake a caller can make with these functions, and what they are told. */
const mistakes: readonly (readonly [HeddleError["code"], () => unknown])[] = [
  ["shape", () => a.add(b)],
  ["dtype", () => a.add(ints)],
  ["dtype", () => ints.exp()],
  ["dtype", () => a.logicalNot()],
  ["dtype", () => where(a, a, 0)],
  ["shape", () => matmul(a, b)],
  ["dtype", () => matmul(a, ints.transpose())],
  ["shape", () => v.apply(a)],
  ["shape", () => a.reshape([4, -1])],
  ["shape", () => a.transpose([0, 0])],
  ["shape", () => a.broadcastTo([3, 3])],
  ["shape", () => a.slice([0, 2], [2, 2])],
  ["shape", () => a.sum({ axes: 2 })],
  ["shape", () => a.sum({ axes: [0, 0] })],
  ["dtype", () => a.greater(0).sum()],
  ["shape", () => zeros(device, [0]).argmax()],
  ["shape", () => concat([a, b])],
  ["shape", () => split(a, [1, 3], { axis: 1 })],
  ["shape", () => pad(a, [[1, 1]])],
  ["shape", () => squeeze(a, [0])],
  ["dtype", () => take(a, v)],
  ["shape", () => topK(a, 4)],
  ["shape", () => writeInto(a, b)],
  ["dtype", () => softmax(ints)],
  ["shape", () => rmsNorm(a, zeros(device, [2]))],
  ["shape", () => layerNorm(a, { weight: zeros(device, [2]) })],
  ["shape", () => crossEntropy(a, zeros(device, [3], { dtype: "i32" }))],
  ["dtype", () => crossEntropy(a, zeros(device, [2]))],
  ["config", () => dropout(a, { rate: 1, key: randomKey(device, 0) })],
  ["dtype", () => dropout(a, { rate: 0.5, key: v })],
  ["shape", () => tensor(device, [[1, 2], [3]])],
  ["shape", () => tensor(device, [1, 2, 3], { shape: [2, 2] })],
  ["shape", () => fromBytes(device, { shape: [2], dtype: "f32" }, new Uint8Array(7))],
  ["shape", () => zeros(device, [-1])],
  ["config", () => arange(device, { stop: 3, step: 0 })],
  ["shape", () => valueAndGrad((x: typeof a) => x.mul(2))(a)],
  ["config", () => valueAndGrad(() => a.sum())({})],
  [
    "disposed",
    () => {
      const x = zeros(device, [2]);
      x.dispose();
      return x.add(1);
    },
  ],
  [
    "unsupported",
    () =>
      valueAndGrad((x: typeof a) => {
        writeInto(a, x);
        return x.sum();
      })(a),
  ],
  [
    "device",
    () => {
      using other = tensor(reference(), [1]);
      return v.add(other);
    },
  ],
  [
    "dtype",
    () => {
      const own = cpu({ threads: 1 });
      try {
        return zeros(own, [2], { dtype: "f64" });
      } finally {
        own.dispose();
      }
    },
  ],
];

test("every mistake gets a code, a rule, the values and a cure", () => {
  const messages = mistakes.map(([code, act]) => {
    try {
      act();
    } catch (error) {
      expect(HeddleError.is(error), String(error)).toBe(true);
      if (!HeddleError.is(error)) throw error;
      expect(error.code, error.message).toBe(code);
      expect(error.message).toMatch(/^\S+: .+; got .+\. .+\.$/s);
      return error.message;
    }
    return expect.fail(`no error for ${act}`);
  });
  expect(messages).toMatchSnapshot();
});

test("an error of another copy of the class is recognised, other errors are not", () => {
  const foreign = Object.assign(new Error("x"), { [Symbol.for("heddle.error")]: true });
  expect(HeddleError.is(foreign)).toBe(true);
  expect(HeddleError.is(new Error("x"))).toBe(false);
});

test("our own bugs say so", () => {
  expect(() => invariant(false, "one is two")).toThrow("Heddle bug: one is two. Please report it");
});
