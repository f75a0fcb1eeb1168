import { randomBytes } from 'node:crypto';

import type { Logger } from 'pino';

import type { Failure } from '../protocol/errors.ts';
import { describeOpenapi } from '../protocol/http-operations.ts';
import { sessionPath } from '../protocol/limits.ts';
import { describeOpenrpc } from '../protocol/openrpc.ts';
import { SlotTable } from '../slots/slot-table.ts';
import type { Fault } from '../workers/messages.ts';
import { PartitionRunner } from '../workers/partition-runner.ts';
import { Admission } from './admission.ts';
import { resolveConfig } from './config.ts';
import type { ServerConfig } from './config.ts';
import { Counters } from './counters.ts';
import { HttpApi } from './http-api.ts';
import { inspectRegistry } from './inspection.ts';
import type { Inspection } from './inspection.ts';
import { createLogger } from './log.ts';
import { Mover } from './mover.ts';
import { PartitionLink } from './partition-link.ts';
import type { MailboxPort } from './partition-link.ts';
import { productVersion } from './product-version.ts';
import { Router } from './router.ts';
import { SessionHost } from './session-host.ts';
import { tickMs } from './sessions.ts';
import { SlotGate } from './slot-gate.ts';
import { Supervisor } from './supervisor.ts';
import { Transport } from './transport.ts';

export interface ServerAddress {
  readonly host: string;
  readonly port: number;
  /** Where sessions are opened, for the client's `servers`. */
  readonly url: string;
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
  /**
   * The server cannot go on: partitions keep dying, and their slots must not be served empty (PU5). Connections are closed already.
   * By default the process exits with status 70.
   */
  readonly onFatal?: (error: Error) => void;
}

/** How long the last frames of sessions that are closed have to leave, in milliseconds. */
const lastFramesMs = 50;
const exitSoftwareError = 70;
/** By which partitions address the session host. */
const hostNumber = 0;

/** Starts the registry; resolves once every partition is ready and the port is open. Settings not given have their defaults. */
export async function startServer(input: Partial<ServerConfig> = {}, options: ServerOptions = {}): Promise<Server> {
  const config = resolveConfig(input);
  const server = new RunningServer(config, options);
  await server.start();
  return server;
}

/** What {@link startServer} starts; tests take it as it is, to make partitions fail. */
export class RunningServer implements Server {
  readonly #config: ServerConfig;
  readonly #log: Logger;
  readonly #onFatal: (error: Error) => void;
  readonly #counters: Counters = new Counters();
  readonly #router: Router;
  readonly #host: SessionHost;
  readonly #supervisor: Supervisor;
  readonly #mover: Mover;
  readonly #runners: PartitionRunner[] = [];
  readonly #transport: Transport;
  #address: ServerAddress | undefined;
  #ticker: NodeJS.Timeout | undefined;
  #stopped: Promise<void> | undefined;
  #hasFailed = false;

  constructor(config: ServerConfig, options: ServerOptions) {
    this.#config = config;
    this.#log = options.logger ?? createLogger(config.logLevel);
    this.#onFatal = options.onFatal ?? (() => process.exit(exitSoftwareError));
    const nowMs = performance.now();
    const gate = new SlotGate({
      waitingMax: config.waitingRequestsMax,
      waitTimeoutMs: config.slotWaitTimeoutMs,
      nowMs,
    });
    this.#router = new Router(SlotTable.even(config.partitions), gate);
    this.#host = new SessionHost({
      host: hostNumber,
      config,
      router: this.#router,
      counters: this.#counters,
      createName: () => randomBytes(16).toString('base64url'),
      random: Math.random,
      schedule: setImmediate,
      nowMs,
      bornMicros: Math.floor((performance.timeOrigin + nowMs) * 1000),
      onGuard: (event) => {
        const what = event.key ?? 'the whole registry';
        const text =
          event.kind === 'tripped'
            ? `many connections of ${what} broke at once: what they registered is held back from removal`
            : `nothing of ${what} is held back any more`;
        this.#log.warn(event, text);
      },
    });
    this.#supervisor = this.#createSupervisor(nowMs);
    this.#mover = new Mover({
      router: this.#router,
      supervisor: this.#supervisor,
      log: this.#log,
      stepSlots: config.moveSlots,
      nextTurn,
    });
    this.#transport = this.#createTransport();
  }

  get partitions(): number {
    return this.#router.table.partitions;
  }

  get address(): ServerAddress {
    if (this.#address === undefined) throw new Error('the server is not listening');
    return this.#address;
  }

  /** For tests: makes a partition's thread fail. */
  inflict(partition: number, fault: Fault): void {
    this.#runners[partition]?.inflict(fault);
  }

  /** For tests: what each side says that it holds. */
  inspect(): Promise<Inspection> {
    return inspectRegistry(this.#host, this.#router);
  }

  /** Raises or lowers the number of partitions while running; resolves when all slots have moved. */
  resize(partitions: number): Promise<void> {
    return this.#mover.resize(partitions);
  }

  async start(): Promise<void> {
    const { host, port, partitions } = this.#config;
    try {
      await this.#supervisor.startUpTo(partitions);
      const bound = await this.#transport.listen(host, port);
      this.#address = { ...bound, url: `ws://${host.includes(':') ? `[${host}]` : host}:${bound.port}${sessionPath}` };
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#ticker = setInterval(() => {
      this.#tick(performance.now());
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
    await this.#supervisor.stop();
    this.#log.info('stopped');
  }

  async #waitUntilEmpty(timeoutMs: number): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs;
    while (this.#host.sessions.connectedCount > 0 && performance.now() < deadlineMs) await delay(tickMs / 2);
  }

  #tick(nowMs: number): void {
    this.#router.gate.tick(nowMs);
    this.#supervisor.tick(nowMs);
    this.#host.tick(nowMs);
  }

  #createSupervisor(nowMs: number): Supervisor {
    const config = this.#config;
    return new Supervisor({
      config,
      router: this.#router,
      host: this.#host,
      hostNumber,
      counters: this.#counters,
      log: this.#log,
      createRunner: (partition, onDeath) => {
        const startTimeoutMs = config.partitionStartTimeoutMs;
        const heapMaxMb = config.partitionHeapMaxMb;
        const runner = new PartitionRunner({ partition, limits: config, startTimeoutMs, heapMaxMb, onDeath });
        this.#runners[partition] = runner;
        return runner;
      },
      createLink: (partition, port) => this.#createLink(partition, port),
      nextTurn,
      delay,
      nowMs,
      onFatal: (error) => {
        this.#fail(error);
      },
    });
  }

  #createLink(partition: number, port: MailboxPort): PartitionLink {
    return new PartitionLink({
      partition,
      port,
      requestsMax: this.#config.mailboxRequestsMax,
      readTable: () => this.#router.table,
      schedule: setImmediate,
      onUnasked: (record, link) => {
        this.#host.takeUnasked(record, link);
      },
      onMoved: (request, pending) => {
        this.#router.reroute(request, pending);
      },
      onTurnEnd: () => {
        this.#host.flush();
      },
    });
  }

  /** Going on without the slots of a partition would show subscribers empty lists (PU5): the process ends instead. */
  #fail(error: Error): void {
    if (this.#hasFailed || this.#stopped !== undefined) return;
    this.#hasFailed = true;
    this.#log.fatal({ err: error }, error.message);
    this.#host.drain('failed');
    this.#transport.stopListening();
    this.#host.closeAll();
    clearInterval(this.#ticker);
    this.#transport.close();
    this.#onFatal(error);
  }

  #createTransport(): Transport {
    const config = this.#config;
    const host = this.#host;
    const counters = this.#counters;
    const admission = new Admission({
      config,
      counters,
      isDraining: () => host.isDraining,
      readRequestsInFlight: () => this.#router.requestsInFlight,
      onCrowd: () => {
        host.noteCrowd();
      },
      readNowMs: () => performance.now(),
      random: Math.random,
    });
    const api = new HttpApi({
      host,
      config,
      isOriginAllowed: (origin) => admission.isOriginAllowed(origin),
      countRefusal: (code, limit) => {
        counters.countRefusal(code, limit);
      },
      administration: {
        describe: () => this.#describePartitions(),
        resize: (partitions) => this.#startChange(() => this.#mover.resize(partitions)),
        rebalance: () => this.#startChange(() => this.#mover.rebalance()),
      },
      readStats: () => this.#readStats(),
      readWaiting: () => this.#readWaiting(),
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
      onPong: (session, payload) => {
        host.ponged(session, payload);
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
      onHttp: (call) => (call.path === sessionPath ? Promise.resolve(admission.refuseHandshake()) : api.handle(call)),
    });
  }

  #readWaiting(): number[] {
    return this.#supervisor.states().flatMap((state, partition) => (state === 'ready' ? [] : [partition]));
  }

  #describePartitions(): Record<string, unknown> {
    const { table, gate } = this.#router;
    const slots = table.slotsPerPartition();
    return {
      epoch: table.epoch,
      requestsWaiting: gate.waitingCount,
      slotShutMaxMs: Math.round(gate.longestShutMs),
      partitions: this.#supervisor.states().map((state, partition) => ({
        partition,
        state,
        slots: slots[partition] ?? 0,
        requestsInFlight: this.#router.link(partition)?.requestsInFlight ?? 0,
      })),
      move: this.#mover.progress,
    };
  }

  /** Starts a change of the slot table, unless one is under way. How it ends is in the log and in its progress. */
  #startChange(change: () => Promise<void>): Failure | undefined {
    if (this.#mover.isBusy) {
      return { code: 'busy', message: 'a change of the slot table is under way', retryAfterMs: 1000 };
    }
    change().catch((error: unknown) => {
      this.#log.debug({ err: error }, 'a change of the slot table ended early');
    });
    return undefined;
  }

  #readStats(): Record<string, unknown> {
    const { sessions } = this.#host;
    return {
      version: productVersion,
      sessions: sessions.connectedCount,
      leases: sessions.leaseCount,
      registrations: sessions.registrationCount,
      held: sessions.heldCount,
      ...this.#describePartitions(),
      counters: this.#counters.snapshot(),
    };
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
