import type { Logger } from 'pino';

import { resolveConfig } from '../config/config-checking.ts';
import { usesTls } from '../config/config.ts';
import type { ServerConfig } from '../config/config.ts';
import { explainExposure } from '../config/exposure.ts';
import { inspectRegistry } from '../control/inspection.ts';
import type { Inspection } from '../control/inspection.ts';
import type { ThreadStore } from '../durable/thread-store.ts';
import { sessionPath } from '../protocol/limits.ts';
import { Counters } from '../runtime/counters.ts';
import { adoptLog, createLog } from '../runtime/log.ts';
import type { ServerLog } from '../runtime/log.ts';
import { loadTlsMaterial } from '../tls/tls-material.ts';
import type { ChosenTransport } from '../transport/choose-transport.ts';
import type { Fault } from '../workers/messages.ts';
import { discardUnusedJournal } from './registry-hosts.ts';
import { createServerParts } from './server-parts.ts';
import type { ServerParts } from './server-parts.ts';
import { chooseSockets } from './socket-choice.ts';

export interface ServerAddress {
  readonly host: string;
  readonly port: number;
  /** Where sessions are opened, for the client's `servers`. */
  readonly url: string;
  /** Where HTTP is served; undefined with `edgeThreads` 0. */
  readonly httpPort: number | undefined;
  readonly httpUrl: string | undefined;
}

export interface Server {
  readonly address: ServerAddress;
  /** Partitions that there are. */
  readonly partitions: number;
  /** Says goodbye to sessions, gives them `drainTimeoutMs` to leave, then ends partitions and threads. May be called again. */
  stop(): Promise<void>;
}

export interface ServerOptions {
  readonly logger?: Logger;
  /** Variables of the environment that were taken for no settings; the log names them. */
  readonly variablesPassedOver?: readonly string[];
  /**
   * The server cannot continue: partitions keep dying, and their slots must not be served empty (PU5). Connections are closed already.
   * By default the process exits with status 70.
   */
  readonly onFatal?: (error: Error) => void;
}

const exitSoftwareError = 70;

/** Starts the registry; resolves once every partition is ready and the port is open. Settings not given have their defaults. */
export async function startServer(input: Partial<ServerConfig> = {}, options: ServerOptions = {}): Promise<Server> {
  return RunningServer.start(resolveConfig(input), options);
}

/** What {@link startServer} starts; tests take it as it is, to make partitions fail. */
export class RunningServer implements Server {
  readonly address: ServerAddress;
  readonly #parts: ServerParts;

  /** Use {@link RunningServer.start}. */
  constructor(parts: ServerParts, address: ServerAddress) {
    this.#parts = parts;
    this.address = address;
  }

  static async start(wanted: ServerConfig, options: ServerOptions): Promise<RunningServer> {
    const tls = await loadTlsMaterial(wanted);
    const { kind, create: createTransport, ...chosen } = await chooseSockets(wanted);
    const config = { ...wanted, transport: kind };
    const counters = new Counters();
    const log = createServerLog(config, options, counters);
    const { onFatal = (): void => process.exit(exitSoftwareError) } = options;
    const parts = createServerParts({ config, log, counters, createTransport, tls, onFatal });
    let address: ServerAddress;
    try {
      address = await openDoors(parts, config);
    } catch (error) {
      await parts.shutdown.abandon();
      throw error;
    }
    parts.ticker.start();
    logListening(log.logger, config, address, chosen);
    return new RunningServer(parts, address);
  }

  get partitions(): number {
    return this.#parts.hosts.table.partitions;
  }

  stop(): Promise<void> {
    return this.#parts.shutdown.stop();
  }

  /** For tests: makes a partition's thread fail. */
  inflict(partition: number, fault: Fault): void {
    this.#parts.runners.inflict(partition, fault);
  }

  /** For tests: ends a thread that serves HTTP. */
  killEdge(index: number): void {
    this.#parts.edges.kill(index);
  }

  /** For tests: ends the thread that makes checks. */
  killChecks(): void {
    this.#parts.checkThread.kill();
  }

  /** For tests: what is stored, whose thread can be ended, too. */
  get store(): Pick<ThreadStore, 'commit' | 'load' | 'connect' | 'kill' | 'state'> {
    return this.#parts.store;
  }

  /** For tests: what each side says that it holds. */
  inspect(): Promise<Inspection> {
    return inspectRegistry(this.#parts.hosts);
  }

  /** Raises or lowers the number of partitions while running; resolves when all slots have moved. */
  resize(partitions: number): Promise<void> {
    return this.#parts.migrator.resize(partitions);
  }
}

function createServerLog(config: ServerConfig, options: ServerOptions, counters: Counters): ServerLog {
  const { logger, variablesPassedOver: variables = [] } = options;
  const log =
    logger === undefined
      ? createLog(config, () => {
          counters.count('log_dropped');
        })
      : adoptLog(logger);
  if (variables.length > 0) {
    log.logger.warn(
      { variables },
      'passed over variables that Kubernetes sets for a service of this name: they are no settings',
    );
  }
  return log;
}

/** Starts threads and partitions; resolves once all are ready, and callers are let in. */
async function openDoors(parts: ServerParts, config: ServerConfig): Promise<ServerAddress> {
  const {
    store,
    audit,
    record,
    warmUp,
    persistent,
    switches,
    accessControl,
    guard,
    threads,
    supervisor,
    edges,
    hosts,
    transport,
    descriptors,
    listener,
    openDoors,
  } = parts;
  const { host, port, httpPort, partitions } = config;
  await store.start();
  await audit?.begin();
  if (parts.warmStart === undefined) discardUnusedJournal(config);
  await record.begin();
  if (record.isFirstStart && parts.warmStart?.isFirstLife === true) warmUp.presumeOver();
  // One kind after the other: each thread opens the files of its modules all at once, and of descriptors there may be few. Partitions last: all hosts must hear of them.
  const takers = await threads.start();
  await edges.start();
  await supervisor.startUpTo(partitions);
  await record.continueFrom(parts.warmStart?.version ?? 0);
  hosts.connectToStore();
  // What the life before registered for good is recalled into it.
  const session = hosts.main.core.openPersistent();
  const recalled = parts.warmStart?.begin(parts, performance.now()) ?? Promise.resolve();
  // Every host knows its way to every partition before it gets a session.
  await Promise.all(hosts.all().map((sessionHost) => sessionHost.readState()));
  await switches.load();
  await accessControl.load();
  await persistent.load({ session, hosts, guard, known: parts.warmStart?.persistent ?? [], recalled });
  await parts.checks.begin();
  for (const taker of takers) transport.handTo(taker);
  await descriptors.open();
  const http = await edges.listen({ host, port: httpPort });
  // Before sessions are accepted: they may be of pages from there.
  parts.httpPort.port = http?.port ?? 0;
  const bound = await listener.listen(host, port);
  const name = host.includes(':') ? `[${host}]` : host;
  const s = usesTls(config) ? 's' : '';
  openDoors.httpUrl = http === undefined ? undefined : `http${s}://${name}:${http.port}`;
  openDoors.sessionPort = bound.port;
  return {
    ...bound,
    url: `ws${s}://${name}:${bound.port}${sessionPath}`,
    httpPort: http?.port,
    httpUrl: openDoors.httpUrl,
  };
}

function logListening(
  log: Logger,
  config: ServerConfig,
  address: ServerAddress,
  { fallback, isSuspicious }: Pick<ChosenTransport, 'fallback' | 'isSuspicious'>,
): void {
  const { partitions, ioThreads, transport } = config;
  const { host, port, httpPort } = address;
  const tls = usesTls(config);
  log.info({ host, port, httpPort, partitions, ioThreads, transport, tls }, 'listening');
  if (fallback !== undefined) {
    const level = isSuspicious ? 'warn' : 'info';
    log[level]({ transport }, `${fallback}: Node's own sockets are used, which are slower`);
  }
  const exposure = explainExposure(config);
  if (exposure !== undefined) log.warn({ host: config.host }, `insecure: ${exposure}`);
}
