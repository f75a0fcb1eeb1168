import { randomBytes } from 'node:crypto';

import type { Logger } from 'pino';

import { describeOpenapi } from '../protocol/http-operations.ts';
import { sessionPath } from '../protocol/limits.ts';
import { describeOpenrpc } from '../protocol/openrpc.ts';
import { SlotTable } from '../slots/slot-table.ts';
import { PartitionPool } from '../workers/partition-pool.ts';
import { Admission } from './admission.ts';
import { resolveConfig } from './config.ts';
import type { ServerConfig } from './config.ts';
import { Counters } from './counters.ts';
import { HttpApi } from './http-api.ts';
import { createLogger } from './log.ts';
import { PartitionLink } from './partition-link.ts';
import { productVersion } from './product-version.ts';
import { Router } from './router.ts';
import { SessionHost } from './session-host.ts';
import { tickMs } from './sessions.ts';
import { Transport } from './transport.ts';

export interface ServerAddress {
  readonly host: string;
  readonly port: number;
  /** Where sessions are opened, for the client's `servers`. */
  readonly url: string;
}

export interface Server {
  readonly address: ServerAddress;
  readonly partitions: number;
  /** Says goodbye to sessions, gives them `drainTimeoutMs` to leave, then ends partitions and threads. May be called again. */
  stop(): Promise<void>;
}

export interface ServerOptions {
  readonly logger?: Logger;
  /**
   * The server cannot go on: a partition has died, and its slots must not be served empty (PU5). Connections are closed already.
   * By default the process exits with status 70.
   */
  readonly onFatal?: (error: Error) => void;
}

/** How long the last frames of sessions that are closed have to leave, in milliseconds. */
const lastFramesMs = 50;
const exitSoftwareError = 70;
const sessionHost = 0;

/** Starts the registry; resolves once every partition is ready and the port is open. Settings not given have their defaults. */
export async function startServer(input: Partial<ServerConfig> = {}, options: ServerOptions = {}): Promise<Server> {
  const config = resolveConfig(input);
  const server = new RunningServer(config, options);
  await server.start();
  return server;
}

class RunningServer implements Server {
  readonly partitions: number;
  readonly #config: ServerConfig;
  readonly #log: Logger;
  readonly #onFatal: (error: Error) => void;
  readonly #counters: Counters = new Counters();
  readonly #waiting: Set<number>;
  readonly #links: PartitionLink[] = [];
  readonly #pool: PartitionPool;
  readonly #host: SessionHost;
  readonly #transport: Transport;
  #address: ServerAddress | undefined;
  #ticker: NodeJS.Timeout | undefined;
  #stopped: Promise<void> | undefined;
  #hasFailed = false;

  constructor(config: ServerConfig, options: ServerOptions) {
    this.#config = config;
    this.partitions = config.partitions;
    this.#log = options.logger ?? createLogger(config.logLevel);
    this.#onFatal = options.onFatal ?? (() => process.exit(exitSoftwareError));
    this.#waiting = new Set(Array.from({ length: config.partitions }, (_, partition) => partition));
    const table = SlotTable.even(config.partitions);
    this.#pool = new PartitionPool({
      table,
      limits: config,
      startTimeoutMs: config.partitionStartTimeoutMs,
      onDeath: (partition, cause) => {
        this.#fail(partition, cause);
      },
    });
    this.#host = new SessionHost({
      host: sessionHost,
      config,
      router: new Router(table, this.#links),
      counters: this.#counters,
      createName: () => randomBytes(16).toString('base64url'),
      random: Math.random,
      schedule: setImmediate,
      nowMs: performance.now(),
    });
    this.#transport = this.#createTransport(table);
  }

  get address(): ServerAddress {
    if (this.#address === undefined) throw new Error('the server is not listening');
    return this.#address;
  }

  async start(): Promise<void> {
    const { host, port, partitions } = this.#config;
    try {
      await this.#pool.start((partition) => {
        this.#waiting.delete(partition);
        this.#log.debug({ partition }, 'partition ready');
      });
      for (let partition = 0; partition < partitions; partition++) this.#links.push(this.#connect(partition));
      const bound = await this.#transport.listen(host, port);
      this.#address = { ...bound, url: `ws://${host.includes(':') ? `[${host}]` : host}:${bound.port}${sessionPath}` };
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#ticker = setInterval(() => {
      this.#host.sessions.tick(performance.now());
      this.#host.flush();
    }, tickMs);
    this.#log.info({ host: this.#address.host, port: this.#address.port, partitions }, 'listening');
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.#transport.stopListening();
    this.#host.drain('stopping');
    this.#log.info({ sessions: this.#host.sessions.connectedCount }, 'draining');
    await this.#waitUntilEmpty(this.#config.drainTimeoutMs);
    this.#host.closeAll();
    await delay(lastFramesMs);
    clearInterval(this.#ticker);
    this.#transport.close();
    for (const link of this.#links) link.close();
    await this.#pool.stop();
    this.#log.info('stopped');
  }

  async #waitUntilEmpty(timeoutMs: number): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs;
    while (this.#host.sessions.connectedCount > 0 && performance.now() < deadlineMs) await delay(tickMs / 2);
  }

  #connect(partition: number): PartitionLink {
    return new PartitionLink({
      partition,
      port: this.#pool.connect(partition, sessionHost),
      requestsMax: this.#config.mailboxRequestsMax,
      readEpoch: () => this.#host.epoch,
      schedule: setImmediate,
      onRecord: (record, link) => {
        this.#host.takeRecord(record, link);
      },
      onTurnEnd: () => {
        this.#host.flush();
      },
    });
  }

  /** Until slots can be rebuilt, going on without a partition would show subscribers empty lists (PU5): the process ends instead. */
  #fail(partition: number, cause: Error): void {
    if (this.#hasFailed || this.#stopped !== undefined) return;
    this.#hasFailed = true;
    this.#log.fatal(
      { partition, err: cause },
      `partition ${partition} died: ${cause.message}; the server cannot go on without its slots`,
    );
    this.#host.drain('failed');
    this.#transport.stopListening();
    this.#host.closeAll();
    clearInterval(this.#ticker);
    this.#transport.close();
    this.#onFatal(new Error(`partition ${partition} died: ${cause.message}`, { cause }));
  }

  #createTransport(table: SlotTable): Transport {
    const config = this.#config;
    const host = this.#host;
    const counters = this.#counters;
    const admission = new Admission({ config, counters, isDraining: () => host.isDraining });
    const api = new HttpApi({
      host,
      config,
      isOriginAllowed: (origin) => admission.isOriginAllowed(origin),
      countRefusal: (code, limit) => {
        counters.countRefusal(code, limit);
      },
      readStats: () => this.#readStats(table),
      readWaiting: () => [...this.#waiting],
      documents: {
        openapi: JSON.stringify(describeOpenapi(productVersion)),
        openrpc: JSON.stringify(describeOpenrpc(productVersion)),
      },
    });
    return new Transport({
      frameBytesMax: config.frameBytesMax,
      bodyBytesMax: config.bodyBytesMax,
      backlogBytesMax: config.sessionBacklogBytesMax,
      heartbeatTimeoutMs: config.heartbeatTimeoutMs,
      judgeUpgrade: (call) => admission.judge(call),
      onOpen: (socket, address) => {
        admission.enter(address);
        return host.connect(socket);
      },
      onText: (session, text) => {
        host.receive(session, text);
      },
      onAlive: (session) => {
        host.hear(session);
      },
      onDrain: (session) => {
        host.drained(session);
      },
      onClose: (session, isClean, address) => {
        admission.leave(address);
        host.disconnected(session, isClean);
      },
      countClose: (reason) => {
        counters.countClose(reason);
      },
      onHttp: (call) => api.handle(call),
    });
  }

  #readStats(table: SlotTable): Record<string, unknown> {
    const { sessions } = this.#host;
    return {
      version: productVersion,
      sessions: sessions.connectedCount,
      leases: sessions.leaseCount,
      registrations: sessions.registrationCount,
      epoch: table.epoch,
      partitions: table.slotsPerPartition().map((slots, partition) => ({
        partition,
        slots,
        requestsInFlight: this.#links[partition]?.requestsInFlight ?? 0,
      })),
      counters: this.#counters.snapshot(),
    };
  }
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
