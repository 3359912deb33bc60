import { HeddleError } from "../error.js";

/**
 * Parses the text of a JSON file.
 *
 * @param caller  the exported function that reads the file
 * @param file  what the text is called in the error
 * @throws HeddleError "format" if the text is not JSON
 */
export function parseJson(caller: string, file: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new HeddleError(
      "format",
      `${caller}: ${file} must be JSON; got ${text.length} characters that are not (${(cause as Error).message}). Check the file for truncation.`,
      { length: text.length },
      cause,
    );
  }
}
