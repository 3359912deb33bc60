/** Throws where one of the options that a program needs is missing; `needed` says by name what stands behind it. */
export function checkNeeded(program, options, needed) {
  const missing = Object.keys(needed).find((name) => options[name] === undefined);
  if (missing === undefined) return;
  const all = Object.entries(needed).map(([name, value]) => `--${name} ${value}`);
  throw new Error(`${program}: needs ${all.join(" and ")}; got no --${missing}.`);
}
