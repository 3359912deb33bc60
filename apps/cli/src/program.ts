import { Command } from "commander";
import { addBench } from "./commands/bench.js";
import { addConvert } from "./commands/convert.js";
import { addDescribe } from "./commands/describe.js";
import { addDoctor } from "./commands/doctor.js";
import { addEmbed } from "./commands/embed.js";
import { addEval } from "./commands/eval.js";
import { addGenerate } from "./commands/generate.js";
import { addLogits } from "./commands/logits.js";
import { addServe } from "./commands/serve.js";
import { addTokenize } from "./commands/tokenize.js";
import { addTrain } from "./commands/train.js";
import { readVersion } from "./options.js";
import type { Terminal } from "./terminal.js";

/** The whole command line. Bad usage throws a CommanderError after its message has been printed. */
export function createProgram(terminal: Terminal): Command {
  const program = new Command("heddle")
    .description("Tokenize, run, train, evaluate, benchmark and serve language models.")
    .version(readVersion())
    .exitOverride()
    .showHelpAfterError("Add --help for all options.")
    .showSuggestionAfterError();
  addTokenize(program, terminal);
  addLogits(program, terminal);
  addGenerate(program, terminal);
  addEmbed(program, terminal);
  addServe(program, terminal);
  addTrain(program, terminal);
  addConvert(program, terminal);
  addEval(program, terminal);
  addDescribe(program, terminal);
  addBench(program, terminal);
  addDoctor(program, terminal);
  return program;
}
