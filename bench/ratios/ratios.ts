import type { Pinning } from '../processes.ts';
import type { Estimate } from '../statistics.ts';
import { createSubjects, subjectNames } from '../subjects.ts';
import { layTable, formatNumber } from '../table.ts';
import { measure } from './measurement.ts';
import type { Measured } from './measurement.ts';
import type { Plan, RoundWorkloads } from './plan.ts';
import { describeCaveats, percent, shareOf, summarize } from './results.ts';
import type { Metric, MetricKey } from './results.ts';

export interface RatiosOptions {
  readonly plan: Plan;
  readonly partitions: number;
  readonly ioThreads: number;
  readonly pinning: Pinning | undefined;
  readonly print: (line: string) => void;
}

/** What `--json` writes: each figure under its key, the ratio where there is one, and what they were computed from. */
export type RatiosReport = Readonly<Partial<Record<MetricKey, Estimate>>> & {
  readonly metrics: readonly Metric[];
  readonly caveats: readonly string[];
  readonly plan: Plan;
  readonly measured: Measured;
};

/** Measures slotcast, with both transports, beside the bare server and prints the comparison. */
export async function runRatios({ plan, partitions, ioThreads, pinning, print }: RatiosOptions): Promise<RatiosReport> {
  const measured = await measure({ subjects: createSubjects(partitions, ioThreads), plan, pinning, onProgress: print });
  const metrics = summarize(measured);
  const caveats = describeCaveats(measured);
  print('');
  print(formatMetrics(metrics));
  print('');
  print(formatUsage(measured));
  print('');
  print(
    'Ratios are medians of the ratios of each round, with 95 % bounds. Over loopback the sender also pays for what the',
  );
  print("receiver's kernel does with each packet, in all servers alike.");
  for (const caveat of caveats) print(`Note: ${caveat}.`);
  const figures = Object.fromEntries(metrics.map(({ key, ratio, slotcast }) => [key, ratio ?? slotcast]));
  return { ...figures, metrics, caveats, plan, measured };
}

function formatMetrics(metrics: readonly Metric[]): string {
  const head = ['', 'unit', 'slotcast', 'Node sockets', 'bare', 'ratio', 'low', 'high', 'aim'];
  const rows = metrics.map(({ title, unit, slotcast, nodeSockets, bare, ratio, aim }) => [
    title,
    unit,
    formatNumber(slotcast.median),
    nodeSockets === undefined ? '-' : formatNumber(nodeSockets.median),
    bare === undefined ? '-' : formatNumber(bare.median),
    ratio === undefined ? '-' : formatNumber(ratio.median),
    formatNumber((ratio ?? slotcast).low),
    formatNumber((ratio ?? slotcast).high),
    aim === undefined ? '' : `≤ ${aim}`,
  ]);
  return layTable([head, ...rows]);
}

/** Who was busy: shares of one core. */
function formatUsage({ rounds, idle }: Measured): string {
  const head = ['shares of a core', ...subjectNames.flatMap((name) => [name, 'its main thread', 'load'])];
  const workloads: readonly (keyof RoundWorkloads)[] = ['register', 'pipelined', 'push', 'hop', 'fanOut'];
  const rows = workloads.map((workload) => [
    workload,
    ...subjectNames.flatMap((name) => [
      percent(shareOf(rounds, name, workload, (usage) => usage.serverCpuMs)),
      percent(shareOf(rounds, name, workload, (usage) => usage.serverMainCpuMs)),
      percent(shareOf(rounds, name, workload, (usage) => usage.loadCpuMs)),
    ]),
  ]);
  const idleRow = [
    'idle',
    ...subjectNames.flatMap((name) => {
      const { serverCpuMs, serverMainCpuMs, wallMs } = idle[name];
      return [percent(serverCpuMs / wallMs), percent(serverMainCpuMs / wallMs), ''];
    }),
  ];
  return layTable([head, ...rows, idleRow]);
}
