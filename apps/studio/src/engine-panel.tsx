import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Client, EngineStats } from "./client.js";
import { formatRate } from "./generation.js";
import { Sparkline } from "./sparkline.js";

const numSamples = 75; // half a minute

interface Watch {
  readonly samples: readonly EngineStats[];
  readonly isLost: boolean;
}

/** Follows the engine while the panel is shown; tries again when the stream breaks. */
function useEngine(client: Client): Watch {
  const [watch, setWatch] = useState<Watch>({ samples: [], isLost: false });
  useEffect(() => {
    const controller = new AbortController();
    void follow(client, controller.signal, setWatch);
    return () => controller.abort();
  }, [client]);
  return watch;
}

const retryMs = 2000;

async function follow(
  client: Client,
  signal: AbortSignal,
  set: (change: (watch: Watch) => Watch) => void,
): Promise<void> {
  while (!signal.aborted) {
    try {
      for await (const stats of client.watchStats(signal)) {
        set(({ samples }) => ({ samples: [...samples, stats].slice(-numSamples), isLost: false }));
      }
    } catch {
      // told below, as when the stream ends by itself
    }
    if (signal.aborted) return;
    set(({ samples }) => ({ samples, isLost: true }));
    await new Promise((resolve) => setTimeout(resolve, retryMs));
  }
}

/** What the engine is doing right now. */
export function EnginePanel({ client }: { client: Client }) {
  const { samples, isLost } = useEngine(client);
  const now = samples.at(-1);
  return (
    <section class="panel engine" aria-labelledby="engine-heading">
      <h2 id="engine-heading">
        Engine <small role="status">{isLost ? "connection lost" : ""}</small>
      </h2>
      {now !== undefined && <Figures now={now} samples={samples} />}
    </section>
  );
}

function Figures({ now, samples }: { now: EngineStats; samples: readonly EngineStats[] }) {
  return (
    <dl>
      <Figure name="Tokens a second" isMain value={formatRate(now.tokensPerSecond)}>
        <Sparkline values={samples.map((sample) => sample.tokensPerSecond)} capacity={numSamples} />
      </Figure>
      <Figure name="Running" value={`${now.running}`}>
        <Sparkline values={samples.map((sample) => sample.running)} capacity={numSamples} />
      </Figure>
      <Figure name="Queued" value={`${now.queued}`}>
        <Sparkline values={samples.map((sample) => sample.queued)} capacity={numSamples} />
      </Figure>
      <Figure
        name="Cache"
        value={`${now.cacheTokens.used.toLocaleString("en")} of ${now.cacheTokens.total.toLocaleString("en")} tokens`}
      >
        <Slots {...now.slots} />
      </Figure>
      <Figure name="First token" value={formatMs(now.timeToFirstTokenMs.p50)} />
      <Figure name="Each token" value={formatMs(now.perTokenMs.p50)} />
      <Figure name="Cache memory" value={formatBytes(now.cacheBytes)} />
    </dl>
  );
}

interface FigureProps {
  readonly name: string;
  readonly value: string;
  readonly isMain?: boolean;
  readonly children?: ComponentChildren;
}

function Figure({ name, value, isMain = false, children }: FigureProps) {
  const kind = isMain ? "figure is-main" : children === undefined ? "figure is-plain" : "figure";
  return (
    <div class={kind}>
      <dt>{name}</dt>
      <dd>
        <span class="value">{value}</span>
        {children}
      </dd>
    </div>
  );
}

/** The slots of the cache, one thread each; those that belong to a request are drawn full. */
function Slots({ used, total }: { used: number; total: number }) {
  return (
    <div class="slots" role="img" aria-label={`${used} of ${total} slots in use`}>
      {Array.from({ length: Math.min(total, 64) }, (_, i) => (
        <span key={i} class={i < used ? "slot is-used" : "slot"} />
      ))}
    </div>
  );
}

function formatMs(ms: number | undefined): string {
  if (ms === undefined) return "–";
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms).toLocaleString("en")} ms`;
}

function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  const value = bytes / 1024 ** power;
  return `${value < 10 && power > 0 ? value.toFixed(1) : Math.round(value)} ${units[power]}`;
}
