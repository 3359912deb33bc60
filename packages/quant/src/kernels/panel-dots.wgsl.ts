import { BLOCK_SIZE, type QuantLayout } from "../quant-format.js";

/** How the threads of a workgroup share the codes of a panel's block. Each has 4 or 8 outputs, in vectors of four. */
export interface CodeLanes {
  /** Threads that share a block of 32 inputs. */
  readonly perBlock: number;
  /** Vectors of four outputs of a thread. */
  readonly vectors: number;
  /** Lanes with the same outputs are this far apart. */
  readonly period: number;
  /** Names the first four of a thread's outputs (`rowQuad`) and what the others need; `lane` and `group` are known. */
  readonly place: string;
  /** Reads the thread's codes of `block` into c0..c3 (and h0, h1). */
  readonly load: string;
  /** Whether only some threads see the whole block and add what belongs to it once; else "true". */
  readonly isFirst: string;
  /** Products of output j of vector v with the rounded x in `low` and `high`, over inputs 0..15 and 16..31. */
  dots(v: number, j: number): readonly [low: string, high: string];
}

export function codeLanes({ codeBits }: QuantLayout): CodeLanes {
  return codeBits === 8 ? byteLanes : nibbleLanes(codeBits);
}

const sum = (terms: readonly string[]) => terms.join(" + ");
const four = [0, 1, 2, 3] as const;
const axis = (i: number) => "xyzw"[i] ?? "x";

/** Four threads a block: chunk (q, g) of 16 bytes holds outputs 4g.. of inputs 4q.. (low halves) and 16 + 4q.. (high). */
function nibbleLanes(codeBits: 4 | 6): CodeLanes {
  const vectors = codeBits * 4;
  const code = (q: number, j: number, half: 0 | 1) => {
    const nibble = `((c${q}.${axis(j)} >> ${half * 4}u) & 0x0f0f0f0fu)`;
    if (codeBits === 4) return nibble;
    return `(${nibble} | (((h${q & 1}.${axis(j)} >> ${(q >> 1) * 2 + half * 4}u) & 0x03030303u) << 4u))`;
  };
  return {
    perBlock: 4,
    vectors: 1,
    period: 4,
    place: `  let rowQuad = lane;
  let panelStart = group * P.numBlocks * ${vectors}u;`,
    load: `    let start = panelStart + block * ${vectors}u + lane;
${four.map((q) => `    let c${q} = codes[start + ${q * 4}u];`).join("\n")}${codeBits === 6 ? "\n    let h0 = codes[start + 16u];\n    let h1 = codes[start + 20u];" : ""}`,
    isFirst: "true",
    dots: (_v, j) => [
      sum(four.map((q) => `dot4I8Packed(${code(q, j, 0)}, low.${axis(q)})`)),
      sum(four.map((q) => `dot4I8Packed(${code(q, j, 1)}, high.${axis(q)})`)),
    ],
  };
}

/** Eight threads a block: chunk (p, g) holds outputs 8g.. of inputs 2p, 2p + 1; a thread has four p of one half of them. */
const byteLanes: CodeLanes = {
  perBlock: 8,
  vectors: 2,
  period: 2,
  place: `  let rowQuad = (lane & 1u) * 2u;
  let eighth = lane >> 1u;
  let panelStart = group * P.numBlocks * 32u;`,
  load: `    let start = panelStart + block * 32u + eighth * 8u + (lane & 1u);
${four.map((p) => `    let c${p} = codes[start + ${p * 2}u];`).join("\n")}`,
  isFirst: "eighth == 0u",
  dots: (v, j) => [
    sum(four.map((p) => `dot4I8Packed(c${p}.${axis(v * 2 + (j >> 1))}, pair${p}_${j & 1})`)),
    "0",
  ],
};

/** Adds the products of one block to the sums of every row of x: codes are c.., x is in xCodes and xScales. */
export function blockDots(layout: QuantLayout, lanes: CodeLanes, rows: number): string {
  const { offset, hasMin, groupSize, codeBits } = layout;
  const { vectors } = lanes;
  // With groups of 16 the two halves of a block have scales of their own.
  const isSplit = groupSize < BLOCK_SIZE;
  const isBytes = codeBits === 8;
  const groups = isSplit ? ["block * 2u", "block * 2u + 1u"] : [`block / ${groupSize / BLOCK_SIZE}u`];
  const ofVectors = (line: (v: number) => string) => Array.from({ length: vectors }, (_, v) => line(v));
  const scales = groups.flatMap((place, i) =>
    ofVectors((v) => {
      const at = `group, ${place}, block, rowQuad + ${v}u`;
      return `    let s${i}_${v} = scaleOf(${at});${hasMin ? ` let n${i}_${v} = minOf(${at});` : ""}`;
    }),
  );
  const products = Array.from({ length: rows }, (_, m) => {
    const at = rows === 1 ? "block" : `${m}u * P.numBlocks + block`;
    const vector = (v: number, part: 0 | 1) =>
      `vec4f(vec4i(${four.map((j) => lanes.dots(v, j)[part]).join(", ")}))`;
    const whole = (v: number) => `vec4f(vec4i(${four.map((j) => lanes.dots(v, j).join(" + ")).join(", ")}))`;
    const sums = (v: number) => {
      const target = `      sum${m * vectors + v}`;
      if (!isSplit) return `${target} += s0_${v} * (${whole(v)} * t.x);`;
      // A thread of bytes sees one half only.
      if (isBytes) return `${target} += select(s1_${v}, s0_${v}, eighth < 2u) * (${whole(v)} * t.x);`;
      return `${target} += (s0_${v} * ${vector(v, 0)} + s1_${v} * ${vector(v, 1)}) * t.x;`;
    };
    const constant = (v: number, i: number, total: string) => {
      const minimum = hasMin ? `n${i}_${v}` : "";
      const shift = offset === 0 ? "" : `${hasMin ? " - " : "-"}${offset}.0 * s${i}_${v}`;
      return `sum${m * vectors + v} += (${minimum}${shift}) * ${total};`;
    };
    const hasConstant = offset !== 0 || hasMin;
    const constants = ofVectors((v) =>
      isSplit ? `${constant(v, 0, "t.y")} ${constant(v, 1, "t.z")}` : constant(v, 0, "(t.y + t.z)"),
    );
    const operands = isBytes
      ? `      let pairs = xCodes[(${at}) * 2u + (eighth >> 1u)];
      let two = select(pairs.xy, pairs.zw, (eighth & 1u) == 1u);
${four.map((p) => `      let pair${p}_0 = (two.${axis(p >> 1)} >> ${(p & 1) * 16}u) & 0xffffu; let pair${p}_1 = pair${p}_0 << 16u;`).join("\n")}`
      : `      let low = xCodes[(${at}) * 2u]; let high = xCodes[(${at}) * 2u + 1u];`;
    const once =
      lanes.isFirst === "true" ? constants.join(" ") : `if (${lanes.isFirst}) { ${constants.join(" ")} }`;
    return [
      "    {",
      `      let t = xScales[${at}];`,
      operands,
      ...ofVectors(sums),
      hasConstant ? `      ${once}` : "",
      "    }",
    ].join("\n");
  });
  return [...scales, ...products].join("\n");
}
