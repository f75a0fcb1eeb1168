import { cpus } from 'node:os';

import { highestOf } from '../protocol/extremes.ts';
import { nowMs } from './clock.ts';
import { estimateRssBytes, readTcpMemoryBytes } from './kernel-memory.ts';
import type { Beat } from './load-orders.ts';
import { readCpuTimes, readHostTimes } from './process-usage.ts';
import type { Sample } from './result.ts';

/** What was used between two moments. */
export interface Usage {
  readonly wallMs: number;
  /** Undefined: the server's process is not known. */
  readonly serverCpuMs: number | undefined;
  readonly foreignCpuMs: number;
}

interface PartUse {
  elapsedMs: number;
  cpuMs: number;
  loopMs: number;
}

const sampleEveryMs = 1000;
const sampleSecondsMin = 0.3;

/** Looks at server, load and kernel once a second. */
export class Sampler {
  readonly samples: Sample[] = [];
  phase = 'start';
  isMeasured = false;
  readonly #server: { readonly pid: number | undefined };
  readonly #onSample: (sample: Sample) => void;
  /** Of each load process, since the last sample; those that have sent nothing since are assumed to continue as before. */
  readonly #beats: Map<number, Beat[]> = new Map();
  readonly #rates: Map<number, Rates> = new Map();
  readonly #sessions: Map<number, number> = new Map();
  /** Of each load process, while it was measured. */
  readonly #measured: Map<number, PartUse> = new Map();
  readonly #startedAtMs: number = nowMs();
  readonly #timer: NodeJS.Timeout;
  #markMs: number = nowMs();
  #markCpuMs: number | undefined;
  #loadCpuMs = 0;

  /** `server`: its process, another one once it has been restarted. */
  constructor(server: { readonly pid: number | undefined }, onSample: (sample: Sample) => void) {
    this.#server = server;
    this.#onSample = onSample;
    this.#markCpuMs = this.#readServerCpu();
    this.#timer = setInterval(() => this.sample(), sampleEveryMs);
  }

  get startedAtMs(): number {
    return this.#startedAtMs;
  }

  take(part: number, beat: Beat): void {
    this.#loadCpuMs += beat.cpuMs;
    this.#sessions.set(part, beat.sessions);
    this.#beats.set(part, [...(this.#beats.get(part) ?? []), beat]);
    if (!this.isMeasured) return;
    const use = this.#measured.get(part) ?? { elapsedMs: 0, cpuMs: 0, loopMs: 0 };
    use.elapsedMs += beat.elapsedMs;
    use.cpuMs += beat.cpuMs;
    use.loopMs += beat.loopUtilization * beat.elapsedMs;
    this.#measured.set(part, use);
  }

  sample(): void {
    const now = nowMs();
    const elapsedS = (now - this.#markMs) / 1000;
    // Ticks of 10 ms are too coarse for less.
    if (elapsedS < sampleSecondsMin) return;
    const cpuMs = this.#readServerCpu();
    for (const [part, beats] of this.#beats) this.#rates.set(part, rate(beats));
    const rates = [...this.#rates.values()];
    const sum = (key: keyof Rates): number => Math.round(rates.reduce((total, each) => total + each[key], 0));
    const sample: Sample = {
      atS: round((now - this.#startedAtMs) / 1000),
      phase: this.phase,
      isMeasured: this.isMeasured,
      sentPerS: sum('sent'),
      acksPerS: sum('acks'),
      pushesPerS: sum('pushes'),
      pushBytesPerS: sum('pushBytes'),
      sessions: [...this.#sessions.values()].reduce((total, count) => total + count, 0),
      serverCpuPercent:
        cpuMs === undefined || this.#markCpuMs === undefined ? null : round((cpuMs - this.#markCpuMs) / elapsedS / 10),
      serverRssBytes: this.#server.pid === undefined ? null : estimateRssBytes(this.#server.pid),
      loadCpuPercent: round(Math.max(0, highestOf(rates.map(({ cpu }) => cpu))) * 100),
      tcpMemoryBytes: readTcpMemoryBytes(),
    };
    this.#beats.clear();
    this.#markMs = now;
    this.#markCpuMs = cpuMs;
    this.samples.push(sample);
    this.#onSample(sample);
  }

  /** Begins to measure what is used; the function that it returns ends it. */
  meter(): () => Usage {
    const [startedAtMs, cpuMs, host, loadCpuMs] = [nowMs(), this.#readServerCpu(), readHost(), this.#loadCpuMs];
    const own = process.cpuUsage();
    return () => {
      const cpuAfterMs = this.#readServerCpu();
      const serverCpuMs = cpuMs === undefined || cpuAfterMs === undefined ? undefined : cpuAfterMs - cpuMs;
      const ownNow = process.cpuUsage(own);
      const ownMs = (ownNow.user + ownNow.system) / 1000;
      const loadMs = this.#loadCpuMs - loadCpuMs;
      const foreignCpuMs = Math.max(0, readHost() - host - (serverCpuMs ?? 0) - ownMs - loadMs);
      return { wallMs: nowMs() - startedAtMs, serverCpuMs, foreignCpuMs };
    };
  }

  /** What the load processes were short of while it was measured. */
  findLoadLimits(): string[] {
    return [...this.#measured].flatMap(([part, { elapsedMs, cpuMs, loopMs }]) => {
      const cpu = cpuMs / elapsedMs;
      const loop = loopMs / elapsedMs;
      return cpu > loadShareMax || loop > loadShareMax
        ? [
            `load process ${part + 1} was busy: ${formatPercent(cpu)} of a core, event loop ${formatPercent(loop)}; it may be what limits throughput and what adds latency. More processes: --load-processes`,
          ]
        : [];
    });
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #readServerCpu(): number | undefined {
    const { pid } = this.#server;
    if (pid === undefined) return undefined;
    try {
      return readCpuTimes(pid).totalMs;
    } catch {
      // It has ended; that is reported where it matters.
      return undefined;
    }
  }
}

/** Beyond it a load generator no longer measures the server alone. */
const loadShareMax = 0.9;
const foreignShareMax = 0.1;

/** How much of the machine others used. */
export function findForeignShare({ foreignCpuMs, wallMs }: Usage): number {
  return foreignCpuMs / wallMs / cpus().length;
}

export function formatForeignShare(share: number): string[] {
  if (share <= foreignShareMax) return [];
  return [`other processes used ${formatPercent(share)} of this machine while it was measured: figures vary more`];
}

type Rates = Readonly<Record<'sent' | 'acks' | 'pushes' | 'pushBytes' | 'cpu', number>>;

/** A second, whatever time the beats stand for: an order that ends sends one early. */
function rate(beats: readonly Beat[]): Rates {
  const total = (key: 'elapsedMs' | 'sent' | 'acks' | 'pushes' | 'pushBytes' | 'cpuMs'): number =>
    beats.reduce((sum, beat) => sum + beat[key], 0);
  const elapsedMs = Math.max(1, total('elapsedMs'));
  const perS = (key: 'sent' | 'acks' | 'pushes' | 'pushBytes'): number => (total(key) * 1000) / elapsedMs;
  return {
    sent: perS('sent'),
    acks: perS('acks'),
    pushes: perS('pushes'),
    pushBytes: perS('pushBytes'),
    cpu: total('cpuMs') / elapsedMs,
  };
}

function readHost(): number {
  return process.platform === 'linux' ? readHostTimes().busyMs : 0;
}

function formatPercent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
