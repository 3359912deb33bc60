// What the benchmark prints, and the page that it makes of the results that it has kept.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";

const keyOf = ({ caseName, shape, type }) => `${caseName} ${shape} ${type}`;
const fileIn = (cacheFolder) => join(cacheFolder, "results.json");
const percent = (share) => `${(100 * share).toFixed(0)} %`;

function readResults(cacheFolder) {
  return existsSync(fileIn(cacheFolder)) ? JSON.parse(readFileSync(fileIn(cacheFolder), "utf8")) : {};
}

/** Keeps the result of a row in place of an older one. */
export function keepResult(cacheFolder, result) {
  mkdirSync(cacheFolder, { recursive: true });
  const all = { ...readResults(cacheFolder), [keyOf(result.row)]: result };
  writeFileSync(fileIn(cacheFolder), JSON.stringify(all, null, 1));
}

/** Shares of the limits that Heddle reaches: of reading the weights once a token (of a step of all sequences), and of int8 or f32 arithmetic. */
function sharesOf({ row, speeds, limits, threads, work }) {
  const { heddle } = speeds;
  if (heddle === undefined) return {};
  const limit = limits[threads];
  const perStep = { decode: 1, prefill: 512, batch: 8 }[row.caseName];
  const read = ((heddle.median / perStep) * work.bytes) / 1e9 / limit.readGBs;
  const peak = row.type === "F16" ? limit.f32GFlops : limit.int8GOps;
  return { read, arithmetic: (heddle.median * 2 * work.weights) / 1e9 / peak };
}

/** One result in one line. */
export function line(result) {
  const { row, speeds, rounds, limits, threads, others } = result;
  const { heddle, llama } = speeds;
  const speed = (entry) =>
    entry === undefined ? "none" : `${entry.median.toFixed(1)} (best ${entry.best.toFixed(1)})`;
  const ratio = heddle && llama ? (heddle.median / llama.median).toFixed(2) : "-";
  const { read, arithmetic } = sharesOf(result);
  const shares =
    read === undefined ? "" : `; of reading ${percent(read)}, of arithmetic ${percent(arithmetic)}`;
  const { readGBs, f32GFlops, int8GOps } = limits[threads];
  const limit = `read ${readGBs.toFixed(1)} GB/s, f32 ${f32GFlops.toFixed(0)} GFLOP/s, int8 ${int8GOps.toFixed(0)} GOP/s`;
  return `${keyOf(row)}: Heddle ${speed(heddle)}, node-llama-cpp ${speed(llama)} tokens/s, ratio ${ratio}${row.target ? ` (aim ${row.target})` : ""}${shares}; ${rounds} rounds, others took ${percent(others.median)} (at most ${percent(others.most)}) of the machine; limits ${limit}`;
}

const begin = "<!-- measured -->";
const end = "<!-- /measured -->";

/** Puts the table of kept results between the marks of a page, or makes a page of it. */
export function writePage(path, { cacheFolder, rows }) {
  const results = readResults(cacheFolder);
  const kept = rows.map((row) => results[keyOf(row)]).filter((result) => result !== undefined);
  const table = `${begin}\n${tableOf(kept)}\n${end}`;
  const old = existsSync(path)
    ? readFileSync(path, "utf8")
    : `# Decoding and prefill on the CPU\n\n${begin}\n${end}\n`;
  const [from, to] = [old.indexOf(begin), old.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${path} must hold the marks ${begin} and ${end}`);
  writeFileSync(path, old.slice(0, from) + table + old.slice(to + end.length));
}

function tableOf(results) {
  const [processor] = cpus();
  const body = results.map((result) => {
    const { row, speeds, rounds, date } = result;
    const { heddle, llama } = speeds;
    const { read, arithmetic } = sharesOf(result);
    const cells = [
      row.caseName,
      row.shape,
      row.type,
      heddle.median.toFixed(1),
      llama ? llama.median.toFixed(1) : "-",
      llama ? (heddle.median / llama.median).toFixed(2) : "-",
      row.target ?? "",
      percent(read),
      percent(arithmetic),
      `${rounds}, ${date}`,
    ];
    return `| ${cells.join(" | ")} |`;
  });
  const [last] = results.slice(-1);
  const limits = Object.entries(last?.limits ?? {}).map(
    ([count, { readGBs, f32GFlops, int8GOps }]) =>
      `| ${count} | ${readGBs.toFixed(1)} | ${f32GFlops.toFixed(0)} | ${int8GOps.toFixed(0)} |`,
  );
  return `${processor?.model.trim()}, ${cpus().length} cores; Node ${process.versions.node}; Heddle: ${last?.speeds.heddle?.detail ?? "-"}; node-llama-cpp with llama.cpp ${last?.speeds.llama?.detail ?? "-"}; ${last?.threads ?? 2} threads each.

| case | shape | type | Heddle tokens/s | node-llama-cpp tokens/s | ratio | aim | of reading the weights | of arithmetic | rounds, date |
|---|---|---|---|---|---|---|---|---|---|
${body.join("\n")}

Limits in the last run, of WebAssembly on this machine:

| threads | plain read GB/s | f32 multiply-add GFLOP/s | int8 dot product GOP/s |
|---|---|---|---|
${limits.join("\n")}
`;
}
