import type { AuditLog } from '../audit/audit-log.ts';
import type { HealthChecks } from '../control/health-checks.ts';
import type { PartitionLives } from '../control/partition-lives.ts';
import type { PersistentServices } from '../control/persistent-services.ts';
import type { RegistryGuard } from '../control/registry-guard.ts';
import type { Switches } from '../control/switches.ts';
import type { WarmStart } from '../control/warm-start.ts';
import type { StoreState } from '../durable/store-core.ts';
import type { StoreGauges } from '../durable/store-gauges.ts';
import { closeCodes, errorCodes } from '../protocol/errors.ts';
import type { SubscribeMode } from '../protocol/types.ts';
import type { SlotGate } from '../routing/slot-gate.ts';
import { countedEvents, limitsMet, upgradeRefusals } from '../runtime/counters.ts';
import type { CounterId, CounterSnapshot } from '../runtime/counters.ts';
import type { DescriptorCounts } from '../runtime/descriptor-counts.ts';
import { timeBounds } from '../runtime/histogram.ts';
import type { Histogram } from '../runtime/histogram.ts';
import { productVersion } from '../runtime/product-version.ts';
import { changeBounds, gcKinds } from '../runtime/thread-gauges.ts';
import type { ThreadGauges } from '../runtime/thread-gauges.ts';
import { sum, sumHistograms } from '../sessions/host-figures.ts';
import type { HostFigures } from '../sessions/host-figures.ts';
import { methodNames } from '../sessions/host-meter.ts';
import type { TlsFiles } from '../tls/tls-files.ts';
import type { Family, Labels, Sample } from './exposition.ts';

/** What main knows of one partition. */
export interface PartitionFigures {
  readonly partition: number;
  readonly isReady: boolean;
  readonly slots: number;
  readonly gauges: ThreadGauges;
}

/** Where figures come from when metrics are asked for. */
export interface MetricsSource {
  readonly readPartitions: () => readonly PartitionFigures[];
  /** Of threads that hold no partition, by name: `main`, and `io-1` and so on. */
  readonly threads: ReadonlyMap<string, ThreadGauges>;
  readonly lives: Pick<PartitionLives, 'deaths' | 'rebuildSeconds'>;
  readonly gate: Pick<SlotGate, 'frozenCount' | 'totalFrozenMs'>;
  readonly guard: Pick<RegistryGuard, 'holding'>;
  readonly migrator: { readonly slotsMoved: number; readonly stepsRolledBack: number };
  readonly persistent: Pick<PersistentServices, 'counts'>;
  readonly switches: Pick<Switches, 'counts'>;
  readonly checks: Pick<HealthChecks, 'counts' | 'figures'>;
  /** Undefined: connections are in the clear. */
  readonly tls: Pick<TlsFiles, 'material' | 'isStale'> | undefined;
  /** Whether other machines can reach the server without TLS or without access control. */
  readonly isInsecure: boolean;
  readonly store: { readonly gauges: StoreGauges; readonly readState: () => StoreState };
  /** Undefined: nothing is noted. */
  readonly audit: Pick<AuditLog, 'counts'> | undefined;
  /** Undefined: nothing that is registered outlives the process. */
  readonly warmStart: Pick<WarmStart, 'phase' | 'claims' | 'coldCount'> | undefined;
  readonly warmUp: { readonly isOver: () => boolean; readonly readTookMs: () => number };
}

/** What one answer is made from. */
export interface Reading {
  readonly hosts: readonly HostFigures[];
  /** Hosts that did not answer in time, of which these are the last figures. */
  readonly silentHosts: number;
  readonly counters: CounterSnapshot;
  readonly requestsWaiting: number;
  readonly partitions: readonly PartitionFigures[];
  /** Requests in flight, by partition. */
  readonly requestsInFlight: readonly number[];
  readonly descriptors: DescriptorCounts;
  readonly source: MetricsSource;
}

/** A family, its labels, and how it is read. docs/OPERATIONS.md lists them; a test compares. */
export interface MetricFamily extends Family {
  readonly labels: readonly string[];
  readonly read: (reading: Reading) => Sample[];
}

type Read = (reading: Reading) => Sample[];
const modes: readonly SubscribeMode[] = ['delta', 'snapshot'];

function one(read: (reading: Reading) => number | Histogram): Read {
  return (reading) => [{ labels: {}, value: read(reading) }];
}

function keysOf<T extends object>(values: T): (keyof T & string)[] {
  return Object.keys(values) as (keyof T & string)[];
}

function optional(value: number | undefined): Sample[] {
  return value === undefined ? [] : [{ labels: {}, value }];
}

function ofHosts(read: (host: HostFigures) => number): (reading: Reading) => number {
  return ({ hosts }) => sum(hosts.map(read));
}

function byMode(label: string, read: (host: HostFigures) => Readonly<Record<SubscribeMode, number>>): Read {
  return ({ hosts }) =>
    modes.map((mode) => ({ labels: { [label]: mode }, value: sum(hosts.map((host) => read(host)[mode])) }));
}

function byPartition(read: (figures: PartitionFigures, reading: Reading) => number): Read {
  return (reading) =>
    reading.partitions.map((figures) => ({
      labels: { partition: String(figures.partition) },
      value: read(figures, reading),
    }));
}

function byThread(read: (gauges: ThreadGauges, labels: Labels) => Sample[]): Read {
  return ({ source, partitions }) => [
    ...[...source.threads].flatMap(([thread, gauges]) => read(gauges, { thread })),
    ...partitions.flatMap(({ partition, gauges }) => read(gauges, { thread: `partition-${partition}` })),
  ];
}

/** Counters by reason. All reasons are there from the start, so that rates can be taken. */
function byReason<R extends string>(label: string, reasons: readonly R[], counterOf: (reason: R) => CounterId): Read {
  return ({ counters }) =>
    reasons.map((reason) => ({ labels: { [label]: reason }, value: counters[counterOf(reason)] ?? 0 }));
}

const sessionFamilies: readonly MetricFamily[] = [
  {
    name: 'slotcast_build_info',
    type: 'gauge',
    labels: ['version'],
    help: 'Always 1; the version is in the label.',
    read: () => [{ labels: { version: productVersion }, value: 1 }],
  },
  {
    name: 'slotcast_sessions',
    type: 'gauge',
    labels: ['state'],
    help: 'Sessions: connected, held back from removal by a guard, leases, and those of before a restart that nobody has come back for.',
    read: (reading) => [
      { labels: { state: 'connected' }, value: ofHosts((host) => host.connected)(reading) },
      { labels: { state: 'held' }, value: ofHosts((host) => host.held)(reading) },
      { labels: { state: 'leased' }, value: ofHosts((host) => host.leases)(reading) },
      { labels: { state: 'unconfirmed' }, value: ofHosts((host) => host.unconfirmed)(reading) },
    ],
  },
  {
    name: 'slotcast_closes_total',
    type: 'counter',
    labels: ['reason'],
    help: 'Connections that the server closed.',
    read: byReason(
      'reason',
      keysOf(closeCodes).filter((reason) => reason !== 'normal'),
      (reason) => `closed_${reason}`,
    ),
  },
  {
    name: 'slotcast_handshakes_refused_total',
    type: 'counter',
    labels: ['reason'],
    help: 'WebSocket handshakes that were refused.',
    read: byReason('reason', keysOf(upgradeRefusals), (reason) => `upgrade_refused_${reason}`),
  },
  {
    name: 'slotcast_registrations',
    type: 'gauge',
    labels: [],
    help: 'Instances that sessions and leases have registered.',
    read: one(ofHosts((host) => host.registrations)),
  },
  {
    name: 'slotcast_persistent_instances',
    type: 'gauge',
    labels: [],
    help: 'Instances that live until they are deregistered, whether they or other registrations of the same instances are visible.',
    read: one(({ source }) => source.persistent.counts.instances),
  },
  {
    name: 'slotcast_declared_services',
    type: 'gauge',
    labels: [],
    help: 'Services that are declared with settings.',
    read: one(({ source }) => source.persistent.counts.services),
  },
  {
    name: 'slotcast_switches',
    type: 'gauge',
    labels: ['kind'],
    help: "Operators' switches in force.",
    read: ({ source }) => Object.entries(source.switches.counts).map(([kind, value]) => ({ labels: { kind }, value })),
  },
  {
    name: 'slotcast_checks',
    type: 'gauge',
    labels: ['health'],
    help: 'Checks of instances, by what they have found.',
    read: ({ source }) =>
      Object.entries(source.checks.counts).map(([health, value]) => ({ labels: { health }, value })),
  },
  {
    name: 'slotcast_check_probes_total',
    type: 'counter',
    labels: [],
    help: 'Probes that checks have made.',
    read: one(({ source }) => source.checks.figures.probes),
  },
  {
    name: 'slotcast_check_probes_failed_total',
    type: 'counter',
    labels: [],
    help: 'Probes that found something other than that all is well.',
    read: one(({ source }) => source.checks.figures.failures),
  },
  {
    name: 'slotcast_check_probes_under_way',
    type: 'gauge',
    labels: [],
    help: 'Probes under way, of `checkProbesMax` at most.',
    read: one(({ source }) => source.checks.figures.underWay),
  },
  {
    name: 'slotcast_check_probes_waiting',
    type: 'gauge',
    labels: [],
    help: 'Probes that are due, and wait for others to end.',
    read: one(({ source }) => source.checks.figures.waiting),
  },
  {
    name: 'slotcast_check_guard_active',
    type: 'gauge',
    labels: [],
    help: '1 while so many checks fail at once that nothing becomes critical.',
    read: one(({ source }) => (source.checks.figures.isHolding ? 1 : 0)),
  },
  {
    name: 'slotcast_check_guard_held',
    type: 'gauge',
    labels: [],
    help: 'Checks that this guard holds back from becoming critical.',
    read: one(({ source }) => source.checks.figures.heldCount),
  },
  {
    name: 'slotcast_subscriptions',
    type: 'gauge',
    labels: ['kind'],
    help: 'Active subscriptions.',
    read: byMode('kind', (host) => host.subscriptions),
  },
  {
    name: 'slotcast_request_duration_seconds',
    type: 'histogram',
    labels: ['method'],
    help: 'From reading a request of a session to its answer, refusals included.',
    read: ({ hosts }) =>
      methodNames.map((method) => ({
        labels: { method },
        value: sumHistograms(
          timeBounds,
          hosts.flatMap(({ requestSeconds }) => requestSeconds.get(method) ?? []),
        ),
      })),
  },
  {
    name: 'slotcast_requests_refused_total',
    type: 'counter',
    labels: ['code'],
    help: 'Requests that were answered with an error, over WebSocket and HTTP.',
    read: byReason('code', keysOf(errorCodes), (code) => `refused_${code}`),
  },
  {
    name: 'slotcast_limits_met_total',
    type: 'counter',
    labels: ['limit'],
    help: 'Times that a bound was met, by the setting that names it; a bound appears when it is first met.',
    read: ({ counters }) => limitsMet(counters).map(([limit, value]) => ({ labels: { limit }, value })),
  },
];

const pushFamilies: readonly MetricFamily[] = [
  {
    name: 'slotcast_publish_duration_seconds',
    type: 'histogram',
    labels: [],
    help: 'From the request for the oldest change in a push to the last send of its fan-out, coalescing included.',
    read: one(({ hosts }) =>
      sumHistograms(
        timeBounds,
        hosts.map(({ publishSeconds }) => publishSeconds),
      ),
    ),
  },
  {
    name: 'slotcast_pushes_total',
    type: 'counter',
    labels: ['kind'],
    help: 'Pushes whose fan-out is complete; each went to all subscribers of one service and variant on one thread.',
    read: byMode('kind', (host) => host.pushes),
  },
  {
    name: 'slotcast_push_frames_total',
    type: 'counter',
    labels: ['kind'],
    help: 'Frames that pushes handed to sockets.',
    read: byMode('kind', (host) => host.framesSent),
  },
  {
    name: 'slotcast_push_changes',
    type: 'histogram',
    labels: [],
    help: 'Changes of a service that were merged into one push.',
    read: one(({ partitions }) =>
      sumHistograms(
        changeBounds,
        partitions.map(({ gauges }) => gauges.pushChanges.cells),
      ),
    ),
  },
  {
    name: 'slotcast_push_drops_total',
    type: 'counter',
    labels: ['reason'],
    help: 'Pushes not sent to a subscriber, because its backlog was full or its version too old.',
    read: (reading) => [
      { labels: { reason: 'backlog' }, value: ofHosts(({ missed }) => missed.dropped)(reading) },
      { labels: { reason: 'gap' }, value: ofHosts(({ missed }) => missed.gap)(reading) },
    ],
  },
];

const partitionFamilies: readonly MetricFamily[] = [
  {
    name: 'slotcast_partition_ready',
    type: 'gauge',
    labels: ['partition'],
    help: '1 if the partition serves, 0 while it starts or is rebuilt.',
    read: byPartition(({ isReady }) => (isReady ? 1 : 0)),
  },
  {
    name: 'slotcast_partition_slots',
    type: 'gauge',
    labels: ['partition'],
    help: 'Slots that the partition owns.',
    read: byPartition(({ slots }) => slots),
  },
  {
    name: 'slotcast_partition_services',
    type: 'gauge',
    labels: ['partition'],
    help: 'Services of the partition, including watched ones without instances.',
    read: byPartition(({ gauges }) => gauges.services),
  },
  {
    name: 'slotcast_partition_instances',
    type: 'gauge',
    labels: ['partition'],
    help: 'Instances of the partition.',
    read: byPartition(({ gauges }) => gauges.instances),
  },
  {
    name: 'slotcast_partition_mailbox_requests',
    type: 'gauge',
    labels: ['partition'],
    help: 'Requests in flight to the partition.',
    read: byPartition(({ partition }, { requestsInFlight }) => requestsInFlight[partition] ?? 0),
  },
  {
    name: 'slotcast_partition_deaths_total',
    type: 'counter',
    labels: ['partition'],
    help: 'Times that the partition died.',
    read: byPartition(({ partition }, { source }) => source.lives.deaths.get(partition) ?? 0),
  },
  {
    name: 'slotcast_partition_rebuild_duration_seconds',
    type: 'histogram',
    labels: [],
    help: 'From the death of a partition until its slots are thawed.',
    read: one(({ source }) => source.lives.rebuildSeconds),
  },
  {
    name: 'slotcast_slots_shut',
    type: 'gauge',
    labels: [],
    help: 'Slots that are frozen now, while they move or are rebuilt.',
    read: one(({ source }) => source.gate.frozenCount),
  },
  {
    name: 'slotcast_slots_shut_seconds_total',
    type: 'counter',
    labels: [],
    help: 'Time that slots were frozen, summed over slots.',
    read: one(({ source }) => source.gate.totalFrozenMs / 1000),
  },
  {
    name: 'slotcast_slot_requests_waiting',
    type: 'gauge',
    labels: [],
    help: 'Requests that wait for frozen slots.',
    read: one(({ requestsWaiting }) => requestsWaiting),
  },
  {
    name: 'slotcast_slots_moved_total',
    type: 'counter',
    labels: [],
    help: 'Slots that moved to another partition.',
    read: one(({ source }) => source.migrator.slotsMoved),
  },
  {
    name: 'slotcast_move_rollbacks_total',
    type: 'counter',
    labels: [],
    help: 'Steps of slot migrations that were rolled back and retried.',
    read: one(({ source }) => source.migrator.stepsRolledBack),
  },
];

const keyFamilies: readonly MetricFamily[] = [
  {
    name: 'slotcast_partition_keys',
    type: 'gauge',
    labels: ['partition'],
    help: 'Keys of the partition.',
    read: byPartition(({ gauges }) => gauges.keys),
  },
  {
    name: 'slotcast_partition_key_bytes',
    type: 'gauge',
    labels: ['partition'],
    help: 'What these keys take, in bytes; `keyBytesPerPartitionMax` limits them.',
    read: byPartition(({ gauges }) => gauges.keyBytes),
  },
  {
    name: 'slotcast_partition_keys_held',
    type: 'gauge',
    labels: ['partition'],
    help: 'Keys of the partition that sessions and leases hold.',
    read: byPartition(({ gauges }) => gauges.keysHeld),
  },
  {
    name: 'slotcast_partition_key_requests_waiting',
    type: 'gauge',
    labels: ['partition'],
    help: 'Requests for keys of the partition that wait for others on the same keys, for the store, or for keys to be loaded.',
    read: byPartition(({ gauges }) => gauges.keyRequestsWaiting),
  },
  {
    name: 'slotcast_key_watches',
    type: 'gauge',
    labels: [],
    help: 'Watches of keys and prefixes.',
    read: one(ofHosts(({ keyWatches }) => keyWatches.watches)),
  },
  {
    name: 'slotcast_key_changes_sent_total',
    type: 'counter',
    labels: [],
    help: 'Changes of keys that were sent to watches, each counted for each of them.',
    read: one(ofHosts(({ keyWatches }) => keyWatches.changesSent)),
  },
  {
    name: 'slotcast_key_resyncs_total',
    type: 'counter',
    labels: [],
    help: 'Times that a watch was told to read anew, since its client was slow, or what had changed was not known any more.',
    read: one(ofHosts(({ keyWatches }) => keyWatches.resyncsSent)),
  },
];

const storeFamilies: readonly MetricFamily[] = [
  {
    name: 'slotcast_store_available',
    type: 'gauge',
    labels: [],
    help: '1 while what must outlive the process can be stored; 0 while it cannot, which the log explains.',
    read: one(({ source }) => (source.store.readState().kind === 'available' ? 1 : 0)),
  },
  {
    name: 'slotcast_store_group_duration_seconds',
    type: 'histogram',
    labels: [],
    help: 'Time to store a group of commits, until it is on disk.',
    read: one(({ source }) => source.store.gauges.groupSeconds),
  },
  {
    name: 'slotcast_store_group_commits',
    type: 'histogram',
    labels: [],
    help: 'Commits that were stored together, with one synchronization of the disk.',
    read: one(({ source }) => source.store.gauges.groupCommits),
  },
  {
    name: 'slotcast_store_stored_bytes_total',
    type: 'counter',
    labels: [],
    help: 'Bytes of commits that were stored: keys, payloads, and a little for each request.',
    read: one(({ source }) => source.store.gauges.storedBytes),
  },
  {
    name: 'slotcast_store_failed_commits_total',
    type: 'counter',
    labels: [],
    help: 'Commits that could not be stored, and were refused.',
    read: one(({ source }) => source.store.gauges.failedCommits),
  },
  {
    name: 'slotcast_store_used_bytes',
    type: 'gauge',
    labels: [],
    help: "Bytes in use of the store's file, or of its rows in memory; `storeBytesMax` limits them.",
    read: one(({ source }) => source.store.gauges.usedBytes),
  },
];

const auditFamilies: readonly MetricFamily[] = [
  {
    name: 'slotcast_audit_lines_total',
    type: 'counter',
    labels: [],
    help: 'Lines that were written to the audit log.',
    read: one(({ source }) => source.audit?.counts.lines ?? 0),
  },
  {
    name: 'slotcast_audit_left_out_total',
    type: 'counter',
    labels: [],
    help: 'Acts that are not in the audit log: refusals that were too many, and what found no room while it could not be written.',
    read: one(({ source }) => source.audit?.counts.leftOut ?? 0),
  },
  {
    name: 'slotcast_audit_failures_total',
    type: 'counter',
    labels: [],
    help: 'Attempts to write to the audit log that failed; the log explains why.',
    read: one(({ source }) => source.audit?.counts.failures ?? 0),
  },
];

const journalFamilies: readonly MetricFamily[] = [
  {
    name: 'slotcast_journal_bytes',
    type: 'gauge',
    labels: ['partition'],
    help: "Bytes of a partition's journal.",
    read: byPartition(({ gauges }) => gauges.journalBytes),
  },
  {
    name: 'slotcast_journal_waiting_bytes',
    type: 'gauge',
    labels: ['partition'],
    help: "Bytes that wait to be written to a partition's journal: its lag; `journalBytesWaitingMax` limits them.",
    read: byPartition(({ gauges }) => gauges.journalWaitingBytes),
  },
  {
    name: 'slotcast_journals_cold',
    type: 'gauge',
    labels: [],
    help: 'Partitions whose journal has been given up and not begun anew: what they hold would not survive a restart.',
    read: one(({ source }) => source.warmStart?.coldCount ?? 0),
  },
  {
    name: 'slotcast_warm_start_claims',
    type: 'gauge',
    labels: [],
    help: 'Registrations with which the registry began after its last restart.',
    read: one(({ source }) => source.warmStart?.claims ?? 0),
  },
  {
    name: 'slotcast_recalling',
    type: 'gauge',
    labels: [],
    help: '1 while it is being found out what sessions of before the restart hold; nobody takes one over until then.',
    read: one(({ source }) => (source.warmStart?.phase === 'recalling' ? 1 : 0)),
  },
];

const warmUpFamilies: readonly MetricFamily[] = [
  {
    name: 'slotcast_warming',
    type: 'gauge',
    labels: [],
    help: '1 during the warm-up, while clients from before the restart are still coming back; then 0.',
    read: one(({ source }) => (source.warmUp.isOver() ? 0 : 1)),
  },
  {
    name: 'slotcast_warm_up_seconds',
    type: 'gauge',
    labels: [],
    help: 'How long the warm-up took, or has taken so far.',
    read: one(({ source }) => source.warmUp.readTookMs() / 1000),
  },
  {
    name: 'slotcast_subscriptions_warming',
    type: 'gauge',
    labels: [],
    help: 'Subscriptions resumed from before the restart that keep their list until its instances are back.',
    read: one(ofHosts((host) => host.subscriptionsWarming)),
  },
];

const guardFamilies: readonly MetricFamily[] = [
  {
    name: 'slotcast_guards_holding',
    type: 'gauge',
    labels: ['scope'],
    help: 'Loss guards that hold back removals now: the registry-wide one, and those of services.',
    read: ({ source }) => [
      { labels: { scope: 'registry' }, value: source.guard.holding.registry },
      { labels: { scope: 'service' }, value: source.guard.holding.service },
    ],
  },
  {
    name: 'slotcast_guard_held_instances',
    type: 'gauge',
    labels: [],
    help: 'Instances that guards hold back from removal.',
    read: one(ofHosts((host) => host.heldInstances)),
  },
];

const processFamilies: readonly MetricFamily[] = [
  {
    name: 'slotcast_hosts_silent',
    type: 'gauge',
    labels: [],
    help: 'I/O threads that did not respond to this scrape in time; their figures are from an earlier one.',
    read: one(({ silentHosts }) => silentHosts),
  },
  {
    name: 'slotcast_event_loop_delay_seconds',
    type: 'histogram',
    labels: ['thread'],
    help: 'Event loop delay of each thread: how late its periodic timer ran, about ten observations a second.',
    read: byThread((gauges, labels) => [{ labels, value: gauges.eventLoopDelay }]),
  },
  {
    name: 'slotcast_event_loop_busy_seconds_total',
    type: 'counter',
    labels: ['thread'],
    help: "Time that the thread's event loop was not waiting; its rate is how much of a core it is busy.",
    read: byThread((gauges, labels) => [{ labels, value: gauges.busySeconds }]),
  },
  {
    name: 'slotcast_gc_duration_seconds',
    type: 'histogram',
    labels: ['thread', 'kind'],
    help: 'Garbage collections.',
    read: byThread(({ gc }, labels) => gcKinds.map((kind) => ({ labels: { ...labels, kind }, value: gc[kind] }))),
  },
  {
    name: 'slotcast_heap_used_bytes',
    type: 'gauge',
    labels: ['thread'],
    help: 'JavaScript heap in use.',
    read: byThread((gauges, labels) => [{ labels, value: gauges.heapUsedBytes }]),
  },
  {
    name: 'slotcast_external_memory_bytes',
    type: 'gauge',
    labels: ['thread'],
    help: 'Memory outside the JavaScript heap that its objects hold, such as buffers.',
    read: byThread((gauges, labels) => [{ labels, value: gauges.externalBytes }]),
  },
  {
    name: 'process_start_time_seconds',
    type: 'gauge',
    labels: [],
    help: 'Start time of the process since the Unix epoch.',
    read: one(() => performance.timeOrigin / 1000),
  },
  {
    name: 'process_open_fds',
    type: 'gauge',
    labels: [],
    help: 'Open file descriptors; left out where the system does not tell.',
    read: ({ descriptors }) => optional(descriptors.open),
  },
  {
    name: 'process_max_fds',
    type: 'gauge',
    labels: [],
    help: 'File descriptors that the process may have open; left out where the system does not tell, or sets no limit.',
    read: ({ descriptors }) => optional(descriptors.max),
  },
  {
    name: 'process_resident_memory_bytes',
    type: 'gauge',
    labels: [],
    help: 'Resident memory of the process.',
    read: one(() => process.memoryUsage.rss()),
  },
  {
    name: 'process_cpu_seconds_total',
    type: 'counter',
    labels: [],
    help: 'CPU time of the process, user and system.',
    read: one(() => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    }),
  },
];

/** Of counted events that are declared with a family. */
const eventFamilies: readonly MetricFamily[] = keysOf(countedEvents).flatMap((counter) => {
  const event = countedEvents[counter];
  return 'metric' in event
    ? [{ ...event.metric, type: 'counter' as const, labels: [], read: one(({ counters }) => counters[counter] ?? 0) }]
    : [];
});

const tlsFamilies: readonly MetricFamily[] = [
  {
    name: 'slotcast_tls_certificate_expiry_seconds',
    type: 'gauge',
    labels: ['setting'],
    help: 'When the first of the certificates that a setting names expires, since the Unix epoch; left out without TLS.',
    read: ({ source: { tls } }) =>
      Object.entries(tls?.material.expiry ?? {}).flatMap(([setting, expiryMs]) =>
        expiryMs === undefined ? [] : [{ labels: { setting }, value: expiryMs / 1000 }],
      ),
  },
  {
    name: 'slotcast_tls_files_refused',
    type: 'gauge',
    labels: [],
    help: 'Whether the TLS files have changed to something that is of no use, so that the earlier certificate stays in use: 1 if so.',
    read: one(({ source: { tls } }) => (tls?.isStale === true ? 1 : 0)),
  },
  {
    name: 'slotcast_insecure',
    type: 'gauge',
    labels: [],
    help: 'Whether other machines can reach the server without TLS or without access control: 1 if so.',
    read: one(({ source: { isInsecure } }) => (isInsecure ? 1 : 0)),
  },
];

/** All families, in the order of the exposition. */
export const metricFamilies: readonly MetricFamily[] = [
  ...sessionFamilies,
  ...eventFamilies,
  ...pushFamilies,
  ...partitionFamilies,
  ...guardFamilies,
  ...keyFamilies,
  ...storeFamilies,
  ...auditFamilies,
  ...journalFamilies,
  ...warmUpFamilies,
  ...tlsFamilies,
  ...processFamilies,
];
