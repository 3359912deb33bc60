import type { OpCall } from "./device.js";
import type { TensorType } from "./shape.js";

/**
 * Equal keys mean equal kernels of one op; undefined where the params are not plain data.
 * Runs at every eager op, so it builds its text by hand.
 */
export function callKey({ inputs, outputs, params }: OpCall): string | undefined {
  const text = plainText(params);
  if (text === undefined) return undefined;
  let key = text;
  for (const type of inputs) key += typeText(type);
  key += ">";
  for (const type of outputs) key += typeText(type);
  return key;
}

function typeText({ dtype, shape }: TensorType): string {
  let text = ` ${dtype}`;
  for (const extent of shape) text += `,${extent}`;
  return text;
}

export function plainText(value: unknown): string | undefined {
  switch (typeof value) {
    case "number":
      return Object.is(value, -0) ? "-0" : `${value}`;
    case "boolean":
    case "undefined":
      return `${value}`;
    case "string":
      return JSON.stringify(value);
    case "object":
      return value === null ? "null" : plainObjectText(value as Readonly<Record<string, unknown>>);
    default:
      return undefined;
  }
}

function plainObjectText(value: Readonly<Record<string, unknown>>): string | undefined {
  const isList = Array.isArray(value);
  if (!isList && Object.getPrototypeOf(value) !== Object.prototype) return undefined;
  let text = isList ? "[" : "{";
  for (const name in value) {
    const part = plainText(value[name]);
    if (part === undefined) return undefined;
    text += isList ? `${part},` : `${name}:${part},`;
  }
  return isList ? `${text}]` : `${text}}`;
}
