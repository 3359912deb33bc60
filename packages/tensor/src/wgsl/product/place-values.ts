import { each } from "../kernels/team.js";
import type { PartPlan } from "./group-step.js";

/** Two neighbouring outputs and where they belong, as WGSL expressions. */
interface Value {
  readonly n: string;
  readonly value: string;
}

/**
 * Statements that turn the results of a tile (`r0`, `r1`, .. at outputs `n0`, `n1`, .., two neighbours each, of row `m`) into
 * values and hand them to the targets.
 */
export function placeValues(
  { part, slots, rotation }: PartPlan,
  { values, targets }: { readonly values: string | undefined; readonly targets: readonly string[] },
): string {
  const put = (target: number, { n, value }: Value) => `      ${targets[target]}(m, ${n}, ${value});`;
  if (rotation !== undefined) {
    const { lines, turned } = turn(rotation, slots.length);
    return [...lines, ...turned.flatMap((value) => targets.map((_, i) => put(i, value)))].join("\n");
  }
  if (values === undefined)
    return each(slots.length, (s) =>
      targets.map((_, i) => put(i, { n: `n${s}`, value: `r${s}` })).join("\n"),
    );
  const isStacked = part.products.length > 1;
  const tiles = isStacked ? 1 : slots.length;
  const last = (part.products[0]?.output?.shape.at(-1) ?? 1) - 1;
  return each(tiles, (s) => {
    const args = (lane: string) =>
      (isStacked ? slots.map((_, i) => `r${i}.${lane}`) : [`r${s}.${lane}`]).join(", ");
    return `      let low${s} = ${values}(m, n${s}, ${args("x")});
      let high${s} = ${values}(m, min(n${s} + 1u, ${last}u), ${args("y")});
${targets.map((_, i) => put(i, { n: `n${s}`, value: `vec2f(low${s}.v${i}, high${s}.v${i})` })).join("\n")}`;
  });
}

/** Pairs of a head turned by their position. */
function turn(
  { piece: { layout, pairs, width }, prefix }: NonNullable<PartPlan["rotation"]>,
  numSlots: number,
): { readonly lines: string[]; readonly turned: Value[] } {
  if (layout === "interleaved") {
    const column = `(n0 % ${width}u) / 2u`;
    return {
      lines: [
        `      let t = ${prefix}_turn(m, min(${column}, ${pairs - 1}u));`,
        `      let v = select(r0, vec2f(r0.x * t.x - r0.y * t.y, r0.y * t.x + r0.x * t.y), ${column} < ${pairs}u);`,
      ],
      turned: [{ n: "n0", value: "v" }],
    };
  }
  if (numSlots !== 2) return { lines: [], turned: [] };
  return {
    lines: [
      `      let t0 = ${prefix}_turn(m, n0 % ${width}u);`,
      `      let t1 = ${prefix}_turn(m, n0 % ${width}u + 1u);`,
      "      let cosine = vec2f(t0.x, t1.x);",
      "      let sine = vec2f(t0.y, t1.y);",
    ],
    turned: [
      { n: "n0", value: "r0 * cosine - r1 * sine" },
      { n: "n1", value: "r1 * cosine + r0 * sine" },
    ],
  };
}
