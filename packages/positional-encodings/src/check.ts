import { HeddleError, type Tensor } from "@heddle/tensor";

/** Refuses what is no whole number above 0. */
export function checkCount(caller: string, name: string, value: number): void {
  if (!Number.isInteger(value) || value < 1) {
    throw new HeddleError(
      "config",
      `${caller}: ${name} must be a whole number above 0; got ${name} ${value}. Take it from the model's config.`,
      { [name]: value },
    );
  }
}

/** Refuses what is no finite number above 0. */
export function checkPositive(caller: string, name: string, value: number): void {
  if (!(value > 0) || value === Number.POSITIVE_INFINITY) {
    throw new HeddleError(
      "config",
      `${caller}: ${name} must be a finite number above 0; got ${name} ${value}. Take it from the model's config.`,
      { [name]: value },
    );
  }
}

/** Refuses a tensor of another shape; a string in `expected` stands for any extent and names it. */
export function checkShape(
  caller: string,
  named: Readonly<Record<string, Tensor>>,
  expected: readonly (number | string)[],
): void {
  for (const [name, { shape }] of Object.entries(named)) {
    const fits =
      shape.length === expected.length &&
      expected.every((extent, axis) => typeof extent === "string" || extent === shape[axis]);
    if (fits) continue;
    throw new HeddleError(
      "shape",
      `${caller}: ${name} must be [${expected.join(", ")}]; got ${name} [${shape.join(", ")}]. Reshape it, or check the model's config.`,
      { [name]: shape, expected },
    );
  }
}
