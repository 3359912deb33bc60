// Contestants in processes of their own, which take turns.
import { fork } from "node:child_process";
import { once } from "node:events";
import { watchOthers } from "./disturbance.mjs";

/** Starts a contestant; undefined, with the reason on stderr, if it cannot start here. */
export async function start(script, job) {
  const child = fork(new URL(script, import.meta.url), [JSON.stringify(job)]);
  const first = await Promise.race([once(child, "message"), once(child, "exit")]);
  if (typeof first[0] === "object" && first[0] !== null) return { ...first[0], child };
  console.error(`left out: ${script} (exit code ${first[0]})`);
  return undefined;
}

/** Rounds in which others take more of the machine are measured again, up to this often. */
const MOST_OTHERS = 0.04;
const MAX_TRIES = 5;

/** One round of a contestant, the least disturbed of those tried, with the share of the machine that others took meanwhile. */
export async function round({ child }) {
  let best;
  for (let i = 0; i < MAX_TRIES && (best === undefined || best.others > MOST_OTHERS); i++) {
    const others = watchOthers(child.pid);
    const answer = resultOf(child, "a contestant");
    child.send("run");
    const result = { ...(await answer), others: others() };
    if (best === undefined || result.others < best.others) best = result;
  }
  return best;
}

/** The only message of a process that measures once and ends. */
export async function measureOnce(script, job) {
  return resultOf(fork(new URL(script, import.meta.url), [JSON.stringify(job)]), script);
}

/** The next message of a process; an error if it ends instead. */
async function resultOf(child, name) {
  const settled = new AbortController();
  const { signal } = settled;
  const events = ["message", "exit"].map((event) => once(child, event, { signal }));
  const [result] = await Promise.race(events);
  settled.abort(); // takes the other listener away
  await Promise.allSettled(events);
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
