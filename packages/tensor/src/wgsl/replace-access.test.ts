import { describe, expect, test } from "vitest";
import { rename, replaceAccess } from "./replace-access.js";

const access = {
  read: (i: string) => `get(${i})`,
  write: (i: string, value: string) => `put(${i}, ${value})`,
};
const replaced = (text: string) => replaceAccess(text, "x", access);

describe("uses of an array in WGSL are replaced", () => {
  test.each([
    ["let a = x[i];", "let a = get(i);"],
    ["let a = x[i].yz + y[i];", "let a = get(i).yz + y[i];"],
    ["let a = x[x[i] + 1u] == x[2];", "let a = get(get(i) + 1u) == get(2);"],
    ["x[i] = v;", "put(i, v);"],
    [
      "if (n < 4u) { x[(m + n) / 2u] = a | (b << 16u); }",
      "if (n < 4u) { put((m + n) / 2u, a | (b << 16u)); }",
    ],
    ["x[table[i]] = x[i] + 1.0;\nx[j] = 0.0;", "put(table[i], get(i) + 1.0);\nput(j, 0.0);"],
    ["let a = P.x + p.x[1] + xx[2];", "let a = P.x + p.x[1] + xx[2];"],
  ])("%s", (text, expected) => expect(replaced(text)).toBe(expected));

  test.each([
    "atomicOr(&x[i], 1u);",
    "x[i].y = 1.0;",
    "x[i][2] = 1u;",
    "x[i] += 1.0;",
    "x[i] <<= 1u;",
    "let n = arrayLength(&x);",
    "let y = x;",
  ])("but not by others: %s", (text) => expect(replaced(text)).toBeUndefined());
});

test("members keep a name that others lose", () => {
  expect(rename("x + P.x + xx + x[0]", "x", "y")).toBe("y + P.x + xx + y[0]");
});
