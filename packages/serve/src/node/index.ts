export { readPage } from "./page-files.js";
export { createPrometheusMetrics, type PrometheusOptions } from "./prometheus.js";
export { drainOnSignals, type HttpServer, type ListenOptions, listen } from "./server.js";
