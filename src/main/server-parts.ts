import path from 'node:path';

import type { Logger } from 'pino';

import { auditFolder } from '../audit/audit-files.ts';
import { AuditLog } from '../audit/audit-log.ts';
import { AuditState } from '../audit/audit-state.ts';
import type { ServerConfig } from '../config/config.ts';
import type { HealthChecks } from '../control/health-checks.ts';
import { PersistentServices } from '../control/persistent-services.ts';
import { RegistryRecord } from '../durable/registry-record.ts';
import { ThreadStore } from '../durable/thread-store.ts';
import type { ThreadStoreOptions } from '../durable/thread-store.ts';
import type { CheckThread } from '../health/check-thread.ts';
import type { Counters } from '../runtime/counters.ts';
import { DescriptorBudget, Descriptors } from '../runtime/descriptors.ts';
import type { ServerLog } from '../runtime/log.ts';
import { delay } from '../runtime/timing.ts';
import { CheckRules } from '../sessions/check-rules.ts';
import { TlsFiles } from '../tls/tls-files.ts';
import type { TlsMaterial } from '../tls/tls-material.ts';
import type { CreateTransport } from '../transport/transport.ts';
import { createRegistryControl } from './registry-control.ts';
import type { RegistryControl } from './registry-control.ts';
import { createRegistryHosts } from './registry-hosts.ts';
import type { RegistryHosts } from './registry-hosts.ts';
import { createServerDoors } from './server-doors.ts';
import type { ServerDoors } from './server-doors.ts';
import { createHealth } from './server-health.ts';
import { logAudit, logWarm } from './server-lines.ts';
import { createSharedMemory } from './shared-memory.ts';
import type { SharedMemory } from './shared-memory.ts';
import { Shutdown } from './shutdown.ts';
import { Ticker } from './ticker.ts';

export interface ServerPartsOptions {
  readonly config: ServerConfig;
  readonly log: ServerLog;
  readonly counters: Counters;
  readonly createTransport: CreateTransport;
  /** What connections are encrypted with; undefined: they are in the clear. */
  readonly tls: TlsMaterial | undefined;
  /** The server cannot continue; connections are closed already. */
  readonly onFatal: (error: Error) => void;
}

/** The parts with which a server is started, stopped and tested. */
export interface ServerParts
  extends
    Pick<RegistryHosts, 'hosts' | 'guard' | 'warmStart' | 'warmUp'>,
    Pick<RegistryControl, 'runners' | 'supervisor' | 'migrator' | 'openDoors' | 'switches' | 'accessControl'>,
    ServerDoors {
  readonly store: ThreadStore;
  readonly record: RegistryRecord;
  readonly persistent: PersistentServices;
  /** Undefined: nothing is noted. */
  readonly audit: AuditLog | undefined;
  readonly checks: HealthChecks;
  readonly checkThread: CheckThread;
  readonly descriptors: Descriptors;
  readonly ticker: Ticker;
  readonly shutdown: Shutdown;
}

/**
 * Makes the parts of a server, each from those before it: the store, session hosts and what they report to, what starts partitions and moves slots, what an operator may see
 * and do, and last what lets callers in, since they may ask for all of that.
 */
export function createServerParts({ log: serverLog, onFatal, tls, ...options }: ServerPartsOptions): ServerParts {
  const { config } = options;
  const nowMs = performance.now();
  const memory = createSharedMemory(config);
  const descriptorBudget = new DescriptorBudget(memory.descriptors);
  const descriptors = new Descriptors({ budget: descriptorBudget, reserved: config.descriptorsReserved });
  const { logger: log } = serverLog;
  const store = createStore({ config, counters: options.counters, log });
  const record = new RegistryRecord({ store, readWallMicros });
  const audit = createAudit(config, memory, log);
  const persistent = new PersistentServices({
    store,
    audit,
    config,
    delay,
    checkRules: new CheckRules(config),
    onTrouble: (trouble, details) => {
      log.error(details, trouble);
    },
  });
  const common = { ...options, log, memory, store, record, persistent, audit, descriptors, descriptorBudget, nowMs };
  const tlsFiles =
    tls === undefined
      ? undefined
      : new TlsFiles({ settings: config, material: tls, log, counters: options.counters, readWallMs: Date.now });
  const { checks, thread: checkThread } = createHealth({ config, counters: options.counters, log, persistent });
  const registry = createRegistryHosts({ ...common, checks });
  checks.join(registry.hosts);
  const control = createRegistryControl({ ...common, registry, checks, checkThread, tlsFiles });
  const doors = createServerDoors({ ...common, registry, control, tlsFiles });

  const { hosts, guard, warmUp, warmStart } = registry;
  const { switches, accessControl, runners, supervisor, migrator, warmUpJudge, administration, mainGauges, openDoors } =
    control;
  const { threads, edges, listener } = doors;
  const ticker = new Ticker(mainGauges, (at) => {
    supervisor.tick(at);
    threads.tick(at);
    edges.tick(at);
    if (warmUpJudge.tick(at)) {
      logWarm(common.log, config, { tookMs: Math.round(warmUpJudge.tookMs), instances: warmUp.held });
    }
    guard.tick(at);
    warmStart?.tick(at);
    hosts.main.tick(at);
    descriptors.tick(at);
    listener.tick();
    tlsFiles?.tick(at);
    record.tick();
    persistent.tick(at);
    switches.tick(at);
    accessControl.tick(at);
    checks.tick();
    audit?.tick(at);
  });
  const ended = {
    checkThread,
    audit,
    ...doors,
    hosts,
    supervisor,
    store,
    administration,
    descriptors,
    ticker,
    warmStart,
  };
  const shutdown = new Shutdown({ ...ended, config, log: serverLog, onFatal });
  void Promise.race([supervisor.failed, threads.failed, store.failed]).then((error) => {
    shutdown.fail(error);
  });
  const kept = { store, record, persistent, audit, switches, accessControl, checks, checkThread, warmStart, warmUp };
  const started = { hosts, guard, runners, supervisor, migrator, openDoors };
  return { ...doors, ...kept, ...started, descriptors, ticker, shutdown };
}

function readWallMicros(): number {
  return Math.floor((performance.timeOrigin + performance.now()) * 1000);
}

function createAudit(config: ServerConfig, memory: SharedMemory, log: Logger): AuditLog | undefined {
  const { dataDir, inMemory, audit } = config;
  if (audit === 'off' || inMemory || dataDir === '') return undefined;
  return new AuditLog({
    folder: auditFolder(dataDir),
    config,
    state: new AuditState(memory.auditState),
    readWallMs: Date.now,
    onEvent: (event) => {
      logAudit(log, event);
    },
  });
}

function createStore({
  config,
  counters,
  log,
}: Omit<ThreadStoreOptions, 'folder' | 'limits' | 'restartBackoffMs'> & {
  readonly config: ServerConfig;
}): ThreadStore {
  const { dataDir, inMemory, partitionRestartBackoffMs: restartBackoffMs } = config;
  const folder = inMemory || dataDir === '' ? undefined : path.resolve(dataDir);
  return new ThreadStore({ folder, limits: config, restartBackoffMs, counters, log });
}
