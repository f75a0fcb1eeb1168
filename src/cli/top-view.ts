import type { Observation } from './observation.ts';
import { cutText, formatTable, formatText } from './output.ts';
import { formatAge, formatBytes, formatMs } from './quantities.ts';

/** What `top` shows of one moment, and of the time since the one before. */
export interface TopFigures {
  readonly version: string;
  readonly at: string;
  readonly upMs: number | undefined;
  readonly state: string;
  readonly sessions: number;
  readonly leases: number;
  readonly registrations: number;
  readonly subscriptions: number | undefined;
  readonly guards: number | undefined;
  readonly switches: number | undefined;
  readonly requestsPerSecond: number | undefined;
  readonly refusedPerSecond: number | undefined;
  readonly handshakesRefusedPerSecond: number | undefined;
  readonly pushesPerSecond: number | undefined;
  readonly framesPerSecond: number | undefined;
  readonly requestP99Ms: number | undefined;
  readonly publishP50Ms: number | undefined;
  readonly publishP99Ms: number | undefined;
  readonly cores: number | undefined;
  readonly residentBytes: number | undefined;
  readonly openDescriptors: number | undefined;
  readonly maxDescriptors: number | undefined;
  readonly threads: readonly {
    readonly thread: string;
    readonly busy: number | undefined;
    readonly delayP99Ms: number | undefined;
    readonly heapBytes: number;
  }[];
  readonly partitions: readonly {
    readonly partition: number;
    readonly state: string;
    readonly slots: number;
    readonly services: number;
    readonly instances: number;
    readonly keys: number;
    readonly requestsInFlight: number;
    readonly deaths: number;
  }[];
}

/** Without an observation before there are no rates. */
export function readFigures(before: Observation | undefined, { atMs, stats, metrics }: Observation): TopFigures {
  const seconds = before === undefined ? 0 : (atMs - before.atMs) / 1000;
  const rate = (name: string): number | undefined => {
    const [from, to] = [before?.metrics.sum(name), metrics.sum(name)];
    return from === undefined || to === undefined || seconds <= 0 ? undefined : Math.max(0, to - from) / seconds;
  };
  const quantileMs = (name: string, share: number, labels?: Readonly<Record<string, string>>): number | undefined => {
    const found = metrics.quantile(name, share, before?.metrics, labels);
    return found === undefined ? undefined : found * 1000;
  };
  const startedS = metrics.sum('process_start_time_seconds');
  const heaps = metrics.by('slotcast_heap_used_bytes', 'thread');
  const busyName = 'slotcast_event_loop_busy_seconds_total';
  const [busyBefore, busy] = [before?.metrics.by(busyName, 'thread'), metrics.by(busyName, 'thread')];
  const ofPartition = (name: string, partition: number): number =>
    metrics.sum(name, { partition: String(partition) }) ?? 0;
  return {
    version: stats.version,
    at: new Date(atMs).toISOString(),
    upMs: startedS === undefined ? undefined : Math.max(0, atMs - startedS * 1000),
    state: stats.partitions.some(({ state }) => state !== 'ready') ? 'not ready' : stats.warming ? 'warming' : 'ready',
    sessions: stats.sessions,
    leases: stats.leases,
    registrations: stats.registrations,
    subscriptions: metrics.sum('slotcast_subscriptions'),
    guards: metrics.sum('slotcast_guards_holding'),
    switches: metrics.sum('slotcast_switches'),
    requestsPerSecond: rate('slotcast_request_duration_seconds_count'),
    refusedPerSecond: rate('slotcast_requests_refused_total'),
    handshakesRefusedPerSecond: rate('slotcast_handshakes_refused_total'),
    pushesPerSecond: rate('slotcast_pushes_total'),
    framesPerSecond: rate('slotcast_push_frames_total'),
    requestP99Ms: quantileMs('slotcast_request_duration_seconds', 0.99),
    publishP50Ms: quantileMs('slotcast_publish_duration_seconds', 0.5),
    publishP99Ms: quantileMs('slotcast_publish_duration_seconds', 0.99),
    cores: rate('process_cpu_seconds_total'),
    residentBytes: metrics.sum('process_resident_memory_bytes'),
    openDescriptors: metrics.sum('process_open_fds'),
    maxDescriptors: metrics.sum('process_max_fds'),
    threads: [...heaps].map(([thread, heapBytes]) => ({
      thread,
      busy:
        busyBefore === undefined || seconds <= 0
          ? undefined
          : Math.max(0, (busy.get(thread) ?? 0) - (busyBefore.get(thread) ?? 0)) / seconds,
      delayP99Ms: quantileMs('slotcast_event_loop_delay_seconds', 0.99, { thread }),
      heapBytes,
    })),
    partitions: stats.partitions.map(({ partition, state, slots, requestsInFlight }) => ({
      partition,
      state,
      slots,
      services: ofPartition('slotcast_partition_services', partition),
      instances: ofPartition('slotcast_partition_instances', partition),
      keys: ofPartition('slotcast_partition_keys', partition),
      requestsInFlight,
      deaths: ofPartition('slotcast_partition_deaths_total', partition),
    })),
  };
}

/** What a screen has room for. */
export interface Screen {
  readonly columns: number;
  readonly rows: number;
}

/** One screen of it, as lines that fit. */
export function formatTop(figures: TopFigures, where: string, { columns, rows }: Screen): string[] {
  const { threads, partitions } = figures;
  const { openDescriptors, maxDescriptors } = figures;
  const lines = [
    `slotcast ${formatText(figures.version)} at ${formatText(where)}  ${figures.state}  up ${figures.upMs === undefined ? '-' : formatAge(figures.upMs)}  ${figures.at}`,
    `sessions ${figures.sessions}  leases ${figures.leases}  registrations ${figures.registrations}  subscriptions ${formatCount(figures.subscriptions)}  guards holding ${formatCount(figures.guards)}  switches ${formatCount(figures.switches)}`,
    `requests/s ${formatRate(figures.requestsPerSecond)}  p99 ${formatMs(figures.requestP99Ms)}  refused/s ${formatRate(figures.refusedPerSecond)}  handshakes refused/s ${formatRate(figures.handshakesRefusedPerSecond)}`,
    `pushes/s ${formatRate(figures.pushesPerSecond)}  frames/s ${formatRate(figures.framesPerSecond)}  change to last send p50 ${formatMs(figures.publishP50Ms)}  p99 ${formatMs(figures.publishP99Ms)}`,
    `cores ${figures.cores === undefined ? '-' : figures.cores.toFixed(2)}  memory ${figures.residentBytes === undefined ? '-' : formatBytes(figures.residentBytes)}  descriptors ${formatCount(openDescriptors)} of ${formatCount(maxDescriptors)}`,
    '',
    ...formatTable(
      ['THREAD', 'BUSY', 'DELAY P99', 'HEAP'],
      threads.map(({ thread, busy, delayP99Ms, heapBytes }) => [
        formatText(thread),
        busy === undefined ? '-' : `${Math.round(busy * 100)} %`,
        formatMs(delayP99Ms),
        formatBytes(heapBytes),
      ]),
    ).split('\n'),
    '',
    ...formatTable(
      ['PARTITION', 'STATE', 'SLOTS', 'SERVICES', 'INSTANCES', 'KEYS', 'IN FLIGHT', 'DEATHS'],
      partitions.map((each) => [
        String(each.partition),
        formatText(each.state),
        ...[each.slots, each.services, each.instances, each.keys, each.requestsInFlight, each.deaths].map(String),
      ]),
    ).split('\n'),
  ].map((line) => cutText(line, columns));
  if (lines.length <= rows) return lines;
  return [...lines.slice(0, Math.max(1, rows - 1)), cutText(`… ${lines.length - rows + 1} more lines`, columns)].slice(
    0,
    rows,
  );
}

function formatCount(count: number | undefined): string {
  return count === undefined ? '-' : String(count);
}

function formatRate(perSecond: number | undefined): string {
  return perSecond === undefined ? '-' : perSecond < 10 ? perSecond.toFixed(1) : String(Math.round(perSecond));
}
