import type { BenchServer } from './bench-server.ts';
import { nowMs } from './clock.ts';
import { summarize } from './histogram.ts';
import type { Histogram } from './histogram.ts';
import type { LoadFleet } from './load-fleet.ts';
import type { Population } from './population.ts';
import { readRssBytes } from './process-usage.ts';
import type { Better, Check, Figure, LatencyPoint, NamedLatency } from './result.ts';
import type { Sampler } from './sampler.ts';
import type { ResolvedSizes } from './sizes.ts';

/** What a scenario has found so far: it is printed even when the run is cut short. */
export class Findings {
  readonly figures: Figure[] = [];
  readonly latencies: NamedLatency[] = [];
  readonly checks: Check[] = [];
  readonly limits: Set<string> = new Set();
  readonly notes: string[] = [];
  /** Of this machine, while it was measured, at most. */
  foreignShare = 0;
  latencyOverTime: LatencyPoint[] = [];

  addFigure(key: string, label: string, value: number, unit: string, better: Better = 'neither'): void {
    if (Number.isFinite(value)) this.figures.push({ key, label, value, unit, better });
  }

  addLatency(key: string, label: string, histogram: Histogram): void {
    const latency = summarize(histogram);
    if (latency !== undefined) this.latencies.push({ key, label, latency });
  }

  check(name: string, isHeld: boolean, detail: string): void {
    this.checks.push({ name, isHeld, detail });
  }
}

/** What a scenario works with. */
export interface Stage {
  readonly sizes: ResolvedSizes;
  readonly population: Population;
  readonly server: BenchServer;
  readonly fleet: LoadFleet;
  readonly sampler: Sampler;
  readonly findings: Findings;
}

/** Orders reach the load processes before this, so that all of them begin at the same moment. */
export const leadMs = 200;

export function soonMs(): number {
  return nowMs() + leadMs;
}

export function enterPhase({ sampler }: Stage, phase: string, isMeasured = false): void {
  sampler.phase = phase;
  sampler.isMeasured = isMeasured;
}

/** Undefined: the server's process is not known. */
export function readServerRss({ server }: Stage): number | undefined {
  return server.pid === undefined ? undefined : readRssBytes(server.pid);
}
