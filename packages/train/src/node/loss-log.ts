import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { writeAtomically } from "@heddle/checkpoints/node";
import { HeddleError } from "@heddle/tensor";
import { lossCurveSvg } from "../loss-curve.js";
import type { TrainingEvent } from "../training-events.js";

/** Events of a run on disk: one JSON object a line. */
export interface LossLog {
  /** Appends an event, at once. */
  write(event: TrainingEvent): void;
  /** All events of the run so far, those before a resume included. */
  events(): TrainingEvent[];
  /** Draws the losses so far as an SVG file. */
  draw(file: string, options?: { readonly title?: string }): Promise<void>;
}

/**
 * Opens the log of a run. A run that goes on at step N keeps the lines up to N: those after it come again.
 *
 * @param options.resumeStep  steps that are done; default 0: the log begins anew
 */
export async function openLossLog(
  file: string,
  { resumeStep = 0 }: { readonly resumeStep?: number } = {},
): Promise<LossLog> {
  const kept =
    resumeStep === 0 || !existsSync(file) ? [] : readEvents(file).filter(({ step }) => step <= resumeStep);
  await writeAtomically(file, [Buffer.from(kept.map((event) => `${JSON.stringify(event)}\n`).join(""))]);
  return {
    write: (event) => appendFileSync(file, `${JSON.stringify(event)}\n`),
    events: () => readEvents(file),
    draw: async (svgFile, options = {}) => {
      const events = readEvents(file);
      const losses = events.filter((event) => event.kind === "step");
      const heldOut = events.filter((event) => event.kind === "evaluation");
      await writeAtomically(svgFile, [Buffer.from(lossCurveSvg(losses, { ...options, heldOut }))]);
    },
  };
}

function readEvents(file: string): TrainingEvent[] {
  const lines = readFileSync(file, "utf8").split("\n");
  return lines.flatMap((line, at): TrainingEvent[] => {
    if (line === "") return [];
    try {
      return [JSON.parse(line) as TrainingEvent];
    } catch (cause) {
      // A process that was killed may have left half of the last line.
      if (at >= lines.length - 2) return [];
      const message = `openLossLog: every line must be JSON; got another at ${file}:${at + 1}. Mend or remove the file.`;
      throw new HeddleError("format", message, { file, line: at + 1 }, cause);
    }
  });
}
