import { parentPort, workerData } from 'node:worker_threads';

import { Bench } from 'tinybench';

import { cases } from './cases.ts';
import type { CaseName } from './cases.ts';

/** The thread of one case. */
export interface CaseStart {
  readonly name: CaseName;
  readonly timeMs: number;
}

export interface CaseResult {
  readonly name: CaseName;
  readonly meanNs: number;
  readonly p50Ns: number;
  readonly p99Ns: number;
  /** Relative margin of error. */
  readonly errorPercent: number;
  readonly samples: number;
}

const nsPerMs = 1_000_000;

const { name, timeMs } = workerData as CaseStart;
const { operations, prepare, run, stop } = await cases[name]();

/** A sample is the mean of many operations, since one takes less than the clock can tell. */
async function sample(): Promise<{ overriddenDuration: number; overriddenIterationCost: number }> {
  prepare?.();
  const startedAtMs = performance.now();
  const running = run();
  if (running instanceof Promise) await running;
  const elapsedMs = performance.now() - startedAtMs;
  return { overriddenDuration: elapsedMs / operations, overriddenIterationCost: elapsedMs };
}

const bench = new Bench({ time: timeMs, warmupTime: timeMs / 2, iterations: 5, warmupIterations: 5, throws: true });
bench.add(name, sample, { async: true });
const [task] = await bench.run();
const result = task?.result;
if (result?.state !== 'completed') throw new Error(`the case ${name} did not complete: ${result?.state}`);
const { mean, p50, p99, rme, samplesCount } = result.latency;
stop?.();
parentPort?.postMessage({
  name,
  meanNs: mean * nsPerMs,
  p50Ns: p50 * nsPerMs,
  p99Ns: p99 * nsPerMs,
  errorPercent: rme,
  samples: samplesCount,
} satisfies CaseResult);
