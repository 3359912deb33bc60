// Contestants in processes of their own, which take turns.
import { fork } from "node:child_process";
import { once } from "node:events";

/** Starts a contestant; undefined, with the reason on stderr, if it cannot start here. */
export async function start(script, job) {
  const child = fork(new URL(script, import.meta.url), [JSON.stringify(job)]);
  const first = await Promise.race([once(child, "message"), once(child, "exit")]);
  if (typeof first[0] === "object" && first[0] !== null) return { ...first[0], child };
  console.error(`left out: ${script} (exit code ${first[0]})`);
  return undefined;
}

/** One round of a contestant. */
export async function round({ child }) {
  const answer = resultOf(child, "a contestant");
  child.send("run");
  return answer;
}

/** The only message of a process that measures once and ends. */
export async function measureOnce(script, job) {
  return resultOf(fork(new URL(script, import.meta.url), [JSON.stringify(job)]), script);
}

/** The next message of a process; an error if it ends instead. */
async function resultOf(child, name) {
  const [result] = await Promise.race([once(child, "message"), once(child, "exit")]);
  if (typeof result !== "object" || result === null) throw new Error(`${name} ended with code ${result}`);
  return result;
}

export function stop(contestants) {
  for (const contestant of contestants) contestant?.child.kill();
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
