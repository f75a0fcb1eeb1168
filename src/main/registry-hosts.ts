import path from 'node:path';

import type { Logger } from 'pino';

import { createAccessCheck } from '../access/access-check.ts';
import type { AuditLog } from '../audit/audit-log.ts';
import { AuditState } from '../audit/audit-state.ts';
import { HostAudit } from '../audit/host-audit.ts';
import type { AuditBatch } from '../audit/host-audit.ts';
import type { ServerConfig } from '../config/config.ts';
import type { HealthChecks } from '../control/health-checks.ts';
import { hostSurroundings } from '../control/host-surroundings.ts';
import type { HostThreadOptions } from '../control/host-thread.ts';
import { Hosts } from '../control/hosts.ts';
import { LeaseLedger } from '../control/lease-ledger.ts';
import { LocalHost } from '../control/local-host.ts';
import type { PersistentServices } from '../control/persistent-services.ts';
import { RegistryGuard } from '../control/registry-guard.ts';
import { RemoteHost } from '../control/remote-host.ts';
import type { HostEvents } from '../control/remote-host.ts';
import { SessionTransfers } from '../control/session-transfers.ts';
import { WarmStart } from '../control/warm-start.ts';
import type { RegistryRecord } from '../durable/registry-record.ts';
import type { ThreadStore } from '../durable/thread-store.ts';
import { discardJournal, JournalFolder } from '../journal/journal-folder.ts';
import { createAdmissionRate } from '../runtime/admission-rate.ts';
import type { AdmissionRate } from '../runtime/admission-rate.ts';
import type { Counters } from '../runtime/counters.ts';
import { continueAfter, countRequests } from '../runtime/request-numbers.ts';
import { ThreadGauges } from '../runtime/thread-gauges.ts';
import { NamespaceLimits } from '../sessions/namespace-limits.ts';
import { logSession } from '../sessions/session-lines.ts';
import { createName } from '../sessions/session-secret.ts';
import { StandingOrders } from '../sessions/standing-orders.ts';
import { WarmUp } from '../sessions/warm-up.ts';
import { SlotTable } from '../slots/slot-table.ts';
import { SessionOrigins } from '../workers/session-numbers.ts';
import { logGuard, logJwtKeys } from './server-lines.ts';
import type { SharedMemory } from './shared-memory.ts';

export interface RegistryHostsOptions {
  readonly config: ServerConfig;
  readonly log: Logger;
  readonly counters: Counters;
  readonly memory: SharedMemory;
  readonly persistent: PersistentServices;
  /** Undefined: nothing is noted. */
  readonly audit: AuditLog | undefined;
  readonly checks: Pick<HealthChecks, 'handle'>;
  readonly store: Pick<ThreadStore, 'version' | 'connect'>;
  readonly record: Pick<RegistryRecord, 'starts'>;
  /** Monotonic, in milliseconds. */
  readonly nowMs: number;
}

/** A thread that holds sessions, as the main thread knows it whether it runs or not. */
export interface KnownThread {
  readonly host: RemoteHost;
  readonly name: string;
  readonly gauges: ThreadGauges;
}

/** All session hosts of a server, and the parts of the main thread that they report to. */
export interface RegistryHosts {
  readonly guard: RegistryGuard;
  readonly ledger: LeaseLedger;
  readonly hosts: Hosts;
  readonly ioThreads: readonly KnownThread[];
  readonly edgeThreads: readonly KnownThread[];
  /** What each of these threads is started with. */
  readonly hostThreads: HostThreadOptions;
  readonly admissionRate: AdmissionRate;
  readonly warmUp: WarmUp;
  readonly orders: StandingOrders;
  readonly origins: SessionOrigins;
  /** Undefined: nothing outlives the process. */
  readonly warmStart: WarmStart | undefined;
}

export function createRegistryHosts(options: RegistryHostsOptions): RegistryHosts {
  const { config, log, counters, memory, persistent, audit, store, record, nowMs } = options;
  const { lastRequest } = memory;
  const origins = new SessionOrigins(memory.origins);
  const folder = openJournal(config, log);
  const warmUp = new WarmUp(memory.warmUp);
  if (folder !== undefined) warmUp.beginRecall();
  const warmStart =
    folder === undefined
      ? undefined
      : new WarmStart({
          folder,
          config,
          origins,
          warmUp,
          readStarts: () => record.starts,
          continueRequests: (request) => {
            continueAfter(lastRequest, request);
          },
          log,
          onCold: () => {
            counters.count('journal_given_up');
          },
        });
  const orders = new StandingOrders();
  const access = createAccessCheck(config, (report) => {
    logJwtKeys(log, report);
  });
  const admissionRate = createAdmissionRate(memory.admissionRate, config);
  const guard = new RegistryGuard({
    settings: config,
    counters,
    schedule: setImmediate,
    onEvent: (event) => {
      logGuard(log, event);
    },
    nowMs,
  });
  const transfers = new SessionTransfers(origins);
  const ledger = new LeaseLedger(origins);
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
      if (news.kind === 'ended' || !news.record.mayHold) return;
      const { lease, ...session } = news.record;
      warmStart?.note({ kind: 'kept', session: { ...session, secret: lease } });
    },
    onKept: (note) => {
      warmStart?.note(note);
    },
    onAudit: ({ bodies, leftOut }) => {
      audit?.takeBatch(bodies, leftOut);
    },
  };
  const { ioThreads: ioCount, edgeThreads: edgeCount } = config;
  const common = {
    config,
    startedAtMicros: Math.floor((performance.timeOrigin + nowMs) * 1000),
    registry: folder?.registry ?? createName(),
    isVerbose: log.isLevelEnabled('debug'),
  };
  const main = new LocalHost({
    ...hostSurroundings,
    ...common,
    number: 0,
    table: SlotTable.even(config.partitions),
    counters,
    admissionRate,
    warmUp,
    orders,
    access,
    namespaceLimits: new NamespaceLimits(memory.namespaceLimits, 0, Date.now),
    // Where nobody else draws any, a number of one's own costs less.
    nextRequest: ioCount + edgeCount === 0 && folder === undefined ? countAlone() : countRequests(lastRequest),
    readStoreVersion: () => store.version.read(),
    origins,
    onKept: folder === undefined ? undefined : events.onKept,
    onLease: events.onLease,
    nowMs,
    reportLosses: events.onLosses,
    persistentCalls: persistent,
    audit: audit === undefined ? undefined : createMainAudit(memory, config, events.onAudit),
    onCheck: (record) => {
      options.checks.handle(record);
    },
    onSession: events.onSession,
    // Without I/O threads there is no other host.
    tellMain:
      ioCount === 0
        ? undefined
        : (event): void => {
            events.onTransfer(0, event);
          },
  });
  const know = (number: number, name: string): KnownThread => ({
    host: new RemoteHost(number, events),
    name,
    gauges: new ThreadGauges(),
  });
  const ioThreads = Array.from({ length: ioCount }, (_, i) => know(1 + i, `io-${1 + i}`));
  const edgeThreads = Array.from({ length: edgeCount }, (_, i) => know(1 + ioCount + i, `edge-${1 + i}`));
  const others = [...ioThreads, ...edgeThreads].map(({ host }) => host.host);
  const hosts = new Hosts({ main, others, guard, transfers, connectStore: (hand) => store.connect(hand) });
  const hostThreads = {
    ...common,
    lastRequest,
    storeVersion: store.version.memory,
    warmUp: memory.warmUp,
    origins: memory.origins,
    namespaceLimits: memory.namespaceLimits,
    audit: audit === undefined ? undefined : memory.auditState,
    isKept: folder !== undefined,
  };
  const shared = { admissionRate, warmUp, orders, origins };
  return { guard, ledger, hosts, ioThreads, edgeThreads, hostThreads, ...shared, warmStart };
}

function createMainAudit(
  memory: SharedMemory,
  { auditKeys }: Pick<ServerConfig, 'auditKeys'>,
  send: (batch: AuditBatch) => void,
): HostAudit {
  return new HostAudit({ state: new AuditState(memory.auditState), hasKeys: auditKeys, readWallMs: Date.now, send });
}

/** Where sessions and what they register are noted for the next life of the process; undefined: they are not. */
function openJournal({ dataDir, inMemory, warmStart }: ServerConfig, log: Logger): JournalFolder | undefined {
  if (dataDir === '' || inMemory || !warmStart) return undefined;
  const folder = journalPath(dataDir);
  try {
    return new JournalFolder(folder, createName);
  } catch (error) {
    log.error(
      { err: error, folder },
      'the folder of the journal cannot be used: nothing that is registered outlives the process',
    );
    return undefined;
  }
}

/** The journal of a life before says nothing true any more once another life has not continued it. The data folder must be this process's. */
export function discardUnusedJournal({ dataDir, inMemory }: ServerConfig): void {
  if (dataDir !== '' && !inMemory) discardJournal(journalPath(dataDir));
}

function journalPath(dataDir: string): string {
  return path.resolve(dataDir, 'journal');
}

/** Numbers requests where nobody else does. */
function countAlone(): () => number {
  let last = 0;
  return () => {
    last += 1;
    return last;
  };
}
