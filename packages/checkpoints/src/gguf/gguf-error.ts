import { HeddleError } from "@heddle/tensor";

/** Where in a GGUF file something is wrong. `byte` counts from the start of the file. */
export interface GgufPlace {
  readonly file: string;
  readonly field?: string;
  readonly tensor?: string;
  readonly byte?: number;
}

/** Makes the error of a file that is not what it should be: it names the file, the field or tensor, and the byte. */
export function ggufError(
  place: GgufPlace,
  text: { readonly rule: string; readonly got?: string; readonly cure?: string },
  cause?: unknown,
): HeddleError {
  const named = [
    `file "${shorten(place.file)}"`,
    ...(place.field === undefined ? [] : [`field "${shorten(place.field)}"`]),
    ...(place.tensor === undefined ? [] : [`tensor "${shorten(place.tensor)}"`]),
    ...(place.byte === undefined ? [] : [`byte ${place.byte}`]),
    ...(text.got === undefined ? [] : [text.got]),
  ];
  const cure = text.cure ?? "The file is damaged or not a GGUF file: copy it again.";
  return new HeddleError(
    "format",
    `gguf: ${text.rule}; got ${named.join(", ")}. ${cure}`,
    { ...place },
    cause,
  );
}

/** Cuts a name from a foreign file so that a message stays readable. */
function shorten(name: string): string {
  return name.length <= 120 ? name : `${name.slice(0, 117)}...`;
}
