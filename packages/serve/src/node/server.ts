import type { Server } from "node:http";
import { HeddleError } from "@heddle/tensor";
import { createAdaptorServer } from "@hono/node-server";
import type { Engine } from "../engine.js";

/** Where a server listens. */
export interface ListenOptions {
  /** Default 127.0.0.1: this machine only. */
  readonly host?: string;
  /** Default 8080; 0 takes any free port. */
  readonly port?: number;
}

/** A listening server. */
export interface HttpServer {
  readonly url: string;
  readonly port: number;
  /** Stops listening and resolves when the last response has been sent, or cut off after `timeoutMs`. */
  close(options?: { readonly timeoutMs?: number }): Promise<void>;
}

/** What `listen` needs of an app: `createApp` makes one. */
export interface FetchApp {
  readonly fetch: (request: Request) => Response | Promise<Response>;
}

/**
 * Listens for HTTP requests on Node.
 *
 * @throws HeddleError "config" when the address cannot be listened on, for example because the port is taken
 */
export async function listen(
  app: FetchApp,
  { host = "127.0.0.1", port = 8080 }: ListenOptions = {},
): Promise<HttpServer> {
  const server = createAdaptorServer({
    fetch: (request) => app.fetch(request),
    overrideGlobalObjects: false,
  }) as Server; // no options for TLS or HTTP/2 were given
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(cannotListen(error, host, port)));
    server.listen(port, host, resolve);
  });
  const address = server.address();
  const actualPort = typeof address === "object" && address !== null ? address.port : port;
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${actualPort}`,
    port: actualPort,
    close: (options) => closeServer(server, options?.timeoutMs),
  };
}

/** How often connections are looked at that a client keeps open after its last response. */
const idleCheckMs = 25;

/** Stops accepting, drops idle connections, and waits for busy ones. */
async function closeServer(server: Server, timeoutMs: number | undefined): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const idleCheck = setInterval(() => server.closeIdleConnections(), idleCheckMs);
  const deadline =
    timeoutMs === undefined ? undefined : setTimeout(() => server.closeAllConnections(), timeoutMs);
  await closed;
  clearInterval(idleCheck);
  clearTimeout(deadline);
}

function cannotListen(error: NodeJS.ErrnoException, host: string, port: number): HeddleError {
  const why = error.code === "EADDRINUSE" ? "another program has it" : error.message;
  return new HeddleError(
    "config",
    `listen: the address must be free; got ${host}:${port} (${why}). Choose another port, or 0 for any.`,
    { host, port },
    error,
  );
}

/** How a process ends on a signal. */
export interface DrainOptions {
  /** Default SIGTERM and SIGINT. */
  readonly signals?: readonly NodeJS.Signals[];
  /** How long accepted requests may go on; default 30 000. */
  readonly timeoutMs?: number;
  readonly onDrain?: (signal: NodeJS.Signals) => void;
}

/**
 * Waits for a signal, then refuses new requests, finishes the accepted ones and closes the server.
 * Resolves when all is done; a second signal ends the process as it would by default.
 */
export async function drainOnSignals(
  server: HttpServer,
  engine: Engine,
  options: DrainOptions = {},
): Promise<void> {
  const { signals = ["SIGTERM", "SIGINT"], timeoutMs = 30_000, onDrain } = options;
  const signal = await new Promise<NodeJS.Signals>((resolve) => {
    const onSignal = (name: NodeJS.Signals): void => {
      for (const each of signals) process.off(each, onSignal);
      resolve(name);
    };
    for (const each of signals) process.on(each, onSignal);
  });
  onDrain?.(signal);
  await Promise.all([engine.drain({ timeoutMs }), server.close({ timeoutMs: timeoutMs + 1000 })]);
}
