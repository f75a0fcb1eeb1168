import { randomBytes } from 'node:crypto';

import type { Logger } from 'pino';

import { resolveConfig } from '../config/config-checking.ts';
import type { ServerConfig } from '../config/config.ts';
import { Administration } from '../control/administration.ts';
import { EdgeSupervisor } from '../control/edge-supervisor.ts';
import { EdgeThreadLife } from '../control/edge-thread-life.ts';
import { checkHealth } from '../control/health.ts';
import { HostRecovery } from '../control/host-recovery.ts';
import { Hosts } from '../control/hosts.ts';
import { inspectRegistry } from '../control/inspection.ts';
import type { Inspection } from '../control/inspection.ts';
import { IoThreads } from '../control/io-threads.ts';
import { LeaseLedger } from '../control/lease-ledger.ts';
import { LocalHost } from '../control/local-host.ts';
import type { ChangeStart, MainCalls } from '../control/main-calls.ts';
import { PartitionLives } from '../control/partition-lives.ts';
import { RegistryGuard } from '../control/registry-guard.ts';
import { RemoteHost } from '../control/remote-host.ts';
import { SessionDirectory } from '../control/session-directory.ts';
import { SlotMigrator } from '../control/slot-migrator.ts';
import { Supervisor } from '../control/supervisor.ts';
import { createHostTransport } from '../edges/socket/host-transport.ts';
import type { HostTransportOptions } from '../edges/socket/host-transport.ts';
import { answerPlainRequest } from '../edges/socket/session-port.ts';
import { Metrics } from '../metrics/metrics.ts';
import type { Failure } from '../protocol/errors.ts';
import { sessionPath } from '../protocol/limits.ts';
import { admissionRateBytes, createAdmissionRate } from '../runtime/admission-rate.ts';
import { Counters } from '../runtime/counters.ts';
import { DescriptorBudget, descriptorBudgetBytes, Descriptors } from '../runtime/descriptors.ts';
import { adoptLog, createLog } from '../runtime/log.ts';
import type { ServerLog } from '../runtime/log.ts';
import { countRequests } from '../runtime/request-numbers.ts';
import { LocalSessionCounts, SharedSessionCounts, sessionCountsBytes } from '../runtime/session-counts.ts';
import { ThreadGauges, ThreadSampler } from '../runtime/thread-gauges.ts';
import { tickMs } from '../sessions/host-clock.ts';
import type { LeaseNews } from '../sessions/lease-record.ts';
import { leaseOf } from '../sessions/leases.ts';
import type { LeaseAnswer, LeaseCall } from '../sessions/leases.ts';
import type { GuardEvent } from '../sessions/loss-guard.ts';
import type { LossReport } from '../sessions/loss-messages.ts';
import type { SessionEvent } from '../sessions/session-journal.ts';
import { logSession } from '../sessions/session-lines.ts';
import { readSecretNumber } from '../sessions/session-secret.ts';
import type { TransferEvent } from '../sessions/session-transfer.ts';
import { WarmUp, warmUpBytes, WarmUpJudge } from '../sessions/warm-up.ts';
import { SlotTable } from '../slots/slot-table.ts';
import { chooseTransport } from '../transport/choose-transport.ts';
import type { ChosenTransport } from '../transport/choose-transport.ts';
import type { CreateTransport, Transport } from '../transport/transport.ts';
import type { Fault } from '../workers/messages.ts';
import { PartitionRunner } from '../workers/partition-runner.ts';
import { hostOfSession } from '../workers/session-numbers.ts';

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
   * The server cannot go on: partitions keep dying, and their slots must not be served empty (PU5). Connections are closed already.
   * By default the process exits with status 70.
   */
  readonly onFatal?: (error: Error) => void;
}

/** How long the last frames of sessions that are closed have to leave, in milliseconds. */
const lastFramesMs = 50;
/** So many descriptors must be free before connections are taken again. */
const descriptorsToListen = 8;
/** How long it may take until all sessions are told that they are closed, in milliseconds. */
const closeTimeoutMs = 2000;
const exitSoftwareError = 70;

/** Starts the registry; resolves once every partition is ready and the port is open. Settings not given have their defaults. */
export async function startServer(input: Partial<ServerConfig> = {}, options: ServerOptions = {}): Promise<Server> {
  return RunningServer.start(resolveConfig(input), options);
}

/** What {@link startServer} starts; tests take it as it is, to make partitions fail. */
export class RunningServer implements Server {
  readonly #config: ServerConfig;
  /** Why sockets are not held by the faster library, though nobody wished so. */
  readonly #fallback: string | undefined;
  readonly #log: Logger;
  /** Whether the log wants to know who comes and goes. */
  readonly #isVerbose: boolean;
  readonly #serverLog: ServerLog;
  readonly #onFatal: (error: Error) => void;
  readonly #counters: Counters = new Counters();
  readonly #main: LocalHost;
  readonly #hosts: Hosts;
  readonly #threads: IoThreads;
  readonly #guard: RegistryGuard;
  readonly #supervisor: Supervisor;
  readonly #migrator: SlotMigrator;
  readonly #runners: PartitionRunner[] = [];
  readonly #transport: Transport;
  readonly #warmUp: WarmUp;
  readonly #warmUpJudge: WarmUpJudge;
  readonly #lives: PartitionLives = new PartitionLives();
  readonly #gauges: ThreadGauges = new ThreadGauges();
  readonly #descriptors: Descriptors;
  readonly #administration: Administration;
  readonly #metrics: Metrics;
  readonly #edges: EdgeSupervisor;
  readonly #edgeGauges: ReadonlyMap<number, ThreadGauges>;
  #sampler: ThreadSampler | undefined;
  #address: ServerAddress | undefined;
  #ticker: NodeJS.Timeout | undefined;
  #stopped: Promise<void> | undefined;
  #hasFailed = false;

  constructor(wanted: ServerConfig, options: ServerOptions, { kind, create, fallback }: ChosenTransport) {
    const config = { ...wanted, transport: kind };
    this.#config = config;
    this.#fallback = fallback;
    this.#serverLog =
      options.logger === undefined
        ? createLog(config, () => {
            this.#counters.count('log_dropped');
          })
        : adoptLog(options.logger);
    this.#log = this.#serverLog.logger;
    this.#isVerbose = this.#log.isLevelEnabled('debug');
    const { variablesPassedOver: variables = [] } = options;
    if (variables.length > 0) {
      this.#log.warn(
        { variables },
        'passed over variables that Kubernetes sets for a service of this name: they are no settings',
      );
    }
    this.#onFatal = options.onFatal ?? (() => process.exit(exitSoftwareError));
    const nowMs = performance.now();
    const startedAtMicros = Math.floor((performance.timeOrigin + nowMs) * 1000);
    const registry = createName();
    const table = SlotTable.even(config.partitions);
    const lastRequest = new SharedArrayBuffer(8);
    const isAlone = config.ioThreads === 0;
    const hosts = 1 + config.ioThreads + config.edgeThreads;
    const admissionRateMemory = new SharedArrayBuffer(admissionRateBytes);
    const admissionRate = createAdmissionRate(admissionRateMemory, config);
    const warmUpMemory = new SharedArrayBuffer(warmUpBytes(hosts));
    this.#warmUp = new WarmUp(warmUpMemory);
    this.#warmUpJudge = new WarmUpJudge({
      warmUp: this.#warmUp,
      admissionRate,
      config,
      isHealing: () => this.#administration.waitingFor.length > 0,
      nowMs,
    });
    const descriptorsMemory = new SharedArrayBuffer(descriptorBudgetBytes);
    const descriptors = new DescriptorBudget(descriptorsMemory);
    this.#descriptors = new Descriptors({ budget: descriptors, reserved: config.descriptorsReserved });
    this.#main = this.#createMain({
      table,
      admissionRate,
      warmUp: this.#warmUp,
      nextRequest: hosts === 1 ? countAlone() : countRequests(lastRequest),
      nowMs,
      startedAtMicros,
      registry,
    });
    const sessionCounts = new SharedArrayBuffer(isAlone ? 0 : sessionCountsBytes);
    const counts = isAlone ? new LocalSessionCounts() : new SharedSessionCounts(sessionCounts);
    const calls = this.#createCalls();
    this.#transport = this.#createTransport(create, { counts, admissionRate, descriptors }, calls);
    const ledger = new LeaseLedger();
    const forThreads = {
      config,
      lastRequest,
      warmUp: warmUpMemory,
      startedAtMicros,
      registry,
      isVerbose: this.#isVerbose,
      calls,
      onLosses: (report: LossReport): void => {
        this.#guard.take(report);
      },
      onSession: (event: SessionEvent): void => {
        logSession(this.#log, event);
      },
      onTransfer: (host: number, event: TransferEvent): void => {
        this.#hosts.transfers.handle(host, event);
      },
      onLease: (news: LeaseNews): void => {
        ledger.note(news);
      },
    };
    this.#threads = new IoThreads({
      ...forThreads,
      entry: new URL('io-thread.js', import.meta.url),
      table,
      sessionCounts,
      admissionRate: admissionRateMemory,
      descriptors: descriptorsMemory,
      onFailure: (error) => {
        this.#fail(error);
      },
      onSilence: (thread, silentMs) => {
        if (silentMs > 0) this.#log.error({ thread, silentMs }, 'an I/O thread shows no sign of life');
        else this.#log.warn({ thread }, 'an I/O thread shows signs of life again');
      },
    });
    const edgeHosts = Array.from(
      { length: config.edgeThreads },
      (_, i) => new RemoteHost(1 + config.ioThreads + i, forThreads),
    );
    this.#edgeGauges = new Map(edgeHosts.map(({ number }) => [number, new ThreadGauges()]));
    const remote = [...this.#threads.hosts, ...edgeHosts].map(({ host }) => host);
    this.#hosts = new Hosts(this.#main, remote);
    this.#guard = new RegistryGuard({
      settings: config,
      hosts: this.#hosts.all().length,
      counters: this.#counters,
      send: (host, orders) => {
        this.#hosts.obeyGuard(host, orders);
      },
      schedule: setImmediate,
      onEvent: (event) => {
        this.#logGuard(event);
      },
      nowMs,
    });
    this.#supervisor = this.#createSupervisor(nowMs);
    this.#migrator = new SlotMigrator({
      hosts: this.#hosts,
      supervisor: this.#supervisor,
      log: this.#log,
      stepSlots: config.moveSlots,
      stepBytes: config.moveBytes,
      nextTurn,
    });
    const { hosts: allHosts, guard, migrator } = { hosts: this.#hosts, guard: this.#guard, migrator: this.#migrator };
    this.#edges = new EdgeSupervisor({
      heartbeatTimeoutMs: config.partitionHeartbeatTimeoutMs,
      restartBackoffMs: config.partitionRestartBackoffMs,
      hosts: edgeHosts,
      allHosts,
      recovery: new HostRecovery({ hosts: allHosts, supervisor: this.#supervisor, migrator, guard }),
      ledger,
      counters: this.#counters,
      log: this.#log,
      createLife: (number, table, sessionsBefore) =>
        new EdgeThreadLife(
          {
            number,
            name: this.#edgeName(number),
            entry: new URL('edge-thread.js', import.meta.url),
            table,
            gauges: this.#edgeGauges.get(number)!,
          },
          { ...forThreads, sessionsBefore },
        ),
      delay,
      lendDescriptors: (start) => this.#descriptors.lend(start),
    });
    this.#administration = new Administration({
      config,
      hosts: this.#hosts,
      supervisor: this.#supervisor,
      migrator: this.#migrator,
      guard: this.#guard,
      directory: new SessionDirectory(this.#hosts.all()),
      warmUp: this.#warmUp,
      warmUpJudge: this.#warmUpJudge,
      log: this.#log,
    });
    this.#metrics = this.#createMetrics();
  }

  static async start(config: ServerConfig, options: ServerOptions): Promise<RunningServer> {
    const server = new RunningServer(config, options, await chooseTransport(config.transport));
    await server.#start();
    return server;
  }

  get partitions(): number {
    return this.#hosts.table.partitions;
  }

  get address(): ServerAddress {
    if (this.#address === undefined) throw new Error('the server is not listening');
    return this.#address;
  }

  /** For tests: makes a partition's thread fail. */
  inflict(partition: number, fault: Fault): void {
    this.#runners[partition]?.inflict(fault);
  }

  /** For tests: ends a thread that serves HTTP. */
  killEdge(index: number): void {
    this.#edges.kill(index);
  }

  /** For tests: what each side says that it holds. */
  inspect(): Promise<Inspection> {
    return inspectRegistry(this.#hosts);
  }

  /** Raises or lowers the number of partitions while running; resolves when all slots have moved. */
  resize(partitions: number): Promise<void> {
    return this.#migrator.resize(partitions);
  }

  async #start(): Promise<void> {
    const { host, port, httpPort, partitions, ioThreads, transport } = this.#config;
    try {
      const [takers] = await Promise.all([
        this.#threads.start(),
        this.#supervisor.startUpTo(partitions),
        this.#edges.start(),
      ]);
      // Every host knows its way to every partition before it gets a session.
      await Promise.all(this.#hosts.all().map((sessionHost) => sessionHost.readState()));
      for (const taker of takers) this.#transport.handTo(taker);
      await this.#descriptors.open();
      const http = await this.#edges.listen({ host, port: httpPort });
      const bound = await this.#transport.listen(host, port);
      const name = host.includes(':') ? `[${host}]` : host;
      this.#address = {
        ...bound,
        url: `ws://${name}:${bound.port}${sessionPath}`,
        httpPort: http?.port,
        httpUrl: http === undefined ? undefined : `http://${name}:${http.port}`,
      };
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#sampler = new ThreadSampler(this.#gauges, tickMs);
    this.#ticker = setInterval(() => {
      this.#sampler?.sample();
      this.#tick(performance.now());
    }, tickMs);
    this.#log.info(
      {
        host: this.#address.host,
        port: this.#address.port,
        httpPort: this.#address.httpPort,
        partitions,
        ioThreads,
        transport,
      },
      'listening',
    );
    if (this.#fallback !== undefined)
      this.#log.info({ transport }, `${this.#fallback}: sockets are held by Node's own, which are slower`);
    if (!isLoopbackHost(host)) {
      this.#log.warn(
        { host },
        'other machines can reach the registry, and there is no access control: whoever can may register, read and load it',
      );
    }
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    this.#transport.stopListening();
    this.#edges.stopListening();
    this.#hosts.drain('stopping');
    this.#log.info({ sessions: await this.#administration.countSessions() }, 'draining');
    await this.#waitUntilEmpty(this.#config.drainTimeoutMs);
    await this.#closeSockets();
    await this.#edges.end();
    await this.#supervisor.stop();
    await this.#threads.end();
    this.#descriptors.close();
    this.#log.info('stopped');
    await this.#serverLog.close();
  }

  async #closeSockets(): Promise<void> {
    // A thread that hangs shall not keep the others from ending.
    await Promise.race([this.#hosts.closeAll(), delay(closeTimeoutMs)]);
    await delay(lastFramesMs);
    clearInterval(this.#ticker);
    this.#sampler?.stop();
    this.#transport.close();
    await this.#threads.close();
  }

  async #waitUntilEmpty(timeoutMs: number): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs;
    while ((await this.#administration.countSessions()) > 0 && performance.now() < deadlineMs) await delay(tickMs / 2);
  }

  #tick(nowMs: number): void {
    this.#supervisor.tick(nowMs);
    this.#threads.tick(nowMs);
    this.#edges.tick(nowMs);
    if (this.#warmUpJudge.tick(nowMs)) this.#logWarm();
    this.#guard.tick(nowMs);
    this.#main.tick(nowMs);
    this.#descriptors.tick(nowMs);
    this.#watchListening();
  }

  /** Whoever uses up the descriptors must not stop those who are in: connections that cannot be taken are not waited for. */
  #watchListening(): void {
    if (this.#stopped !== undefined || this.#hasFailed) return;
    if (this.#transport.isListening) {
      if (this.#descriptors.hasRoom(1)) return;
      this.#counters.count('accept_paused');
      this.#log.warn('no file descriptors are left: no connections are taken for now');
      this.#transport.pauseListening();
    } else if (this.#descriptors.hasRoom(descriptorsToListen)) {
      this.#transport.resumeListening().then(
        () => {
          this.#log.info('connections are taken again');
        },
        // It is tried again with the next tick.
        () => undefined,
      );
    }
  }

  #createMain(
    options: Pick<
      ConstructorParameters<typeof LocalHost>[0],
      'table' | 'admissionRate' | 'warmUp' | 'nextRequest' | 'nowMs' | 'startedAtMicros' | 'registry'
    >,
  ): LocalHost {
    return new LocalHost({
      ...options,
      number: 0,
      config: this.#config,
      counters: this.#counters,
      createName,
      random: Math.random,
      schedule: setImmediate,
      delay,
      reportLosses: (report) => {
        this.#guard.take(report);
      },
      isVerbose: this.#isVerbose,
      onSession: (event) => {
        logSession(this.#log, event);
      },
      // Without I/O threads there is no other host.
      ...(this.#config.ioThreads === 0
        ? {}
        : {
            tellMain: (event: TransferEvent): void => {
              this.#hosts.transfers.handle(0, event);
            },
          }),
    });
  }

  #createSupervisor(nowMs: number): Supervisor {
    const config = this.#config;
    return new Supervisor({
      config,
      hosts: this.#hosts,
      counters: this.#counters,
      log: this.#log,
      createRunner: (partition, onDeath) => {
        const startTimeoutMs = config.partitionStartTimeoutMs;
        const heapMaxMb = config.partitionHeapMaxMb;
        const runner = new PartitionRunner({ partition, limits: config, startTimeoutMs, heapMaxMb, onDeath });
        this.#runners[partition] = runner;
        return runner;
      },
      delay,
      nowMs,
      lendDescriptors: (start) => this.#descriptors.lend(start),
      onTurnOfLife: (partition, turn) => {
        this.#lives.note(partition, turn, performance.now());
      },
      onFatal: (error) => {
        this.#fail(error);
      },
    });
  }

  /** Going on without the slots of a partition would show subscribers empty lists (PU5): the process ends instead. */
  #fail(error: Error): void {
    if (this.#hasFailed || this.#stopped !== undefined) return;
    this.#hasFailed = true;
    this.#log.fatal({ err: error }, error.message);
    this.#hosts.drain('failed');
    this.#transport.stopListening();
    void this.#giveUp(error);
  }

  /** Other threads must have closed their sockets before the process ends. */
  async #giveUp(error: Error): Promise<void> {
    await this.#closeSockets();
    await this.#serverLog.close();
    this.#onFatal(error);
  }

  #createTransport(
    create: CreateTransport,
    options: Pick<HostTransportOptions, 'counts' | 'admissionRate' | 'descriptors'>,
    calls: MainCalls,
  ): Transport {
    return createHostTransport({
      create,
      config: this.#config,
      core: this.#main.core,
      counters: this.#counters,
      ...options,
      onRequest: (request) => answerPlainRequest(request, calls),
    });
  }

  #createCalls(): MainCalls {
    return {
      checkHealth: (check) => {
        const { isDraining, isWarming } = this.#main.core;
        const { waitingFor } = this.#administration;
        return Promise.resolve(checkHealth(check, { waitingFor, isDraining, isWarming }));
      },
      readHttpUrl: () => Promise.resolve(this.#address?.httpUrl),
      readStats: () => this.#administration.readStats(),
      readMetrics: () => this.#metrics.read(),
      describePartitions: () => this.#administration.describePartitions(),
      resize: (partitions) => this.#describeStart(this.#administration.resize(partitions)),
      rebalance: () => this.#describeStart(this.#administration.rebalance()),
      describeGuard: () => this.#administration.describeGuard(),
      releaseGuard: (key) => this.#administration.releaseGuard(key),
      requestReconnect: (percent, spreadMs) => this.#administration.requestReconnect(percent, spreadMs),
      listSessions: (query) => this.#administration.listSessions(query),
      carryOutLease: (call) => this.#carryOutLease(call),
    };
  }

  /** Described in the same turn: a short change may be over in the next. */
  async #describeStart(failure: Failure | undefined): Promise<ChangeStart> {
    if (failure !== undefined) return { failure };
    return { description: await this.#administration.describePartitions() };
  }

  #carryOutLease(call: LeaseCall): Promise<LeaseAnswer> {
    const holder = this.#hosts.all()[hostOfSession(readSecretNumber(leaseOf(call) ?? ''))];
    return holder?.carryOutLease(call) ?? Promise.resolve({ code: 'not_found', message: 'there is no such lease' });
  }

  #createMetrics(): Metrics {
    return new Metrics({
      states: this.#hosts.states,
      source: {
        readPartitions: () => {
          const slots = this.#hosts.table.slotsPerPartition();
          return this.#supervisor.states().map((state, partition) => ({
            partition,
            isReady: state === 'ready',
            slots: slots[partition] ?? 0,
            gauges: this.#runners[partition]!.gauges,
          }));
        },
        threads: new Map([
          ['main', this.#gauges],
          ...this.#threads.gauges,
          ...[...this.#edgeGauges].map(([number, gauges]) => [this.#edgeName(number), gauges] as const),
        ]),
        lives: this.#lives,
        gate: this.#main.router.gate,
        guard: this.#guard,
        migrator: this.#migrator,
        warmUp: { isOver: () => this.#warmUp.isOver, readTookMs: () => this.#warmUpJudge.tookMs },
      },
    });
  }

  #edgeName(number: number): string {
    return `edge-${number - this.#config.ioThreads}`;
  }

  #logWarm(): void {
    const tookMs = Math.round(this.#warmUpJudge.tookMs);
    const isCut = tookMs >= this.#config.warmUpMaxMs && this.#config.warmUpMaxMs > this.#config.warmUpMs;
    const instances = this.#warmUp.held;
    if (isCut)
      this.#log.warn({ tookMs, instances }, 'warm, though clients were still coming back: warmUpMaxMs is over');
    else this.#log.info({ tookMs, instances }, 'warm: who was here before is back, or has had the time');
  }

  #logGuard(event: GuardEvent): void {
    const what = event.key ?? 'the whole registry';
    const text =
      event.kind === 'tripped'
        ? `many connections of ${what} broke at once: what they registered is held back from removal`
        : `nothing of ${what} is held back any more`;
    this.#log.warn(event, text);
  }
}

/** Numbers requests where nobody else does. */
function countAlone(): () => number {
  let last = 0;
  return () => {
    last += 1;
    return last;
  };
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

/** Whether only this machine can reach what listens there. */
function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^(::ffff:)?127(\.\d{1,3}){3}$/.test(host);
}

/** A name that cannot be guessed. */
function createName(): string {
  return randomBytes(16).toString('base64url');
}
