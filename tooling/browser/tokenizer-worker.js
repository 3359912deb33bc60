/** The file of a Web Worker that counts words for trainings. */
import { serveTraining } from "@heddle/tokenizers";

serveTraining(globalThis);
