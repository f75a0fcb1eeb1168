import type { Usage } from '../load/workloads.ts';
import { cpuTickMs } from '../process-usage.ts';
import { estimate, median } from '../statistics.ts';
import type { Estimate } from '../statistics.ts';
import { subjectNames } from '../subjects.ts';
import type { SubjectName } from '../subjects.ts';
import type { Measured, Round } from './measurement.ts';
import type { RoundOutcomes, RoundWorkloads } from './plan.ts';

/** Keys under which figures are written: scripts hold releases to them, so they stay. */
export type MetricKey =
  | 'registerCpuRatio'
  | 'registerPipelinedCpuRatio'
  | 'pushCpuRatio'
  | 'hopP50Ratio'
  | 'hopP99Ratio'
  | 'fanOutP50Ratio'
  | 'fanOutP99Ratio'
  | 'fanOutLastP50Ratio'
  | 'partitionsCpuRatio'
  | 'journalCpuRatio'
  | 'journalPipelinedCpuRatio'
  | 'bytesPerInstance'
  | 'bytesPerIdleSession'
  | 'registerNodeSocketsRatio'
  | 'registerPipelinedNodeSocketsRatio'
  | 'pushNodeSocketsRatio';

export interface Metric {
  readonly key: MetricKey;
  readonly title: string;
  readonly unit: string;
  readonly slotcast: Estimate;
  /** The same of slotcast with Node's sockets; undefined where that is not measured. */
  readonly nodeSockets: Estimate | undefined;
  /** Undefined where the bare server has nothing to compare with. */
  readonly bare: Estimate | undefined;
  /**
   * Of slotcast to bare (of many partitions to one; with a journal to without; of Node's sockets to those of uWebSockets.js): the median of the ratios of each round, not the ratio of
   * the medians.
   */
  readonly ratio: Estimate | undefined;
  /** What the project aims at: for the ratio, or for the figure itself where there is no ratio. */
  readonly aim: number | undefined;
  /** Rounds that it rests on, and those left out because others used the machine meanwhile. */
  readonly rounds: number;
  readonly roundsDropped: number;
}

interface RatioMetric {
  readonly key: MetricKey;
  /** The ratio of Node's sockets to those of uWebSockets.js, where it is a figure of its own. */
  readonly nodeSocketsKey?: MetricKey;
  readonly title: string;
  readonly unit: string;
  readonly aim: number | undefined;
  /** The workload that it is read from. */
  readonly of: keyof RoundWorkloads;
  readonly read: (outcomes: RoundOutcomes) => number;
}

/** Server CPU for one of `count`, in µs. Less than a tick of the kernel's clock cannot be told from none. */
function cpuOfEach({ serverCpuMs }: Usage, count: number): number {
  return (Math.max(serverCpuMs, cpuTickMs) * 1000) / count;
}

const ratioMetrics: readonly RatioMetric[] = [
  {
    key: 'registerCpuRatio',
    nodeSocketsKey: 'registerNodeSocketsRatio',
    of: 'register',
    title: 'registration, one at a time',
    unit: 'µs CPU',
    aim: 1.6,
    read: ({ register: { usage, acks } }) => cpuOfEach(usage, acks),
  },
  {
    key: 'registerPipelinedCpuRatio',
    nodeSocketsKey: 'registerPipelinedNodeSocketsRatio',
    of: 'pipelined',
    title: 'registration, pipelined',
    unit: 'µs CPU',
    aim: 3,
    read: ({ pipelined: { usage, acks } }) => cpuOfEach(usage, acks),
  },
  {
    key: 'pushCpuRatio',
    nodeSocketsKey: 'pushNodeSocketsRatio',
    of: 'push',
    title: 'push to one subscriber',
    unit: 'µs CPU',
    aim: 1.15,
    read: ({ push: { usage, pushes } }) => cpuOfEach(usage, pushes),
  },
  { key: 'hopP50Ratio', of: 'hop', title: 'one hop, p50', unit: 'ms', aim: 2, read: ({ hop }) => hop.each.p50 },
  { key: 'hopP99Ratio', of: 'hop', title: 'one hop, p99', unit: 'ms', aim: 2.5, read: ({ hop }) => hop.each.p99 },
  {
    key: 'fanOutP50Ratio',
    of: 'fanOut',
    title: 'fan-out, p50',
    unit: 'ms',
    aim: undefined,
    read: ({ fanOut }) => fanOut.each.p50,
  },
  {
    key: 'fanOutP99Ratio',
    of: 'fanOut',
    title: 'fan-out, p99',
    unit: 'ms',
    aim: undefined,
    read: ({ fanOut }) => fanOut.each.p99,
  },
  {
    key: 'fanOutLastP50Ratio',
    of: 'fanOut',
    title: 'fan-out, to the last, p50',
    unit: 'ms',
    aim: undefined,
    read: ({ fanOut }) => fanOut.last.p50,
  },
];

interface PairMetric {
  readonly key: MetricKey;
  readonly of: 'partitions' | 'journal' | 'journalPipelined';
  readonly title: string;
  readonly aim: number;
}

const pairMetrics: readonly PairMetric[] = [
  { key: 'partitionsCpuRatio', of: 'partitions', title: 'registration, many partitions to one', aim: 1.15 },
  { key: 'journalCpuRatio', of: 'journal', title: 'registration, one at a time, with a journal to without', aim: 1.1 },
  {
    key: 'journalPipelinedCpuRatio',
    of: 'journalPipelined',
    title: 'registration, pipelined, with a journal to without',
    aim: 1.1,
  },
];

/** All figures of a run. */
export function summarize(measured: Measured): Metric[] {
  const { rounds, sessionBytes, instanceBytes } = measured;
  const metrics = ratioMetrics.flatMap(({ key, nodeSocketsKey, title, unit, aim, of, read }): Metric[] => {
    const { kept, dropped } = dropDisturbed(rounds, of);
    const slotcast = kept.map((round) => read(round.slotcast));
    const nodeSockets = kept.map((round) => read(round.nodeSockets));
    const bare = kept.map((round) => read(round.bare));
    const common = {
      unit,
      slotcast: estimate(slotcast),
      nodeSockets: estimate(nodeSockets),
      bare: estimate(bare),
      rounds: kept.length,
      roundsDropped: dropped,
    };
    const metric = { ...common, key, title, aim, ratio: estimateRatio(slotcast, bare) };
    if (nodeSocketsKey === undefined) return [metric];
    const ratio = estimateRatio(nodeSockets, slotcast);
    return [
      metric,
      { ...common, key: nodeSocketsKey, title: `${title}: Node's sockets to uWebSockets.js`, aim: undefined, ratio },
    ];
  });
  for (const { key, of, title, aim } of pairMetrics) {
    const pairs = measured[of];
    metrics.push({
      key,
      title,
      unit: 'µs CPU',
      aim,
      slotcast: estimate(pairs.map(({ variant }) => variant)),
      nodeSockets: undefined,
      bare: undefined,
      ratio: estimate(pairs.map(({ base, variant }) => variant / base)),
      rounds: pairs.length,
      roundsDropped: 0,
    });
  }
  const memory = { unit: 'bytes', ratio: undefined, aim: undefined, rounds: instanceBytes.length, roundsDropped: 0 };
  metrics.push(
    {
      key: 'bytesPerInstance',
      title: 'RSS of an instance',
      slotcast: estimate(instanceBytes),
      nodeSockets: undefined,
      bare: undefined,
      ...memory,
    },
    {
      key: 'bytesPerIdleSession',
      title: 'RSS of an idle session',
      slotcast: estimate(sessionBytes.slotcast),
      nodeSockets: estimate(sessionBytes.nodeSockets),
      bare: estimate(sessionBytes.bare),
      ...memory,
    },
  );
  return metrics;
}

/** Round by round. */
function estimateRatio(values: readonly number[], to: readonly number[]): Estimate {
  return estimate(values.map((value, i) => value / to[i]!));
}

/** More than this share of a core used by others, or withheld by the host, and the figure is theirs as much as ours. */
const disturbedShare = 0.2;

/** Leaves out the rounds in which any server's share of a workload was disturbed, unless that were more than half of them. */
function dropDisturbed(
  rounds: readonly Round[],
  of: keyof RoundWorkloads,
): { kept: readonly Round[]; dropped: number } {
  const kept = rounds.filter((round) => subjectNames.every((name) => !isDisturbed(round[name][of].usage)));
  return kept.length * 2 < rounds.length
    ? { kept: rounds, dropped: 0 }
    : { kept, dropped: rounds.length - kept.length };
}

function isDisturbed({ foreignCpuMs, stealMs, wallMs }: Usage): boolean {
  return (foreignCpuMs + stealMs) / wallMs > disturbedShare;
}

/** Ratios mean nothing unless all servers answered and pushed the same number of bytes. */
export function checkSameBytes(round: Round): void {
  const sizes = subjectNames.map((name) => formatSizes(round[name]));
  if (new Set(sizes).size > 1) {
    throw new Error(
      `the servers sent different bytes: ${subjectNames.map((name, i) => `${name} ${sizes[i]!}`).join('; ')}`,
    );
  }
}

function formatSizes({ register, pipelined, push, hop, fanOut }: RoundOutcomes): string {
  return [register.ackBytes, pipelined.ackBytes, push.pushBytes, hop.pushBytes, fanOut.pushBytes].join(', ');
}

/** Below this share of a core the generator could have given more. */
const saturatedShare = 0.95;
const foreignShareMax = 0.1;
const stealShareMax = 0.02;

/** What a reader must know before trusting the figures. */
export function describeCaveats({ rounds }: Measured): string[] {
  const notes: string[] = [];
  const workloads: readonly (keyof RoundWorkloads)[] = ['register', 'pipelined', 'push', 'hop', 'fanOut'];
  const dropped = workloads
    .map((workload) => ({ workload, dropped: dropDisturbed(rounds, workload).dropped }))
    .filter((entry) => entry.dropped > 0)
    .map((entry) => `${entry.dropped} of ${entry.workload}`);
  if (dropped.length > 0) {
    notes.push(`left out, since others used the machine meanwhile, of ${rounds.length} rounds: ${dropped.join(', ')}`);
  }
  const closedLoops: readonly (keyof RoundWorkloads)[] = ['register', 'pipelined', 'push'];
  for (const workload of closedLoops) {
    for (const name of subjectNames) {
      const load = shareOf(rounds, name, workload, (usage) => usage.loadCpuMs);
      const server = shareOf(rounds, name, workload, (usage) => usage.serverCpuMs);
      if (load >= saturatedShare && server < saturatedShare) {
        notes.push(
          `the load generator was the bottleneck in ${workload} of ${name}: ${percent(load)} of a core, the server ${percent(server)}`,
        );
      }
    }
  }
  const usages = rounds.flatMap((round) =>
    Object.values(round).flatMap((outcomes) => Object.values(outcomes).map(({ usage }) => usage)),
  );
  const foreign = median(usages.map(({ foreignCpuMs, wallMs }) => foreignCpuMs / wallMs));
  const steal = median(usages.map(({ stealMs, wallMs }) => stealMs / wallMs));
  if (foreign > foreignShareMax)
    notes.push(`other processes and the kernel used ${percent(foreign)} of a core meanwhile`);
  if (steal > stealShareMax) notes.push(`the host took away ${percent(steal)} of a core`);
  return notes;
}

/** Shares of one core, as the median over rounds. */
export function shareOf(
  rounds: readonly Round[],
  name: SubjectName,
  workload: keyof RoundWorkloads,
  read: (usage: Usage) => number,
): number {
  return median(
    rounds.map((round) => {
      const { usage } = round[name][workload];
      return read(usage) / usage.wallMs;
    }),
  );
}

export function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
