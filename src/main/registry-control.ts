import path from 'node:path';

import type { Logger } from 'pino';

import { readTokenKey, writeBootstrapToken } from '../access/access-files.ts';
import type { AuditLog } from '../audit/audit-log.ts';
import type { ServerConfig } from '../config/config.ts';
import { explainExposure } from '../config/exposure.ts';
import { AccessControl } from '../control/access-control.ts';
import { Administration } from '../control/administration.ts';
import type { HealthChecks } from '../control/health-checks.ts';
import type { MainCalls } from '../control/main-calls.ts';
import { PartitionLives } from '../control/partition-lives.ts';
import type { PersistentServices } from '../control/persistent-services.ts';
import { SessionDirectory } from '../control/session-directory.ts';
import { SlotMigrator } from '../control/slot-migrator.ts';
import { Supervisor } from '../control/supervisor.ts';
import { Switches } from '../control/switches.ts';
import type { RegistryRecord } from '../durable/registry-record.ts';
import type { ThreadStore } from '../durable/thread-store.ts';
import type { CheckThread } from '../health/check-thread.ts';
import type { PartitionFigures } from '../metrics/metric-families.ts';
import { Metrics } from '../metrics/metrics.ts';
import type { Counters } from '../runtime/counters.ts';
import type { Descriptors } from '../runtime/descriptors.ts';
import { ThreadGauges } from '../runtime/thread-gauges.ts';
import { delay, nextTurn } from '../runtime/timing.ts';
import { WarmUpJudge } from '../sessions/warm-up.ts';
import type { TlsFiles } from '../tls/tls-files.ts';
import { PartitionRunners } from './partition-runners.ts';
import { createRegistryCalls } from './registry-calls.ts';
import type { OpenDoors } from './registry-calls.ts';
import type { RegistryHosts } from './registry-hosts.ts';
import { logAccess, logSwitch } from './server-lines.ts';
import type { SharedMemory } from './shared-memory.ts';

export interface RegistryControlOptions {
  readonly checks: HealthChecks;
  readonly checkThread: CheckThread;
  readonly config: ServerConfig;
  readonly log: Logger;
  readonly counters: Counters;
  readonly memory: Pick<SharedMemory, 'quotas'>;
  readonly registry: RegistryHosts;
  readonly store: ThreadStore;
  readonly record: Pick<RegistryRecord, 'versionFloor'>;
  readonly persistent: PersistentServices;
  /** Undefined: nothing is noted. */
  readonly audit: AuditLog | undefined;
  readonly descriptors: Descriptors;
  /** Undefined: connections are in the clear. */
  readonly tlsFiles: TlsFiles | undefined;
  /** Monotonic, in milliseconds. */
  readonly nowMs: number;
}

/** Who starts partitions and moves slots, and what an operator may see and do. */
export interface RegistryControl {
  readonly runners: PartitionRunners;
  readonly supervisor: Supervisor;
  readonly migrator: SlotMigrator;
  readonly warmUpJudge: WarmUpJudge;
  readonly administration: Administration;
  /** Of the main thread. */
  readonly mainGauges: ThreadGauges;
  readonly openDoors: OpenDoors;
  /** What threads with sockets may ask of the main thread. */
  readonly calls: MainCalls;
  readonly switches: Switches;
  readonly accessControl: AccessControl;
}

export function createRegistryControl(options: RegistryControlOptions): RegistryControl {
  const { config, log, counters, memory, registry, store, record, audit, descriptors, nowMs } = options;
  const { hosts, guard, warmUp, admissionRate, origins, warmStart } = registry;
  const runners = new PartitionRunners(config, {
    origins: registry.origins.memory,
    quotas: memory.quotas,
    store,
    readVersionFloor: () => record.versionFloor,
    warmStart,
  });
  const lives = new PartitionLives();
  const supervisor = new Supervisor({
    config,
    hosts,
    counters,
    log,
    createRunner: (partition, onDeath) => runners.create(partition, onDeath),
    delay,
    nowMs,
    lendDescriptors: (start) => descriptors.lend(start),
    onTurnOfLife: (partition, turn) => {
      lives.note(partition, turn, performance.now());
      if (turn === 'rebuilt') void options.checks.review(partition);
    },
  });
  const { moveSlots: stepSlots, moveBytes: stepBytes } = config;
  const migrator = new SlotMigrator({ hosts, supervisor, log, stepSlots, stepBytes, nextTurn });
  const isHealing = (): boolean => supervisor.states().some((state) => state !== 'ready');
  const warmUpJudge = new WarmUpJudge({ warmUp, admissionRate, config, isHealing, nowMs });
  const directory = new SessionDirectory(hosts.all());
  const switches = new Switches({
    store,
    audit,
    config,
    hosts,
    guard,
    delay,
    readWallMs: () => performance.timeOrigin + performance.now(),
    onEvent: (event) => {
      logSwitch(log, event);
    },
  });
  const accessFolder = config.inMemory || config.dataDir === '' ? undefined : path.resolve(config.dataDir);
  const accessControl = new AccessControl({
    audit,
    store,
    config,
    hosts,
    readTokenKey: () => readTokenKey(accessFolder),
    writeBootstrapToken: (token) => writeBootstrapToken(path.resolve(config.dataDir), token),
    delay,
    readWallMs: () => performance.timeOrigin + performance.now(),
    onEvent: (event) => {
      logAccess(log, event);
    },
  });
  const administration = new Administration({
    config,
    hosts,
    supervisor,
    migrator,
    guard,
    persistent: options.persistent,
    store,
    audit,
    directory,
    warmUp,
    warmUpJudge,
    log,
  });

  const readPartitions = (): PartitionFigures[] => {
    const slots = hosts.table.slotsPerPartition();
    return supervisor.states().flatMap((state, partition) => {
      const gauges = runners.gaugesOf(partition);
      return gauges === undefined
        ? []
        : [{ partition, isReady: state === 'ready', slots: slots[partition] ?? 0, gauges }];
    });
  };
  const mainGauges = new ThreadGauges();
  const threads = [
    { name: 'main', gauges: mainGauges },
    { name: 'store', gauges: store.threadGauges },
    { name: 'health', gauges: options.checkThread.gauges },
    ...registry.ioThreads,
    ...registry.edgeThreads,
  ];
  const metrics = new Metrics({
    states: hosts.states,
    source: {
      readPartitions,
      threads: new Map(threads.map(({ name, gauges }) => [name, gauges])),
      lives,
      gate: hosts.main.router.gate,
      guard,
      migrator,
      warmStart,
      persistent: options.persistent,
      switches,
      checks: options.checks,
      audit,
      tls: options.tlsFiles,
      isInsecure: explainExposure(config) !== undefined,
      store: { gauges: store.gauges, readState: () => store.state },
      warmUp: { isOver: () => warmUp.isOver, readTookMs: () => warmUpJudge.tookMs },
    },
  });
  const openDoors: OpenDoors = { httpUrl: undefined, sessionPort: undefined };
  const { persistent } = options;
  const asked = {
    audit,
    hosts,
    administration,
    metrics,
    origins,
    persistent,
    switches,
    accessControl,
    checks: options.checks,
    orders: registry.orders,
    store,
    config,
    doors: openDoors,
  };
  const calls = createRegistryCalls(asked);
  return {
    switches,
    accessControl,
    runners,
    supervisor,
    migrator,
    warmUpJudge,
    administration,
    mainGauges,
    openDoors,
    calls,
  };
}
