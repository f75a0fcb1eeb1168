import { availableParallelism } from 'node:os';

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

/** Looks at server, load and kernel once a second. */
export class Sampler {
  readonly samples: Sample[] = [];
  phase = 'start';
  isMeasured = false;
  readonly #pid: number | undefined;
  readonly #onSample: (sample: Sample) => void;
  readonly #beats: Map<number, Beat[]> = new Map();
  readonly #sessions: Map<number, number> = new Map();
  /** Of each load process, while it was measured. */
  readonly #measured: Map<number, PartUse> = new Map();
  readonly #startedAtMs: number = nowMs();
  readonly #timer: NodeJS.Timeout;
  #markMs: number = nowMs();
  #markCpuMs: number | undefined;
  #loadCpuMs = 0;

  constructor(pid: number | undefined, onSample: (sample: Sample) => void) {
    this.#pid = pid;
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
    const elapsedS = Math.max(0.001, (now - this.#markMs) / 1000);
    const cpuMs = this.#readServerCpu();
    const beats = [...this.#beats.values()].flat();
    const sum = (key: 'sent' | 'acks' | 'pushes' | 'pushBytes'): number =>
      Math.round(beats.reduce((total, beat) => total + beat[key], 0) / elapsedS);
    const loadCpu = [...this.#beats.values()].map((own) => shareOf(own));
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
      serverRssBytes: this.#pid === undefined ? null : estimateRssBytes(this.#pid),
      loadCpuPercent: round(Math.max(0, ...loadCpu) * 100),
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
            `load process ${part + 1} was busy: ${wordPercent(cpu)} of a core, event loop ${wordPercent(loop)}; it may be what limits throughput and what adds latency. More processes: --load-processes`,
          ]
        : [];
    });
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #readServerCpu(): number | undefined {
    if (this.#pid === undefined) return undefined;
    try {
      return readCpuTimes(this.#pid).totalMs;
    } catch {
      // It has ended; that is reported where it matters.
      return undefined;
    }
  }
}

/** Beyond it a load generator no longer measures the server alone. */
const loadShareMax = 0.9;
const foreignShareMax = 0.1;

/** Says so when others used the machine. */
export function findForeignLimit({ foreignCpuMs, wallMs }: Usage, isObserved: boolean): string[] {
  const share = foreignCpuMs / wallMs / availableParallelism();
  if (!isObserved || share <= foreignShareMax) return [];
  return [`other processes used ${wordPercent(share)} of this machine while it was measured: figures vary more`];
}

function shareOf(beats: readonly Beat[]): number {
  const elapsedMs = beats.reduce((sum, beat) => sum + beat.elapsedMs, 0);
  return elapsedMs === 0 ? 0 : beats.reduce((sum, beat) => sum + beat.cpuMs, 0) / elapsedMs;
}

function readHost(): number {
  return process.platform === 'linux' ? readHostTimes().busyMs : 0;
}

function wordPercent(share: number): string {
  return `${Math.round(share * 100)} %`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
