import { parentPort } from "node:worker_threads";
import { serveTraining } from "../src/index.js";

if (parentPort !== null) serveTraining(parentPort);
