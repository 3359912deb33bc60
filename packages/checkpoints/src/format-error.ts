import { HeddleError } from "@heddle/tensor";

/** Where in a checkpoint something is wrong. `byte` counts from the start of the file. */
export interface FormatPlace {
  readonly file: string;
  readonly tensor?: string;
  readonly byte?: number;
}

/** Makes the error of a file that is not what it should be: it names the file, the tensor and the byte. */
export function formatError(
  place: FormatPlace,
  text: { readonly rule: string; readonly got?: string; readonly cure?: string },
  cause?: unknown,
): HeddleError {
  const named = [
    `file "${place.file}"`,
    ...(place.tensor === undefined ? [] : [`tensor "${shorten(place.tensor)}"`]),
    ...(place.byte === undefined ? [] : [`byte ${place.byte}`]),
    ...(text.got === undefined ? [] : [text.got]),
  ];
  const cure = text.cure ?? "The file is damaged or not a safetensors file: copy it again.";
  return new HeddleError(
    "format",
    `safetensors: ${text.rule}; got ${named.join(", ")}. ${cure}`,
    { ...place },
    cause,
  );
}

/** Cuts a name from a foreign file so that a message stays readable. */
function shorten(name: string): string {
  return name.length <= 120 ? name : `${name.slice(0, 117)}...`;
}
