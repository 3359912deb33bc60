/** A number of a config.json. */
export function numberAt(json: Readonly<Record<string, unknown>>, key: string): number | undefined;
export function numberAt(json: Readonly<Record<string, unknown>>, key: string, otherwise: number): number;
export function numberAt(json: Readonly<Record<string, unknown>>, key: string, otherwise?: number) {
  const value = json[key];
  return typeof value === "number" ? value : otherwise;
}

/** The shortest decimal number that is this f32: 1e-5 and not 0.000009999999747378752. */
export function shortest(value: number): number {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === Math.fround(value)) return short;
  }
  return value;
}
