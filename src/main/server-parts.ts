import type { ServerConfig } from '../config/config.ts';
import { Administration } from '../control/administration.ts';
import { EdgeSupervisor } from '../control/edge-supervisor.ts';
import { EdgeThreadLife } from '../control/edge-thread-life.ts';
import { HostRecovery } from '../control/host-recovery.ts';
import { hostSurroundings } from '../control/host-surroundings.ts';
import type { HostThreadOptions } from '../control/host-thread.ts';
import { Hosts } from '../control/hosts.ts';
import { IoThreads } from '../control/io-threads.ts';
import { LeaseLedger } from '../control/lease-ledger.ts';
import { LocalHost } from '../control/local-host.ts';
import { PartitionLives } from '../control/partition-lives.ts';
import { RegistryGuard } from '../control/registry-guard.ts';
import { RemoteHost } from '../control/remote-host.ts';
import type { HostEvents } from '../control/remote-host.ts';
import { SessionDirectory } from '../control/session-directory.ts';
import { SessionTransfers } from '../control/session-transfers.ts';
import { SlotMigrator } from '../control/slot-migrator.ts';
import { Supervisor } from '../control/supervisor.ts';
import { createHostTransport } from '../edges/socket/host-transport.ts';
import { answerPlainRequest } from '../edges/socket/session-port.ts';
import { Metrics } from '../metrics/metrics.ts';
import { createAdmissionRate } from '../runtime/admission-rate.ts';
import type { AdmissionRate } from '../runtime/admission-rate.ts';
import type { Counters } from '../runtime/counters.ts';
import { DescriptorBudget, Descriptors } from '../runtime/descriptors.ts';
import type { ServerLog } from '../runtime/log.ts';
import { countRequests } from '../runtime/request-numbers.ts';
import { LocalSessionCounts, SharedSessionCounts } from '../runtime/session-counts.ts';
import { ThreadGauges } from '../runtime/thread-gauges.ts';
import { delay, nextTurn } from '../runtime/timing.ts';
import { logSession } from '../sessions/session-lines.ts';
import { createName } from '../sessions/session-secret.ts';
import { WarmUp, WarmUpJudge } from '../sessions/warm-up.ts';
import { SlotTable } from '../slots/slot-table.ts';
import type { CreateTransport, Transport } from '../transport/transport.ts';
import { PartitionRunners } from './partition-runners.ts';
import { createRegistryCalls } from './registry-calls.ts';
import type { HttpDoor } from './registry-calls.ts';
import { logGuard, logSilence, logWarm } from './server-lines.ts';
import { SessionListener } from './session-listener.ts';
import { createSharedMemory } from './shared-memory.ts';
import type { SharedMemory } from './shared-memory.ts';
import { Shutdown } from './shutdown.ts';
import { Ticker } from './ticker.ts';

export interface ServerPartsOptions {
  readonly config: ServerConfig;
  readonly log: ServerLog;
  readonly counters: Counters;
  readonly createTransport: CreateTransport;
  /** The server cannot go on; connections are closed already. */
  readonly onFatal: (error: Error) => void;
}

/** What a server is started, stopped and tested by. */
export interface ServerParts {
  readonly hosts: Hosts;
  readonly runners: PartitionRunners;
  readonly supervisor: Supervisor;
  readonly migrator: SlotMigrator;
  readonly descriptors: Descriptors;
  readonly threads: IoThreads;
  readonly edges: EdgeSupervisor;
  readonly transport: Transport;
  readonly listener: SessionListener;
  readonly httpDoor: HttpDoor;
  readonly ticker: Ticker;
  readonly shutdown: Shutdown;
}

/**
 * Makes the parts of a server, each from those before it: what judges for all hosts, the hosts, who starts partitions and moves slots, what an operator may see
 * and do, and last what lets callers in, since they may ask for all of that. Threads for sockets start with this; they listen to nobody yet.
 */
export function createServerParts(options: ServerPartsOptions): ServerParts {
  const { config, counters } = options;
  const log = options.log.logger;
  const memory = createSharedMemory(config);
  const descriptorBudget = new DescriptorBudget(memory.descriptors);
  const descriptors = new Descriptors({ budget: descriptorBudget, reserved: config.descriptorsReserved });
  const registry = createRegistry(options, memory);
  const { hosts, guard, ledger, ioThreads, edgeThreads, hostThreads, admissionRate, warmUp, nowMs } = registry;

  const runners = new PartitionRunners(config);
  const lives = new PartitionLives();
  const lendDescriptors = (start: () => Promise<void>): Promise<void> => descriptors.lend(start);
  const supervisor = new Supervisor({
    config,
    hosts,
    counters,
    log,
    createRunner: (partition, onDeath) => runners.create(partition, onDeath),
    delay,
    nowMs,
    lendDescriptors,
    onTurnOfLife: (partition, turn) => {
      lives.note(partition, turn, performance.now());
    },
  });
  const { moveSlots: stepSlots, moveBytes: stepBytes } = config;
  const migrator = new SlotMigrator({ hosts, supervisor, log, stepSlots, stepBytes, nextTurn });
  const isHealing = (): boolean => supervisor.states().some((state) => state !== 'ready');
  const warmUpJudge = new WarmUpJudge({ warmUp, admissionRate, config, isHealing, nowMs });

  const directory = new SessionDirectory(hosts.all());
  const administration = new Administration({
    config,
    hosts,
    supervisor,
    migrator,
    guard,
    directory,
    warmUp,
    warmUpJudge,
    log,
  });
  const mainGauges = new ThreadGauges();
  const metrics = new Metrics({
    states: hosts.states,
    source: {
      readPartitions: () => {
        const slots = hosts.table.slotsPerPartition();
        return supervisor.states().flatMap((state, partition) => {
          const gauges = runners.gaugesOf(partition);
          return gauges === undefined
            ? []
            : [{ partition, isReady: state === 'ready', slots: slots[partition] ?? 0, gauges }];
        });
      },
      threads: new Map([
        ['main', mainGauges],
        ...[...ioThreads, ...edgeThreads].map(({ name, gauges }) => [name, gauges] as const),
      ]),
      lives,
      gate: hosts.main.router.gate,
      guard,
      migrator,
      warmUp: { isOver: () => warmUp.isOver, readTookMs: () => warmUpJudge.tookMs },
    },
  });
  const httpDoor: HttpDoor = { url: undefined };
  const calls = createRegistryCalls({ hosts, administration, metrics, httpDoor });

  const transport = createHostTransport({
    create: options.createTransport,
    config,
    core: hosts.main.core,
    counters,
    counts: config.ioThreads === 0 ? new LocalSessionCounts() : new SharedSessionCounts(memory.sessionCounts),
    admissionRate,
    descriptors: descriptorBudget,
    onRequest: (request) => answerPlainRequest(request, calls),
  });
  const listener = new SessionListener({ transport, descriptors, counters, log });
  const threads = new IoThreads({
    ...hostThreads,
    ...memory,
    threads: ioThreads,
    entry: new URL('io-thread.js', import.meta.url),
    table: hosts.table,
    calls,
    onSilence: (thread, silentMs) => {
      logSilence(log, thread, silentMs);
    },
  });
  const edges = new EdgeSupervisor({
    heartbeatTimeoutMs: config.partitionHeartbeatTimeoutMs,
    restartBackoffMs: config.partitionRestartBackoffMs,
    hosts: edgeThreads.map(({ host }) => host),
    allHosts: hosts,
    recovery: new HostRecovery({ hosts, supervisor, migrator, guard }),
    ledger,
    counters,
    log,
    createLife: (number, table, sessionsBefore) => {
      const thread = edgeThreads.find(({ host }) => host.number === number);
      if (thread === undefined) throw new Error(`host ${number} is not on a thread that serves HTTP`);
      const { name, gauges } = thread;
      const entry = new URL('edge-thread.js', import.meta.url);
      return new EdgeThreadLife({ number, name, entry, table, gauges }, { ...hostThreads, sessionsBefore, calls });
    },
    delay,
    lendDescriptors,
  });

  const ticker = new Ticker(mainGauges, (at) => {
    supervisor.tick(at);
    threads.tick(at);
    edges.tick(at);
    if (warmUpJudge.tick(at)) {
      logWarm(log, config, { tookMs: Math.round(warmUpJudge.tookMs), instances: warmUp.held });
    }
    guard.tick(at);
    hosts.main.tick(at);
    descriptors.tick(at);
    listener.tick();
  });
  const shutdown = new Shutdown({
    config,
    log: options.log,
    listener,
    transport,
    edges,
    threads,
    hosts,
    supervisor,
    administration,
    descriptors,
    ticker,
    onFatal: options.onFatal,
  });
  void Promise.race([supervisor.failed, threads.failed]).then((error) => {
    shutdown.fail(error);
  });
  return {
    hosts,
    runners,
    supervisor,
    migrator,
    descriptors,
    threads,
    edges,
    transport,
    listener,
    httpDoor,
    ticker,
    shutdown,
  };
}

/** A thread that holds sessions, as the main thread knows it whether it runs or not. */
interface KnownThread {
  readonly host: RemoteHost;
  readonly name: string;
  readonly gauges: ThreadGauges;
}

interface Registry {
  readonly guard: RegistryGuard;
  readonly ledger: LeaseLedger;
  readonly hosts: Hosts;
  readonly ioThreads: readonly KnownThread[];
  readonly edgeThreads: readonly KnownThread[];
  /** What each of these threads is started with. */
  readonly hostThreads: HostThreadOptions;
  readonly admissionRate: AdmissionRate;
  readonly warmUp: WarmUp;
  /** When it was made, by the monotonic clock. */
  readonly nowMs: number;
}

/** All session hosts, and what they tell the main thread of. */
function createRegistry(
  { config, counters, log: { logger: log } }: ServerPartsOptions,
  memory: SharedMemory,
): Registry {
  const nowMs = performance.now();
  const startedAtMicros = Math.floor((performance.timeOrigin + nowMs) * 1000);
  const registry = createName();
  const isVerbose = log.isLevelEnabled('debug');
  const { lastRequest } = memory;
  const warmUp = new WarmUp(memory.warmUp);
  const admissionRate = createAdmissionRate(memory.admissionRate, config);
  const ledger = new LeaseLedger();
  const transfers = new SessionTransfers();
  const guard = new RegistryGuard({
    settings: config,
    counters,
    schedule: setImmediate,
    onEvent: (event) => {
      logGuard(log, event);
    },
    nowMs,
  });
  const events: HostEvents = {
    onLosses: (report) => {
      guard.take(report);
    },
    onSession: (event) => {
      logSession(log, event);
    },
    onTransfer: (host, event) => {
      transfers.handle(host, event);
    },
    onLease: (news) => {
      ledger.note(news);
    },
  };
  const hostCount = 1 + config.ioThreads + config.edgeThreads;
  const main = new LocalHost({
    ...hostSurroundings,
    number: 0,
    config,
    table: SlotTable.even(config.partitions),
    counters,
    admissionRate,
    warmUp,
    nextRequest: hostCount === 1 ? countAlone() : countRequests(lastRequest),
    nowMs,
    startedAtMicros,
    registry,
    isVerbose,
    reportLosses: events.onLosses,
    onSession: events.onSession,
    // Without I/O threads there is no other host.
    tellMain:
      config.ioThreads === 0
        ? undefined
        : (event): void => {
            events.onTransfer(0, event);
          },
  });
  const ioThreads = Array.from({ length: config.ioThreads }, (_, i) => createThread(1 + i, `io-${1 + i}`, events));
  const edgeThreads = Array.from({ length: config.edgeThreads }, (_, i) =>
    createThread(1 + config.ioThreads + i, `edge-${1 + i}`, events),
  );
  const others = [...ioThreads, ...edgeThreads].map(({ host }) => host.host);
  const hosts = new Hosts({ main, others, guard, transfers });
  const hostThreads = { config, lastRequest, warmUp: memory.warmUp, startedAtMicros, registry, isVerbose };
  return { guard, ledger, hosts, ioThreads, edgeThreads, hostThreads, admissionRate, warmUp, nowMs };
}

function createThread(number: number, name: string, events: HostEvents): KnownThread {
  return { host: new RemoteHost(number, events), name, gauges: new ThreadGauges() };
}

/** Numbers requests where nobody else does. */
function countAlone(): () => number {
  let last = 0;
  return () => {
    last += 1;
    return last;
  };
}
