/** A value for an error text: as JSON of at most 60 characters, or by name where it has none, such as NaN or a circle. */
export function shownValue(value: unknown): string {
  const text = textOf(value);
  return text.length <= 60 ? text : `${text.slice(0, 57)}...`;
}

function textOf(value: unknown): string {
  if (value === undefined) return "missing";
  if (typeof value === "number") return String(value);
  if (typeof value === "bigint") return `${value}n`;
  try {
    return JSON.stringify(value) ?? typeof value;
  } catch {
    return "an object in a circle";
  }
}
