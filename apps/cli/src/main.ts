#!/usr/bin/env node
import { createProgram } from "./program.js";
import { runProgram } from "./run-program.js";
import { createTerminal } from "./terminal.js";

const terminal = createTerminal();
process.exitCode = await runProgram(createProgram(terminal), terminal, process.argv.slice(2));
