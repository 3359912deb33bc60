import { cpus, loadavg } from "node:os";

/** When and where a measurement ran, in one line. */
export function machineLine() {
  return `${new Date().toISOString()}, ${cpus().length} x ${cpus()[0].model}, Node ${process.version}, load ${loadavg()[0].toFixed(1)}`;
}
