import type { Logger } from 'pino';

import type { ServerConfig } from '../config/config.ts';
import { EdgeSupervisor } from '../control/edge-supervisor.ts';
import { EdgeThreadLife } from '../control/edge-thread-life.ts';
import { HostRecovery } from '../control/host-recovery.ts';
import { IoThreads } from '../control/io-threads.ts';
import { createHostTransport } from '../edges/socket/host-transport.ts';
import { answerPlainRequest } from '../edges/socket/session-port.ts';
import type { Counters } from '../runtime/counters.ts';
import type { DescriptorBudget, Descriptors } from '../runtime/descriptors.ts';
import { HttpPort } from '../runtime/http-port.ts';
import { LocalSessionCounts, SharedSessionCounts } from '../runtime/session-counts.ts';
import { delay } from '../runtime/timing.ts';
import type { TlsFiles } from '../tls/tls-files.ts';
import { createTlsDoor } from '../transport/tls-door.ts';
import type { CreateTransport, Transport } from '../transport/transport.ts';
import type { RegistryControl } from './registry-control.ts';
import type { RegistryHosts } from './registry-hosts.ts';
import { logSilence } from './server-lines.ts';
import { SessionListener } from './session-listener.ts';
import type { SharedMemory } from './shared-memory.ts';

export interface ServerDoorsOptions {
  readonly config: ServerConfig;
  readonly log: Logger;
  readonly counters: Counters;
  readonly createTransport: CreateTransport;
  readonly memory: SharedMemory;
  readonly descriptors: Descriptors;
  readonly descriptorBudget: DescriptorBudget;
  readonly registry: RegistryHosts;
  readonly control: RegistryControl;
  /** Undefined: connections are in the clear. */
  readonly tlsFiles: TlsFiles | undefined;
}

/** What lets callers in. */
export interface ServerDoors {
  /** Sockets of the main thread. */
  readonly transport: Transport;
  readonly listener: SessionListener;
  readonly threads: IoThreads;
  readonly edges: EdgeSupervisor;
  readonly httpPort: HttpPort;
}

/** Threads for sockets start with this; they listen to nobody yet. */
export function createServerDoors(options: ServerDoorsOptions): ServerDoors {
  const { config, log, counters, memory, descriptors, descriptorBudget, registry, control, tlsFiles } = options;
  const { hosts, guard, ledger, ioThreads, edgeThreads, hostThreads, admissionRate } = registry;
  const { supervisor, migrator, calls } = control;
  const httpPort = new HttpPort(memory.httpPort);
  const tls = createTlsDoor({ config, material: tlsFiles?.material, counters });
  const transport = createHostTransport({
    create: options.createTransport,
    config,
    core: hosts.main.core,
    counters,
    counts: config.ioThreads === 0 ? new LocalSessionCounts() : new SharedSessionCounts(memory.sessionCounts),
    admissionRate,
    descriptors: descriptorBudget,
    httpPort,
    tls,
    onRequest: (request) => answerPlainRequest(request, calls),
  });
  const listener = new SessionListener({ transport, descriptors, counters, log });
  const threads = new IoThreads({
    ...hostThreads,
    ...memory,
    threads: ioThreads,
    entry: new URL('io-thread.js', import.meta.url),
    table: hosts.table,
    tls: tlsFiles?.material,
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
      return new EdgeThreadLife(
        { number, name, entry, table, gauges },
        { ...hostThreads, sessionsBefore, calls, tls: tlsFiles?.material },
      );
    },
    delay,
    lendDescriptors: (start) => descriptors.lend(start),
  });
  tlsFiles?.onChange((material) => {
    tls?.replace(material);
    threads.replaceTls(material);
    edges.replaceTls(material);
  });
  return { transport, listener, threads, edges, httpPort };
}
