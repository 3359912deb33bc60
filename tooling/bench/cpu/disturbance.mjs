// How much of the machine other processes take while a contestant runs, from Linux' counts of processor time.
import { existsSync, readdirSync, readFileSync } from "node:fs";

const isLinux = existsSync("/proc/stat");

/** Processor time so far in ticks of 10 ms: all there is, what was used, and what a process and those it started used. */
function ticks(pid) {
  const [, ...cpu] = readFileSync("/proc/stat", "utf8").split("\n", 1)[0].split(/\s+/);
  const [user, nice, system, idle, wait, irq, softIrq, stolen] = cpu.map(Number);
  const used = user + nice + system + irq + softIrq + stolen;
  return { all: used + idle + wait, used, own: ticksOfTree(pid) };
}

function ticksOfTree(pid) {
  const children = new Map();
  const own = new Map();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const fields = fieldsOf(name);
    if (fields === undefined) continue;
    const parent = Number(fields[1]);
    children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
    own.set(Number(name), Number(fields[11]) + Number(fields[12]));
  }
  const sum = (id) => (children.get(id) ?? []).reduce((total, child) => total + sum(child), own.get(id) ?? 0);
  return sum(pid);
}

/** Fields of a process from its state on; undefined if it has ended. */
function fieldsOf(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined;
  }
}

/** Starts to watch; the function returned gives the share of the machine, 0 to 1, that others have taken since. Elsewhere than on Linux 0. */
export function watchOthers(pid) {
  if (!isLinux) return () => 0;
  const before = ticks(pid);
  return () => {
    const now = ticks(pid);
    const others = now.used - before.used - (now.own - before.own);
    return Math.max(0, others) / Math.max(1, now.all - before.all);
  };
}
