import { availableParallelism } from 'node:os';

import { LoadGenerator } from '../load/load-generator.ts';
import type { Workload } from '../load/workloads.ts';
import { estimate } from '../statistics.ts';
import type { Estimate } from '../statistics.ts';
import { createSlotcast, startSubject } from '../subjects.ts';
import type { RunningSubject } from '../subjects.ts';
import { layTable, formatNumber } from '../table.ts';

export interface IoThreadsOptions {
  readonly isSmoke: boolean;
  readonly partitions: number;
  readonly rounds: number | undefined;
  readonly print: (line: string) => void;
}

/** What a server with so many I/O threads did. */
export interface IoThreadsFigures {
  readonly ioThreads: number;
  readonly pushesPerSecond: Estimate;
  readonly cpuMicrosPerPush: Estimate;
  /** Cores' worth of CPU that the server used. */
  readonly serverCores: Estimate;
  /** Cores' worth of CPU that all generators used: near one each, and they are what was measured. */
  readonly loadCores: Estimate;
  /** To the same round of the server without I/O threads. */
  readonly pushRateRatio: Estimate;
  readonly pushCpuRatio: Estimate;
}

interface Plan {
  readonly rounds: number;
  readonly generators: number;
  readonly push: Extract<Workload, { kind: 'push' }>;
}

/**
 * A service pushes once in a window, so there must be subscribers enough to keep the server busy through it. The server and the generators share the machine: more of either than it has cores for measures nothing.
 */
const fullPlan: Plan = {
  rounds: 6,
  generators: Math.max(2, Math.floor(availableParallelism() / 2)),
  push: { kind: 'push', subscribers: 3000, warmUpMs: 300, measureMs: 2000 },
};

const smokePlan: Plan = {
  rounds: 1,
  generators: 2,
  push: { kind: 'push', subscribers: 20, warmUpMs: 20, measureMs: 100 },
};

/** No more than half of the cores, and two at least: the question is how it grows. */
const threadCounts: readonly number[] = [0, 1, 2, 4, 8].filter(
  (count) => count <= Math.max(2, availableParallelism() / 2),
);

interface Sample {
  readonly pushesPerSecond: number;
  readonly cpuMicrosPerPush: number;
  readonly serverCores: number;
  readonly loadCores: number;
}

/**
 * How pushes grow with I/O threads, and what one costs. Each generator changes a service of its own and waits until all its subscribers, spread over the
 * threads, have been told. Nothing is bound to a core. Every process it started has ended when it settles.
 */
export async function runIoThreads(options: IoThreadsOptions): Promise<IoThreadsFigures[]> {
  const { isSmoke, partitions, print } = options;
  const plan = isSmoke ? smokePlan : fullPlan;
  const rounds = options.rounds ?? plan.rounds;
  const loads = await Promise.all(Array.from({ length: plan.generators }, () => LoadGenerator.start(undefined)));
  const servers: RunningSubject[] = [];
  try {
    for (const count of threadCounts)
      servers.push(await startSubject(createSlotcast({ partitions, ioThreads: count }), undefined));
    const samples: Sample[][] = threadCounts.map(() => []);
    for (let round = 0; round < rounds; round++) {
      print(`I/O threads, round ${round + 1} of ${rounds}`);
      // Who goes first changes from round to round.
      for (const step of threadCounts.keys()) {
        const at = (step + round) % threadCounts.length;
        samples[at]!.push(await measurePushes(loads, servers[at]!, plan));
      }
    }
    const figures = threadCounts.map((ioThreads, at) => summarize(ioThreads, samples[at]!, samples[0]!));
    print(`\n${layTable([headings, ...figures.map(formatRow)])}\n`);
    return figures;
  } finally {
    await Promise.all([...loads, ...servers].map((process) => process.stop()));
  }
}

async function measurePushes(
  loads: readonly LoadGenerator[],
  { target }: RunningSubject,
  { push }: Plan,
): Promise<Sample> {
  const outcomes = await Promise.all(loads.map((load) => load.run<'push'>(target, push)));
  const sum = (read: (outcome: (typeof outcomes)[number]) => number): number =>
    outcomes.reduce((total, outcome) => total + read(outcome), 0);
  const pushesPerSecond = sum(({ pushes, usage }) => (pushes / usage.wallMs) * 1000);
  // Each generator has seen the whole server, over about the same time.
  const serverCores = sum(({ usage }) => usage.serverCpuMs / usage.wallMs) / outcomes.length;
  const loadCores = sum(({ usage }) => usage.loadCpuMs / usage.wallMs);
  return { pushesPerSecond, serverCores, loadCores, cpuMicrosPerPush: (serverCores * 1e6) / pushesPerSecond };
}

function summarize(ioThreads: number, samples: readonly Sample[], base: readonly Sample[]): IoThreadsFigures {
  const of = (name: keyof Sample): Estimate => estimate(samples.map((sample) => sample[name]));
  const ratio = (name: keyof Sample): Estimate => estimate(samples.map((sample, i) => sample[name] / base[i]![name]));
  return {
    ioThreads,
    pushesPerSecond: of('pushesPerSecond'),
    cpuMicrosPerPush: of('cpuMicrosPerPush'),
    serverCores: of('serverCores'),
    loadCores: of('loadCores'),
    pushRateRatio: ratio('pushesPerSecond'),
    pushCpuRatio: ratio('cpuMicrosPerPush'),
  };
}

const headings = ['I/O threads', 'pushes/s', 'µs CPU a push', 'server cores', 'load cores', 'rate to 0', 'CPU to 0'];

function formatRow(figures: IoThreadsFigures): string[] {
  const { ioThreads, pushesPerSecond, cpuMicrosPerPush, serverCores, loadCores, pushRateRatio, pushCpuRatio } = figures;
  return [
    String(ioThreads),
    ...[pushesPerSecond, cpuMicrosPerPush, serverCores, loadCores].map(({ median }) => formatNumber(median)),
    ...[pushRateRatio, pushCpuRatio].map(
      ({ median, low, high }) => `${formatNumber(median)} (${formatNumber(low)} to ${formatNumber(high)})`,
    ),
  ];
}
