import { pino } from 'pino';

import { createAccessCheck } from '../../src/access/access-check.ts';
import { resolveConfig } from '../../src/config/config-checking.ts';
import type { ServerConfig } from '../../src/config/config.ts';
import { EdgeSupervisor } from '../../src/control/edge-supervisor.ts';
import type { EdgeAddress, EdgeLife } from '../../src/control/edge-supervisor.ts';
import { HealthChecks } from '../../src/control/health-checks.ts';
import { HostRecovery } from '../../src/control/host-recovery.ts';
import { Hosts } from '../../src/control/hosts.ts';
import { LeaseLedger } from '../../src/control/lease-ledger.ts';
import { LocalHost } from '../../src/control/local-host.ts';
import type { LocalHostOptions } from '../../src/control/local-host.ts';
import { PersistentServices } from '../../src/control/persistent-services.ts';
import { RegistryGuard } from '../../src/control/registry-guard.ts';
import { RemoteHost, serveHost } from '../../src/control/remote-host.ts';
import type { FromHost, HostEvents, HostPort } from '../../src/control/remote-host.ts';
import { SessionTransfers } from '../../src/control/session-transfers.ts';
import { SlotMigrator } from '../../src/control/slot-migrator.ts';
import { Supervisor } from '../../src/control/supervisor.ts';
import { WarmStart } from '../../src/control/warm-start.ts';
import type { StoreRequest } from '../../src/durable/commits.ts';
import { RegistryRecord } from '../../src/durable/registry-record.ts';
import type { ToHealthThread } from '../../src/health/health-messages.ts';
import { JournalFolder } from '../../src/journal/journal-folder.ts';
import type { SessionNote } from '../../src/journal/session-records.ts';
import type { Router } from '../../src/routing/router.ts';
import { AdmissionRate, admissionRateBytes } from '../../src/runtime/admission-rate.ts';
import { Counters } from '../../src/runtime/counters.ts';
import type { CallMessage, ThreadPort } from '../../src/runtime/thread-calls.ts';
import { CheckRules } from '../../src/sessions/check-rules.ts';
import type { Encoding } from '../../src/sessions/encoding.ts';
import type { GuardDescription, GuardEvent } from '../../src/sessions/loss-guard.ts';
import type { PersistentCalls } from '../../src/sessions/persistent-session.ts';
import type { SessionCore } from '../../src/sessions/session-core.ts';
import type { SessionEvent } from '../../src/sessions/session-journal.ts';
import type { TransferEvent } from '../../src/sessions/session-transfer.ts';
import type { Orders } from '../../src/sessions/standing-orders.ts';
import { StandingOrders } from '../../src/sessions/standing-orders.ts';
import { WarmUp, warmUpBytes, WarmUpJudge } from '../../src/sessions/warm-up.ts';
import { SlotTable } from '../../src/slots/slot-table.ts';
import { PartitionInbox } from '../../src/workers/inbox.ts';
import type { JournalReport, JournalStart } from '../../src/workers/journal-start.ts';
import type { HostBatch, PartitionBatch } from '../../src/workers/messages.ts';
import { PartitionOutboxes } from '../../src/workers/outbox.ts';
import type { PartitionClock } from '../../src/workers/partition-clock.ts';
import { PartitionCore } from '../../src/workers/partition-core.ts';
import type { PartitionOptions } from '../../src/workers/partition-core.ts';
import { beginJournalledLife, createClaimJournal } from '../../src/workers/partition-journal.ts';
import type { MailboxPort, Runner } from '../../src/workers/runner.ts';
import { SessionOrigins } from '../../src/workers/session-numbers.ts';
import { ioThreads } from './io-threads.ts';
import { MemoryStore } from './memory-store.ts';
import { Random } from './random.ts';
import type { MortalSegments, SimulatedDisk } from './simulated-disk.ts';
import { SimulatedStore } from './simulated-store.ts';

/** As in a server with an I/O thread, and as in one without. */
const hostsUsual: number = ioThreads > 0 ? 2 : 1;

const wallStartUsualMicros = 1_700_000_000_000_000;
/** Turns end in the middle of batches and of rounds of pushes, and answers are worth waiting for, so that other things come in between. */
const smallTurns: Partial<ServerConfig> = {
  partitionTurnWorkMax: 1024,
  answerCharactersInFlightMax: 2048,
};

/** Deliveries, and rounds of 50 ms, after which a registry that nobody disturbs must have come to rest. */
const hostsMax = 8;
const stepsMax = 1_000_000;
const roundsMax = 1000;

/** What is not a setting of a real one. */
interface RegistrySettings {
  /** What the wall clock says at the start. */
  readonly wallStartMicros?: number;
  /** What sessions are sent, if it is not JSON-RPC. */
  readonly encoding?: Encoding;
  /** Hosts that hold leases, after the others: each may die, and is brought back. */
  readonly edges?: number;
  /** An edge that is asked to listen does so once this has resolved. */
  readonly beforeListening?: () => Promise<void>;
  /** What is stored; one that is empty if it is not given. */
  readonly store?: MemoryStore;
  /** Where sessions and what they register are noted for the next life of the process; not given: they are not. It goes with the store. */
  readonly disk?: SimulatedDisk;
}

/** What a simulated partition needs of its surroundings. */
interface Surroundings {
  readonly config: ServerConfig;
  readonly clock: () => PartitionClock;
  readonly store: SimulatedStore;
  readonly origins: SessionOrigins;
  readonly readVersionFloor: () => number;
  /** Undefined: nothing outlives the process. */
  readonly journals: JournalSurroundings | undefined;
}

interface JournalSurroundings {
  readonly disk: SimulatedDisk;
  readonly warmStart: WarmStart;
}

/** Segments begin anew while there is little in them. */
const journalGarbageBytes = 2000;

function ignore(): void {
  // The events of its units are kept where they arise.
}

/** A mailbox between a host and one life of a partition, as two plain queues; what was posted before a death still arrives. */
export class SimulatedMailbox implements MailboxPort {
  readonly host: number;
  readonly inbox: HostBatch[] = [];
  readonly outbox: (PartitionBatch | 'end')[] = [];
  isAlive = true;
  #isHostAlive = true;
  #take: (batch: PartitionBatch) => void = () => undefined;
  #end: () => void = () => undefined;

  constructor(host: number) {
    this.host = host;
  }

  on(event: 'message' | 'close', take: ((batch: PartitionBatch) => void) & (() => void)): void {
    if (event === 'message') this.#take = take;
    else this.#end = take;
  }

  postMessage(batch: HostBatch): void {
    // What crosses threads is cloned there, too; only the table is shared.
    if (this.isAlive && this.#isHostAlive) this.inbox.push({ ...batch, records: structuredClone(batch.records) });
  }

  close(): void {
    this.isAlive = false;
  }

  /** The host has gone. */
  drop(): void {
    this.isAlive = false;
    this.inbox.length = 0;
    this.outbox.length = 0;
  }

  /** The partition has gone. */
  end(): void {
    this.isAlive = false;
    this.inbox.length = 0;
    this.outbox.push('end');
  }

  /** The host's thread has died: what it has posted may still be taken, until the partition is told. */
  abandon(): void {
    this.#isHostAlive = false;
    this.#take = ignore;
    this.#end = ignore;
  }

  deliverOut(): void {
    const batch = this.outbox.shift();
    if (batch === 'end') this.#end();
    else if (batch !== undefined) this.#take(batch);
  }
}

/**
 * One partition's core with its mailboxes as plain queues. It may die, and then loses all that it held and had not yet sent, perhaps in the
 * middle of sending.
 */
export class SimulatedPartition implements Runner {
  core: PartitionCore | undefined;
  /** Of all its lives, as long as something may still come. */
  mailboxes: SimulatedMailbox[] = [];
  readonly #partition: number;
  readonly #surroundings: Surroundings;
  readonly #onDeath: (partition: number, cause: Error) => void;
  #inbox = new PartitionInbox();
  #outboxes = new PartitionOutboxes();
  /** A turn is to come though nothing has: the last one was over before all was done. */
  isTurnScheduled = false;
  #pulse = 0;
  #storeRequests: StoreRequest[] = [];
  #askStore: (requests: readonly StoreRequest[]) => void = ignore;
  /** Batches that leave before it dies. */
  #postsLeft = Number.POSITIVE_INFINITY;
  #lives = 0;
  #segments: MortalSegments | undefined;
  /** Of the life before of the process, and what the clock says since. */
  #wallFloorMicros = 0;

  constructor(partition: number, surroundings: Surroundings, onDeath: (partition: number, cause: Error) => void) {
    this.#partition = partition;
    this.#surroundings = surroundings;
    this.#onDeath = onDeath;
  }

  async start(table: SlotTable, versionFloor: number): Promise<void> {
    const { config, origins, readVersionFloor } = this.#surroundings;
    const outboxes = new PartitionOutboxes();
    this.#outboxes = outboxes;
    this.#inbox = new PartitionInbox();
    this.isTurnScheduled = false;
    this.#wallFloorMicros = 0;
    this.#lives += 1;
    const start = this.#surroundings.journals?.warmStart.journalOf(this.#partition, this.#lives === 1);
    const core: PartitionCore = new PartitionCore({
      partition: this.#partition,
      table,
      limits: config,
      versionFloor: this.chooseFloor(Math.max(versionFloor, readVersionFloor()), this.#readClock()),
      emit: (host, ...record) => {
        outboxes.add(host, record);
      },
      askStore: (request) => {
        this.#storeRequests.push(request);
      },
      origins,
      createJournal: this.#createJournal(start, (report) => {
        if (this.core === core) this.#report(report);
      }),
    });
    this.core = core;
    if (start !== undefined) await this.#begin(core, table, start);
    if (this.core === core) this.#connectStore(core);
  }

  #createJournal(
    start: JournalStart | undefined,
    report: (report: JournalReport) => void,
  ): PartitionOptions['createJournal'] {
    const { journals, config } = this.#surroundings;
    if (start === undefined || journals === undefined) return undefined;
    const sink = journals.disk.createSegments(start.folder, start.before);
    this.#segments = sink;
    return (store) =>
      createClaimJournal(store, {
        partition: this.#partition,
        start,
        sink,
        bytesWaitingMax: config.journalBytesWaitingMax,
        garbageBytes: journalGarbageBytes,
        report,
      });
  }

  async #begin(core: PartitionCore, table: SlotTable, start: JournalStart): Promise<void> {
    const wallFloorMicros = await beginJournalledLife({
      core,
      partition: this.#partition,
      table,
      origins: this.#surroundings.origins,
      start,
      readClock: () => this.#readClock(),
      report: (report) => {
        this.#report(report);
      },
      nextTurn: runPromises,
    });
    if (this.core === core) this.#wallFloorMicros = wallFloorMicros;
  }

  #report(report: JournalReport): void {
    this.#surroundings.journals?.warmStart.handle(this.#partition, report);
  }

  #readClock(): PartitionClock {
    const { monotonicMs, wallMicros } = this.#surroundings.clock();
    return { monotonicMs, wallMicros: Math.max(wallMicros, this.#wallFloorMicros) };
  }

  #connectStore(core: PartitionCore): void {
    const { store } = this.#surroundings;
    const clock = (): PartitionClock => this.#readClock();
    this.#storeRequests = [];
    this.#askStore = store.connect({
      partition: this.#partition,
      connect: () => {
        core.connectStore(clock());
        this.#runStoreTurn(core);
      },
      disconnect: () => {
        this.#storeRequests = [];
        core.disconnectStore(clock());
        this.#runStoreTurn(core);
      },
      handle: (replies) => {
        for (const reply of replies) core.handleStoreReply(reply, clock());
        this.#runStoreTurn(core);
      },
    });
    if (!store.isDown) core.connectStore(clock());
    this.#postToStore();
  }

  #runStoreTurn(core: PartitionCore): void {
    if (this.core === core && !this.isTurnScheduled) this.runTurn();
  }

  #postToStore(): void {
    if (this.#storeRequests.length === 0) return;
    this.#askStore(this.#storeRequests);
    this.#storeRequests = [];
  }

  /** As threads do: what is told, or what the clock says if that is higher. */
  chooseFloor(versionFloor: number, clock: PartitionClock): number {
    return Math.max(versionFloor, clock.wallMicros);
  }

  connect(host: number): MailboxPort {
    const mailbox = new SimulatedMailbox(host);
    this.mailboxes.push(mailbox);
    this.#outboxes.attach(host);
    this.core?.attach(host);
    return mailbox;
  }

  detach(host: number): void {
    for (const mailbox of this.mailboxes) if (mailbox.host === host) mailbox.drop();
    this.mailboxes = this.mailboxes.filter((mailbox) => mailbox.host !== host);
    this.#outboxes.detach(host);
    if (this.core === undefined) return;
    this.#inbox.detach(host, this.core);
    if (!this.isTurnScheduled) this.runTurn();
  }

  readPulse(): number | undefined {
    return this.core === undefined ? undefined : ++this.#pulse;
  }

  kill(): void {
    this.die();
  }

  /** `random`: perhaps in the middle of a turn. */
  die(random?: Random): void {
    if (this.core === undefined) return;
    const next = this.mailboxes.find(({ inbox }) => inbox.length > 0);
    if (random !== undefined && next !== undefined && random.below(2) === 0) {
      this.#postsLeft = random.below(4);
      this.deliverIn(next);
      this.#postsLeft = Number.POSITIVE_INFINITY;
    }
    this.#clear();
    this.#segments?.die(random);
    this.#onDeath(this.#partition, new Error('killed'));
  }

  async stop(): Promise<void> {
    const { core } = this;
    this.#clear();
    this.#report({ kind: 'ended', isWhole: (await core?.journal?.end()) === true });
  }

  /** Time passes for its journal, too. */
  tick(nowMs: number): void {
    this.core?.journal?.proceed(nowMs);
  }

  deliverIn(mailbox: SimulatedMailbox): void {
    const batch = mailbox.inbox.shift();
    const { core } = this;
    if (batch === undefined || core === undefined) return;
    this.#inbox.add(mailbox.host, batch, core);
    if (!this.isTurnScheduled) this.runTurn();
  }

  deliverOut(mailbox: SimulatedMailbox): void {
    mailbox.deliverOut();
    if (!mailbox.isAlive && mailbox.outbox.length === 0) {
      this.mailboxes = this.mailboxes.filter((other) => other !== mailbox);
    }
  }

  runTurn(): void {
    const { core } = this;
    if (core === undefined) return;
    const clock = this.#readClock();
    const isUnfinished = this.#inbox.run(core, clock);
    core.endTurn(clock);
    this.isTurnScheduled = isUnfinished || core.hasDue;
    this.#outboxes.take((host, batch) => {
      if (this.#postsLeft <= 0) return;
      this.#postsLeft -= 1;
      this.mailboxes.findLast((mailbox) => mailbox.host === host)?.outbox.push(structuredClone(batch));
    });
    if (this.#postsLeft > 0) this.#postToStore();
  }

  #clear(): void {
    this.core = undefined;
    this.isTurnScheduled = false;
    this.#storeRequests = [];
    this.#surroundings.store.disconnect(this.#partition);
    for (const mailbox of this.mailboxes) if (mailbox.isAlive) mailbox.end();
  }
}

/** Is delivered behind all that a host has said whose thread has died. */
const endOfLife = Symbol('end');

/** What crosses between the main thread and another host, as a plain queue each way. */
class SimulatedChannel {
  readonly #queues: [toUnit: unknown[], fromUnit: unknown[]] = [[], []];
  readonly #takers: ((message: never) => void)[] = [];
  #onEnd: () => void = ignore;

  get main(): HostPort {
    return this.#end(0);
  }

  get hostPort(): ThreadPort<CallMessage, FromHost> {
    return this.#end(1);
  }

  /** One for each direction in which something waits. */
  deliveries(): (() => void)[] {
    return this.#queues.flatMap((queue, way) =>
      queue.length === 0
        ? []
        : [
            () => {
              const message = queue.shift();
              if (message === endOfLife) this.#onEnd();
              else this.#takers[way]?.(message as never);
            },
          ],
    );
  }

  /** The host's thread has died; `onEnd` is called when all that it had said has been delivered. */
  die(onEnd: () => void): void {
    this.#onEnd = onEnd;
    this.#queues[0].length = 0;
    this.#queues[1].push(endOfLife);
    // What is told to it from now on is told to nobody.
    this.#takers[0] = ignore;
  }

  #end<In, Out extends object>(way: 0 | 1): ThreadPort<In, Out> {
    return {
      on: (_event, take) => {
        this.#takers[1 - way] = take;
      },
      postMessage: (message, transfer) => {
        // A mailbox moves, everything else is cloned.
        this.#queues[way].push((transfer ?? []).length > 0 ? message : structuredClone(message));
      },
    };
  }
}

/** One life of a host that holds leases. */
export class SimulatedEdge implements EdgeLife {
  readonly host: LocalHost;
  readonly channel: SimulatedChannel;
  readonly port: HostPort;
  readonly ready: Promise<void> = Promise.resolve();
  readonly ended: Promise<Error>;
  readonly #onDeath: () => void;
  #settleEnd: (cause: Error) => void = ignore;
  #pulse = 0;
  isAlive = true;
  /** It serves: it has been told all that partitions hold for it, if there was a life before. */
  isWhole: boolean;
  isListening = false;
  readonly #beforeListening: (() => Promise<void>) | undefined;
  #hasStopped = false;

  /** `onDeath`: what it was in the middle of is cut off. */
  constructor(
    host: LocalHost,
    channel: SimulatedChannel,
    isFirst: boolean,
    {
      onDeath,
      beforeListening,
    }: { readonly onDeath: () => void; readonly beforeListening?: (() => Promise<void>) | undefined },
  ) {
    this.#beforeListening = beforeListening;
    this.host = host;
    this.isWhole = isFirst;
    this.channel = channel;
    this.port = channel.main;
    this.#onDeath = onDeath;
    this.ended = new Promise((resolve) => {
      this.#settleEnd = resolve;
    });
    serveHost(host, channel.hostPort);
  }

  async listen({ port }: EdgeAddress): Promise<number> {
    if (!this.isAlive) throw await this.ended;
    this.isWhole = true;
    if (this.#beforeListening !== undefined) await this.#beforeListening();
    if (this.#hasStopped || !this.isAlive) throw new Error('told to stop before it listened');
    this.isListening = true;
    return port;
  }

  stopListening(): void {
    this.#hasStopped = true;
    this.isListening = false;
  }

  end(): Promise<void> {
    this.kill('ended');
    return Promise.resolve();
  }

  kill(reason: string): void {
    if (!this.isAlive) return;
    this.isAlive = false;
    this.isWhole = false;
    this.isListening = false;
    this.#onDeath();
    this.channel.die(() => {
      this.#settleEnd(new Error(reason));
    });
  }

  readPulse(): number {
    if (this.isAlive) this.#pulse += 1;
    return this.#pulse;
  }
}

/**
 * The registry without threads, sockets or timers: the same session hosts, supervisor and partition cores, joined by queues that a seeded
 * scheduler drains in any order that ports could (each queue stays in order). Time moves only when it is told to.
 */
export class InProcessRegistry {
  readonly config: ServerConfig;
  readonly counters: Counters = new Counters();
  /** Those with connections, the one of the main thread first. */
  readonly hosts: readonly LocalHost[];
  /** Those with leases, each in its present life. */
  readonly edges: SimulatedEdge[] = [];
  readonly #edgeSupervisor: EdgeSupervisor;
  readonly #origins: SessionOrigins = new SessionOrigins();
  readonly #ledger: LeaseLedger = new LeaseLedger(this.#origins);
  readonly guard: RegistryGuard;
  readonly persistent: PersistentServices;
  readonly checks: HealthChecks;
  /** What the thread that makes checks has been told. */
  readonly checkMessages: ToHealthThread[] = [];
  /** What could not be brought back from the store, or taken back. */
  readonly troubles: string[] = [];
  readonly #allHosts: Hosts;
  readonly supervisor: Supervisor;
  readonly migrator: SlotMigrator;
  readonly transfers: SessionTransfers = new SessionTransfers(this.#origins);
  readonly partitions: SimulatedPartition[] = [];
  readonly store: SimulatedStore;
  readonly #disk: SimulatedDisk | undefined;
  /** What it knows of itself over lives; only where something outlives the process. */
  readonly #record: RegistryRecord | undefined;
  readonly warmStart: WarmStart | undefined;
  readonly #folder: JournalFolder | undefined;
  fatal: Error | undefined;
  readonly guardEvents: GuardEvent[] = [];
  readonly sessionEvents: SessionEvent[] = [];
  readonly #tasks: (() => void)[] = [];
  readonly #channels: readonly SimulatedChannel[];
  #timers: { atMs: number; run: () => void }[] = [];
  #nowMs = 0;
  readonly #wallStartMicros: number;
  readonly #encoding: Encoding | undefined;
  readonly #beforeListening: (() => Promise<void>) | undefined;
  #wallSetBackMs = 0;
  #names = 0;
  readonly #admissionRate: SharedArrayBuffer = new SharedArrayBuffer(admissionRateBytes);
  readonly admissionRate: AdmissionRate = this.#createAdmissionRate();
  readonly #warmUp: SharedArrayBuffer = new SharedArrayBuffer(warmUpBytes(hostsMax));
  readonly #judge: WarmUpJudge;
  #requests = 0;

  /** Use {@link start}. */
  constructor(input: Partial<ServerConfig>, hosts: number, settings: RegistrySettings) {
    const { wallStartMicros, encoding, edges = 0, beforeListening, disk } = settings;
    this.#beforeListening = beforeListening;
    this.#wallStartMicros = wallStartMicros ?? wallStartUsualMicros;
    this.#encoding = encoding;
    this.config = resolveConfig({ partitions: 2, partitionRestartsMax: 1000, warmUpMs: 0, ...smallTurns, ...input });
    this.store = new SimulatedStore(this.config, () => this.#nowMs);
    this.guard = new RegistryGuard({
      settings: this.config,
      counters: this.counters,
      schedule: (task) => {
        this.schedule(task);
      },
      onEvent: (event) => this.guardEvents.push(event),
      nowMs: 0,
    });
    const warmUp = new WarmUp(this.#warmUp);
    this.#judge = new WarmUpJudge({
      warmUp,
      admissionRate: this.admissionRate,
      config: this.config,
      isHealing: () => this.supervisor.states().some((state) => state !== 'ready'),
      nowMs: 0,
    });
    const rows = this.#adoptStore(settings.store ?? new MemoryStore());
    this.#disk = disk;
    if (disk !== undefined) {
      this.#folder = new JournalFolder(disk.folder, () => 'simulated');
      this.#record = new RegistryRecord({ store: rows, readWallMicros: () => this.clock().wallMicros });
      this.warmStart = this.#createWarmStart(disk, this.#folder, this.#record);
    }
    this.persistent = new PersistentServices({
      store: rows,
      config: this.config,
      delay: (ms) => this.#delay(ms),
      checkRules: new CheckRules(this.config),
      onTrouble: (trouble) => this.troubles.push(trouble),
    });
    this.checks = new HealthChecks({
      checksMax: this.config.checksMax,
      counters: this.counters,
      persistent: this.persistent,
      tell: (message) => this.checkMessages.push(message),
      onEvent: ignore,
      readWallMs: () => 0,
    });
    this.#channels = Array.from({ length: hosts - 1 }, () => new SimulatedChannel());
    this.hosts = Array.from({ length: hosts }, (_, number) => this.#createHost(number));
    const events: HostEvents = {
      onLosses: (report) => {
        this.guard.take(report);
      },
      onSession: ignore,
      onTransfer: (host, event) => {
        this.transfers.handle(host, event);
      },
      onLease: (news) => {
        this.#ledger.note(news);
      },
      onKept: (note) => this.warmStart?.note(note),
      onAudit: ignore,
    };
    const others = this.#channels.map((channel, i) => {
      serveHost(this.hosts[i + 1]!, channel.hostPort);
      const host = new RemoteHost(i + 1, events);
      host.attach(channel.main);
      return host;
    });
    const edgeHosts = Array.from({ length: edges }, (_, i) => new RemoteHost(hosts + i, events));
    const allHosts = new Hosts({
      main: this.hosts[0]!,
      others: [...others, ...edgeHosts].map(({ host }) => host),
      guard: this.guard,
      transfers: this.transfers,
      connectStore: (hand) => this.store.connectHost(hand),
    });
    this.checks.join(allHosts);
    const log = pino({ level: 'silent' });
    this.#allHosts = allHosts;
    this.supervisor = new Supervisor({
      config: this.config,
      hosts: allHosts,
      counters: this.counters,
      log,
      createRunner: (partition, onDeath) => {
        const runner = new SimulatedPartition(
          partition,
          {
            config: this.config,
            clock: () => this.clock(),
            store: this.store,
            origins: this.#origins,
            readVersionFloor: () => this.#record?.versionFloor ?? 0,
            journals:
              this.warmStart === undefined || disk === undefined ? undefined : { disk, warmStart: this.warmStart },
          },
          onDeath,
        );
        this.partitions[partition] = runner;
        return runner;
      },
      delay: (ms) => this.#delay(ms),
      nowMs: 0,
    });
    void this.supervisor.failed.then((error) => {
      this.fatal = error;
    });
    this.migrator = new SlotMigrator({
      hosts: allHosts,
      supervisor: this.supervisor,
      log,
      stepSlots: this.config.moveSlots,
      stepBytes: this.config.moveBytes,
      nextTurn: () =>
        new Promise((resolve) => {
          this.#tasks.push(resolve);
        }),
    });
    this.#edgeSupervisor = this.#createEdges(edgeHosts, allHosts);
  }

  #createWarmStart(disk: SimulatedDisk, folder: JournalFolder, record: RegistryRecord): WarmStart {
    return new WarmStart({
      folder,
      config: this.config,
      warmUp: new WarmUp(this.#warmUp),
      origins: this.#origins,
      readStarts: () => record.starts,
      continueRequests: (request) => {
        this.#requests = Math.max(this.#requests, request);
      },
      log: pino({ level: 'silent' }),
      createSink: (path, before) => disk.createSegments(path, before),
      onCold: () => {
        this.counters.count('journal_given_up');
      },
    });
  }

  #createEdges(hosts: readonly RemoteHost[], allHosts: Hosts): EdgeSupervisor {
    const { supervisor, migrator, guard, config, counters } = this;
    return new EdgeSupervisor({
      heartbeatTimeoutMs: config.partitionHeartbeatTimeoutMs,
      restartBackoffMs: config.partitionRestartBackoffMs,
      hosts,
      allHosts,
      recovery: new HostRecovery({ hosts: allHosts, supervisor, migrator, guard }),
      ledger: this.#ledger,
      counters,
      log: pino({ level: 'silent' }),
      createLife: (number, table, sessionsBefore) => this.#createEdge(number, table, sessionsBefore),
      delay: (ms) => this.#delay(ms),
    });
  }

  #createEdge(number: number, table: SlotTable, sessionsBefore: number): SimulatedEdge {
    const channel = new SimulatedChannel();
    const port = channel.hostPort;
    const host = this.#createHost(number, {
      table,
      sessionsBefore,
      schedule: (task) => {
        this.#tasks.push(() => {
          if (edge.isAlive) task();
        });
      },
      reportLosses: (report) => {
        port.postMessage({ kind: 'losses', report });
      },
      onLease: (news) => {
        port.postMessage({ kind: 'lease', news });
      },
      ...(this.warmStart === undefined ? {} : { onKept: (note) => port.postMessage({ kind: 'kept', note }) }),
    });
    const edge: SimulatedEdge = new SimulatedEdge(host, channel, this.edges[number - this.hosts.length] === undefined, {
      onDeath: () => {
        for (const { mailboxes } of this.partitions) {
          for (const mailbox of mailboxes) if (mailbox.host === number) mailbox.abandon();
        }
      },
      beforeListening: this.#beforeListening,
    });
    this.edges[number - this.hosts.length] = edge;
    return edge;
  }

  /** Sessions and leases of all hosts that live. */
  get liveHosts(): LocalHost[] {
    return [...this.hosts, ...this.edges.filter(({ isAlive }) => isAlive).map(({ host }) => host)];
  }

  /** `hosts`: session hosts, of which the first is the main thread's. */
  static async start(
    input: Partial<ServerConfig> = {},
    hosts: number = hostsUsual,
    settings: RegistrySettings = {},
  ): Promise<InProcessRegistry> {
    const registry = new InProcessRegistry(input, hosts, settings);
    await registry.#beginRecord();
    await registry.#edgeSupervisor.start();
    await registry.supervisor.startUpTo(registry.config.partitions);
    await registry.#continueRecord();
    registry.#allHosts.connectToStore();
    await registry.#loadPersistent();
    if (registry.edges.length > 0) await registry.#edgeSupervisor.listen({ host: 'simulated', port: 1 });
    for (const { core } of registry.liveHosts) core.tick(0);
    // No host has sessions before it has been told of the partitions.
    for (const channel of registry.#allChannels()) {
      for (let next = channel.deliveries(); next.length > 0; next = channel.deliveries()) next[0]!();
    }
    return registry;
  }

  /** A start, as a server notes it. */
  async #beginRecord(): Promise<void> {
    if (this.#record === undefined) return;
    await this.#until(this.#record.begin());
    if (this.#record.isFirstStart && this.warmStart?.isFirstLife === true) new WarmUp(this.#warmUp).presumeOver();
  }

  async #continueRecord(): Promise<void> {
    if (this.#record !== undefined) await this.#until(this.#record.continueFrom(this.warmStart?.version ?? 0));
  }

  /** As a server does before it opens its doors. */
  async #loadPersistent(): Promise<void> {
    const session = this.hosts[0]!.core.openPersistent();
    const progress = { isOver: false };
    const { supervisor, migrator } = this;
    const recalled = this.warmStart?.begin({ hosts: this.#allHosts, supervisor, migrator }, 0) ?? Promise.resolve();
    const known = this.warmStart?.persistent ?? [];
    void this.persistent.load({ session, hosts: this.#allHosts, guard: this.guard, known, recalled }).then(() => {
      progress.isOver = true;
    });
    await runPromises();
    while (!progress.isOver) {
      // What is recalled meanwhile may take longer.
      if (this.warmStart === undefined) await this.deliver(new Random(0));
      else this.step(new Random(0));
      await runPromises();
    }
  }

  /** Delivers, and lets time pass, until a promise has resolved. */
  async #until(promise: Promise<unknown>, random: Random = new Random(0)): Promise<void> {
    const progress = { isOver: false };
    void promise.then(() => {
      progress.isOver = true;
    });
    await runPromises();
    for (let rounds = 0; !progress.isOver; rounds++) {
      if (rounds > roundsMax) throw new Error('the registry does not come to rest');
      await this.deliver(random);
      this.advance(50);
    }
  }

  /** Ends in order, as a server does. */
  async stop(random: Random): Promise<void> {
    this.stopListening();
    for (const { core } of this.liveHosts) core.drain('stopping');
    await this.deliver(random);
    for (const { core } of this.liveHosts) await this.#until(core.closeAll(), random);
    await this.#until(this.supervisor.stop(), random);
    if (this.warmStart !== undefined) await this.#until(this.warmStart.end(this.router.table.partitions), random);
  }

  /** The process dies: of what was to be written the last may be missing. */
  crash(random: Random): void {
    this.#disk?.crash(random);
  }

  /** What an operator lays over a service; resolves when it is in effect. */
  layOver(key: string, overlay: string): Promise<void> {
    return this.#allHosts.layOver(key, overlay);
  }

  /** What operators order for sessions; resolves when it is in effect. */
  setOrders(orders: Orders): Promise<void> {
    return this.#allHosts.setOrders(orders);
  }

  /** The server begins to stop. */
  stopListening(): void {
    this.#edgeSupervisor.stopListening();
  }

  /** Where clients are unless they say otherwise: with one host the main thread's, with two the other. */
  get core(): SessionCore {
    return this.hosts.at(-1)!.core;
  }

  get router(): Router {
    return this.hosts.at(-1)!.router;
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  clock(): PartitionClock {
    return { monotonicMs: this.#nowMs, wallMicros: this.#wallStartMicros + (this.#nowMs - this.#wallSetBackMs) * 1000 };
  }

  /** The wall clock is set back, as administrators and NTP do; time goes on. */
  setWallBack(ms: number): void {
    this.#wallSetBackMs += ms;
  }

  /** Runs a task when the scheduler comes to it, after those that wait already. */
  schedule(task: () => void): void {
    this.#tasks.push(task);
  }

  /** Moves time on, fires what has come due. */
  advance(ms: number): void {
    this.#nowMs += ms;
    this.supervisor.tick(this.#nowMs);
    this.#judge.tick(this.#nowMs);
    this.guard.tick(this.#nowMs);
    this.#edgeSupervisor.tick(this.#nowMs);
    this.store.tick();
    this.warmStart?.tick(this.#nowMs);
    this.#record?.tick();
    for (const host of this.liveHosts) host.tick(this.#nowMs);
    const due = this.#timers.filter(({ atMs }) => atMs <= this.#nowMs);
    this.#timers = this.#timers.filter(({ atMs }) => atMs > this.#nowMs);
    for (const { run } of due) run();
    for (const partition of this.partitions) {
      partition.tick(this.#nowMs);
      const dueAt = partition.core?.nextDueAt();
      if (dueAt !== undefined && dueAt <= this.#nowMs && !partition.isTurnScheduled) partition.runTurn();
    }
  }

  /** Delivers one waiting thing, chosen at random; returns false if nothing waits. */
  step(random: Random): boolean {
    const choices: (() => void)[] = [];
    if (this.#tasks.length > 0) choices.push(() => this.#tasks.shift()?.());
    for (const partition of this.partitions) {
      if (partition.isTurnScheduled) {
        choices.push(() => {
          partition.runTurn();
        });
      }
      for (const mailbox of partition.mailboxes) {
        if (mailbox.inbox.length > 0) {
          choices.push(() => {
            partition.deliverIn(mailbox);
          });
        }
        if (mailbox.outbox.length > 0) {
          choices.push(() => {
            partition.deliverOut(mailbox);
          });
        }
      }
    }
    for (const channel of this.#allChannels()) choices.push(...channel.deliveries());
    choices.push(...this.store.deliveries(), ...(this.#disk?.deliveries() ?? []));
    if (choices.length === 0) return false;
    random.pick(choices)();
    return true;
  }

  /** Delivers everything that waits; promises that it settles have their turn, too. */
  async deliver(random: Random): Promise<void> {
    let steps = 0;
    do {
      while (this.step(random)) {
        steps += 1;
        if (steps > stepsMax) throw new Error('the registry does not come to rest');
      }
      await runPromises();
    } while (this.#hasWork());
  }

  /** Delivers everything and lets every window, grace and rebuild end. */
  async settle(random: Random): Promise<void> {
    const { disconnectGraceMs, coalesceWindowMaxMs } = this.config;
    for (let waited = 0; waited <= disconnectGraceMs + 2 * coalesceWindowMaxMs + 500; waited += 50) {
      await this.deliver(random);
      this.advance(50);
    }
    for (let rounds = 0; this.#isHealing(); rounds++) {
      if (rounds > roundsMax) throw new Error('the registry does not come to rest');
      await this.deliver(random);
      this.advance(50);
    }
    await this.deliver(random);
    this.advance(2 * coalesceWindowMaxMs + 1);
    await this.deliver(random);
  }

  /** What the guard says once all hosts have told it what they know, and what hosts hold back. */
  async describeGuard(
    random: Random,
  ): Promise<GuardDescription & { readonly heldSessions: number; readonly heldInstances: number }> {
    const heard = this.guard.hearAll();
    await this.deliver(random);
    await heard;
    const held = this.liveHosts.map(({ core }) => core.sessions);
    return {
      ...this.guard.describe(),
      heldSessions: held.reduce((sum, { heldCount }) => sum + heldCount, 0),
      heldInstances: held.reduce((sum, { heldRegistrationCount }) => sum + heldRegistrationCount, 0),
    };
  }

  async releaseGuard(random: Random, key?: string): Promise<void> {
    const released = this.guard.release(key);
    await this.deliver(random);
    await released;
  }

  #isHealing(): boolean {
    return (
      this.migrator.isBusy ||
      this.supervisor.states().some((state) => state !== 'ready') ||
      this.edges.some(({ isWhole }) => !isWhole)
    );
  }

  #allChannels(): SimulatedChannel[] {
    return [...this.#channels, ...this.edges.map(({ channel }) => channel)];
  }

  #hasWork(): boolean {
    return (
      this.#tasks.length > 0 ||
      this.#allChannels().some((channel) => channel.deliveries().length > 0) ||
      this.store.deliveries().length > 0 ||
      (this.#disk?.deliveries() ?? []).length > 0 ||
      this.partitions.some(({ isTurnScheduled }) => isTurnScheduled) ||
      this.partitions.some(({ mailboxes }) => mailboxes.some(({ inbox, outbox }) => inbox.length + outbox.length > 0))
    );
  }

  #delay(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#timers.push({ atMs: this.#nowMs + ms, run: resolve });
    });
  }

  #createHost(number: number, edge?: Partial<LocalHostOptions>): LocalHost {
    return new LocalHost({
      number,
      config: this.config,
      table: SlotTable.even(this.config.partitions),
      counters: this.counters,
      admissionRate: this.#createAdmissionRate(),
      warmUp: new WarmUp(this.#warmUp),
      orders: new StandingOrders(),
      access: createAccessCheck(this.config),
      nextRequest: () => this.nextRequest(number),
      createName: () => `name-${this.#folder?.life ?? ''}-${++this.#names}`,
      encoding: this.#encoding,
      random: () => 0.5,
      schedule: (task) => this.#tasks.push(task),
      delay: (ms) => this.#delay(ms),
      nowMs: 0,
      startedAtMicros: this.#wallStartMicros,
      registry: this.#folder?.registry ?? 'simulated',
      origins: this.#origins,
      onKept: this.#describeKeeping(number),
      reportLosses: (report) => {
        // The first is the main thread's own.
        if (number === 0) this.guard.take(report);
        else this.#channels[number - 1]?.hostPort.postMessage({ kind: 'losses', report });
      },
      readStoreVersion: () => this.store.version,
      isVerbose: true,
      persistentCalls: this.#describePersistentCalls(number),
      ...(number === 0 && edge === undefined ? { onCheck: (record) => this.checks.handle(record) } : {}),
      onSession: (event) => this.sessionEvents.push(event),
      ...(this.#channels.length === 0 || edge !== undefined ? {} : { tellMain: this.#describeWay(number) }),
      ...edge,
    });
  }

  #adoptStore(store: MemoryStore): MemoryStore {
    store.schedule = (task): void => {
      this.#tasks.push(task);
    };
    return store;
  }

  /** As from the main thread, or from another. */
  #describePersistentCalls(number: number): PersistentCalls {
    if (number === 0) return this.persistent;
    const crossing = async <T>(call: () => Promise<T>): Promise<T> => {
      await this.#nextTask();
      const answer = await call();
      await this.#nextTask();
      return answer;
    };
    return {
      registerPersistent: (params) => crossing(() => this.persistent.registerPersistent(params)),
      deregisterPersistent: (params) => crossing(() => this.persistent.deregisterPersistent(params)),
    };
  }

  #nextTask(): Promise<void> {
    return new Promise((resolve) => {
      this.#tasks.push(resolve);
    });
  }

  #createAdmissionRate(): AdmissionRate {
    return new AdmissionRate(this.#admissionRate, { perSecond: 1, burst: 1, readNowNs: () => 0n });
  }

  /** What a host says of sessions that are to outlive the process. */
  #describeKeeping(number: number): ((note: SessionNote) => void) | undefined {
    const { warmStart } = this;
    if (warmStart === undefined) return undefined;
    if (number === 0) {
      return (note) => {
        warmStart.note(note);
      };
    }
    const port = this.#channels[number - 1]?.hostPort;
    return (note) => port?.postMessage({ kind: 'kept', note });
  }

  /** From a host to the main thread. */
  #describeWay(number: number): (event: TransferEvent) => void {
    if (number === 0) return (event) => this.transfers.handle(0, event);
    const port = this.#channels[number - 1]!.hostPort;
    return (event) => port.postMessage({ kind: 'transfer', event });
  }

  /** One sequence for all hosts. */
  nextRequest(_host: number): number {
    this.#requests += 1;
    return this.#requests;
  }
}

/** Lets every promise that can go on do so. */
export function runPromises(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
