import { type DType, isFloat, isHalf, type OpCall } from "@heddle/tensor";
import {
  type BufferUse,
  bufferAt,
  chosenRows,
  each,
  numbered,
  type WgslKernel,
  wgslStep,
  widened,
} from "@heddle/tensor/kernel";

const threads = 256;
/** Threads that share an output. */
const lanes = 16;
const outputs = threads / lanes;

/**
 * WGSL kernel of `expertLinear` for floats of up to four bytes: a workgroup makes 16 outputs of one expert, for one row or for eight of its rows at a
 * time, with sums in f32. Undefined for inner extents that are no multiple of 4.
 */
export function expertLinearWgsl({ inputs, outputs: results }: OpCall): WgslKernel | undefined {
  const [x, weight] = inputs;
  const [y] = results;
  if (x === undefined || weight === undefined || y === undefined) return undefined;
  const [numMatrices = 0, height = 0, into = 0] = weight.shape;
  const rows = x.shape[0] ?? 0;
  const areFloats = [x, weight].every(({ dtype }) => isFloat(dtype) && dtype !== "f64");
  if (!areFloats || rows * height * into === 0 || into % 4 !== 0) return undefined;
  const tiles = Math.ceil(height / outputs);
  const work = chosenRows({ which: 2, rows, numMatrices, tiles, threads });
  const step = wgslStep({
    buffers: [
      quads("x", 0, x.dtype),
      quads("weight", 1, weight.dtype),
      work.buffer,
      { name: "y", memory: bufferAt(3), dtype: y.dtype, access: "write" },
    ],
    params: { ...work.params, height, quads: into / 4 },
    threads,
    groups: work.groups,
    declarations: `var<workgroup> parts: array<vec4f, ${threads}>;
${work.declarations}
${readQuad("x", x.dtype)}
${readQuad("weight", weight.dtype)}`,
    body: work.body({
      clear: (row) =>
        `for (var o = tile * ${outputs}u; o < min((tile + 1u) * ${outputs}u, P.height); o++) { store_y(${row} * P.height + o, 0.0); }`,
      product: (count, row, isIn) => {
        const sums = numbered("sum", Math.ceil(count / 4) * 4);
        return `  let lane = thread % ${lanes}u;
  let output = tile * ${outputs}u + thread / ${lanes}u;
  let start = (matrix * P.height + min(output, P.height - 1u)) * P.quads;
${each(sums.length, (i) => `  var ${sums[i]} = 0.0;`)}
  for (var q = lane; q < P.quads; q += ${lanes}u) {
    let w = quad_weight(start + q);
${each(count, (m) => `    ${sums[m]} += dot(w, quad_x(${row(m)} * P.quads + q));`)}
  }
${each(
  sums.length / 4,
  (v) => `  parts[thread] = vec4f(${sums.slice(v * 4, v * 4 + 4).join(", ")});
  for (var half = ${lanes / 2}u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { parts[thread] += parts[thread + half]; }
  }
  if (lane == 0u && output < P.height) {
${each(Math.min(4, count - v * 4), (j) => `    if (${isIn(v * 4 + j)}) { store_y(${row(v * 4 + j)} * P.height + output, parts[thread][${j}]); }`)}
  }
  workgroupBarrier();`,
)}`;
      },
    }),
  });
  return { steps: [step] };
}

/** Four neighbouring numbers an element. */
function quads(name: string, index: number, dtype: DType): BufferUse {
  const element = isHalf(dtype) ? "vec2u" : "vec4f";
  return { name, memory: bufferAt(index), dtype, access: "read", element };
}

function readQuad(name: string, dtype: DType): string {
  const value = isHalf(dtype) ? widened(dtype, "q", ["x", "y"]) : "q";
  return `fn quad_${name}(i: u32) -> vec4f { let q = ${name}[i]; return ${value}; }`;
}
