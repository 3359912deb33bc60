// Says what this thread does in a run: the sampling profiler of V8, by function.
import { Session } from "node:inspector/promises";

/**
 * Samples a run every 50 microseconds.
 *
 * @returns lines of milliseconds for each of `count` units of the run, busiest function first; waiting is left out of the sum
 */
export async function threadProfile(run: () => Promise<void>, count: number): Promise<string[]> {
  const session = new Session();
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.setSamplingInterval", { interval: 50 });
  await session.post("Profiler.start");
  await run();
  const { profile } = await session.post("Profiler.stop");
  session.disconnect();
  const names = new Map(
    profile.nodes.map(({ id, callFrame }) => [id, callFrame.functionName || "(anonymous)"]),
  );
  const microseconds = new Map<string, number>();
  profile.samples?.forEach((id, i) => {
    const name = names.get(id) ?? "?";
    microseconds.set(name, (microseconds.get(name) ?? 0) + (profile.timeDeltas?.[i] ?? 0));
  });
  const waiting = ["(idle)", "(program)"];
  const all = [...microseconds].sort(([, x], [, y]) => y - x);
  const sum = all.reduce((total, [name, us]) => total + (waiting.includes(name) ? 0 : us), 0);
  const perUnit = (us: number) => (us / 1000 / count).toFixed(3);
  return [`${perUnit(sum)} ms in functions`, ...all.map(([name, us]) => `${perUnit(us)} ms ${name}`)];
}
