import { pino } from 'pino';

import { resolveConfig } from '../../src/main/config.ts';
import type { ServerConfig } from '../../src/main/config.ts';
import { Counters } from '../../src/main/counters.ts';
import type { GuardEvent } from '../../src/main/loss-guard.ts';
import { Mover } from '../../src/main/mover.ts';
import { PartitionLink } from '../../src/main/partition-link.ts';
import type { MailboxPort } from '../../src/main/partition-link.ts';
import { Router } from '../../src/main/router.ts';
import { SessionHost } from '../../src/main/session-host.ts';
import { SlotGate } from '../../src/main/slot-gate.ts';
import { Supervisor } from '../../src/main/supervisor.ts';
import type { Runner } from '../../src/main/supervisor.ts';
import { SlotTable } from '../../src/slots/slot-table.ts';
import { forEachToPartition } from '../../src/workers/messages.ts';
import type { HostBatch, PartitionBatch } from '../../src/workers/messages.ts';
import { PartitionOutbox } from '../../src/workers/outbox.ts';
import { PartitionCore } from '../../src/workers/partition-core.ts';
import type { PartitionClock } from '../../src/workers/partition-core.ts';
import type { Random } from './random.ts';

const wallStartMicros = 1_700_000_000_000_000;

/** Deliveries, and rounds of 50 ms, after which a registry that nobody disturbs must have come to rest. */
const stepsMax = 1_000_000;
const roundsMax = 1000;

/** What a simulated partition needs of its surroundings. */
interface Surroundings {
  readonly config: ServerConfig;
  readonly clock: () => PartitionClock;
}

/** One partition's core with its mailboxes as plain queues; it may die, and then loses all that it held and had not yet sent. */
export class SimulatedPartition implements Runner {
  core: PartitionCore | undefined;
  inbox: HostBatch[] = [];
  outbox: PartitionBatch[] = [];
  readonly #partition: number;
  readonly #surroundings: Surroundings;
  readonly #onDeath: (partition: number, cause: Error) => void;
  readonly #records = new PartitionOutbox();
  #take: (batch: PartitionBatch) => void = () => undefined;
  #pulse = 0;

  constructor(partition: number, surroundings: Surroundings, onDeath: (partition: number, cause: Error) => void) {
    this.#partition = partition;
    this.#surroundings = surroundings;
    this.#onDeath = onDeath;
  }

  start(table: SlotTable, versionFloor: number): Promise<void> {
    const { config, clock } = this.#surroundings;
    this.core = new PartitionCore(
      this.#partition,
      table,
      config,
      this.chooseFloor(versionFloor, clock()),
      (_host, ...record) => {
        this.#records.add(record);
      },
    );
    return Promise.resolve();
  }

  /** As threads do: what is told, or what the clock says if that is higher. */
  chooseFloor(versionFloor: number, clock: PartitionClock): number {
    return Math.max(versionFloor, clock.wallMicros);
  }

  connect(): MailboxPort {
    const { core } = this;
    return {
      on: (_event, take) => {
        this.#take = take;
      },
      postMessage: (batch) => {
        // What crosses threads is cloned there, too; only the table is shared.
        if (this.core === core) this.inbox.push({ ...batch, records: structuredClone(batch.records) });
      },
      close: () => undefined,
    };
  }

  readPulse(): number | undefined {
    return this.core === undefined ? undefined : ++this.#pulse;
  }

  kill(): void {
    this.die();
  }

  die(): void {
    if (this.core === undefined) return;
    this.#clear();
    this.#onDeath(this.#partition, new Error('killed'));
  }

  stop(): Promise<void> {
    this.#clear();
    return Promise.resolve();
  }

  deliverIn(): void {
    const batch = this.inbox.shift();
    const { core } = this;
    if (batch === undefined || core === undefined) return;
    const clock = this.#surroundings.clock();
    if (batch.table !== undefined) core.adoptTable(SlotTable.attach(batch.table));
    core.beginBatch(0, batch.batch, clock);
    forEachToPartition(batch.records, (record) => {
      core.apply(0, batch.epoch, record, clock);
    });
    this.endTurn();
  }

  deliverOut(): void {
    const batch = this.outbox.shift();
    if (batch !== undefined) this.#take(batch);
  }

  endTurn(): void {
    this.core?.endTurn(this.#surroundings.clock());
    const records = this.#records.take();
    if (records !== undefined) this.outbox.push(structuredClone(records));
  }

  #clear(): void {
    this.core = undefined;
    this.inbox = [];
    this.outbox = [];
    this.#records.take();
  }
}

/**
 * The registry without threads, sockets or timers: the same session host, supervisor and partition cores, joined by queues that a seeded
 * scheduler drains in any order that ports could (each queue stays in order). Time moves only when it is told to.
 */
export class InProcessRegistry {
  readonly config: ServerConfig;
  readonly counters: Counters = new Counters();
  readonly host: SessionHost;
  readonly router: Router;
  readonly supervisor: Supervisor;
  readonly mover: Mover;
  readonly partitions: SimulatedPartition[] = [];
  fatal: Error | undefined;
  readonly guardEvents: GuardEvent[] = [];
  readonly #tasks: (() => void)[] = [];
  #timers: { atMs: number; run: () => void }[] = [];
  #nowMs = 0;
  #wallSetBackMs = 0;
  #names = 0;

  /** Use {@link start}. */
  constructor(input: Partial<ServerConfig>) {
    this.config = resolveConfig({ partitions: 2, partitionRestartsMax: 1000, warmUpMs: 0, ...input });
    const gate = new SlotGate({
      waitingMax: this.config.waitingRequestsMax,
      waitTimeoutMs: this.config.slotWaitTimeoutMs,
      nowMs: 0,
    });
    this.router = new Router(SlotTable.even(this.config.partitions), gate);
    this.host = new SessionHost({
      host: 0,
      config: this.config,
      router: this.router,
      counters: this.counters,
      createName: () => `name-${++this.#names}`,
      random: () => 0.5,
      schedule: (task) => this.#tasks.push(task),
      nowMs: 0,
      bornMicros: wallStartMicros,
      onGuard: (event) => this.guardEvents.push(event),
    });
    const log = pino({ level: 'silent' });
    const nextTurn = (): Promise<void> =>
      new Promise((resolve) => {
        this.#tasks.push(resolve);
      });
    this.supervisor = new Supervisor({
      config: this.config,
      router: this.router,
      host: this.host,
      hostNumber: 0,
      counters: this.counters,
      log,
      createRunner: (partition, onDeath) => {
        const runner = new SimulatedPartition(partition, { config: this.config, clock: () => this.clock() }, onDeath);
        this.partitions[partition] = runner;
        return runner;
      },
      createLink: (partition, port) => this.#createLink(partition, port),
      nextTurn,
      delay: (ms) =>
        new Promise((resolve) => {
          this.#timers.push({ atMs: this.#nowMs + ms, run: resolve });
        }),
      nowMs: 0,
      onFatal: (error) => {
        this.fatal = error;
      },
    });
    this.mover = new Mover({
      router: this.router,
      supervisor: this.supervisor,
      log,
      stepSlots: this.config.moveSlots,
      nextTurn,
    });
  }

  static async start(input: Partial<ServerConfig> = {}): Promise<InProcessRegistry> {
    const registry = new InProcessRegistry(input);
    await registry.supervisor.startUpTo(registry.config.partitions);
    registry.host.tick(0);
    return registry;
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  clock(): PartitionClock {
    return { monotonicMs: this.#nowMs, wallMicros: wallStartMicros + (this.#nowMs - this.#wallSetBackMs) * 1000 };
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
    this.router.gate.tick(this.#nowMs);
    this.supervisor.tick(this.#nowMs);
    this.host.tick(this.#nowMs);
    const due = this.#timers.filter(({ atMs }) => atMs <= this.#nowMs);
    this.#timers = this.#timers.filter(({ atMs }) => atMs > this.#nowMs);
    for (const { run } of due) run();
    for (const partition of this.partitions) {
      const dueAt = partition.core?.nextDueAt();
      if (dueAt !== undefined && dueAt <= this.#nowMs) partition.endTurn();
    }
  }

  /** Delivers one waiting thing, chosen at random; returns false if nothing waits. */
  step(random: Random): boolean {
    const choices: (() => void)[] = [];
    if (this.#tasks.length > 0) choices.push(() => this.#tasks.shift()?.());
    for (const partition of this.partitions) {
      if (partition.inbox.length > 0) {
        choices.push(() => {
          partition.deliverIn();
        });
      }
      if (partition.outbox.length > 0) {
        choices.push(() => {
          partition.deliverOut();
        });
      }
    }
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
    for (let rounds = 0; this.mover.isBusy || this.supervisor.states().some((state) => state !== 'ready'); rounds++) {
      if (rounds > roundsMax) throw new Error('the registry does not come to rest');
      await this.deliver(random);
      this.advance(50);
    }
    await this.deliver(random);
    this.advance(2 * coalesceWindowMaxMs + 1);
    await this.deliver(random);
  }

  #hasWork(): boolean {
    return this.#tasks.length > 0 || this.partitions.some(({ inbox, outbox }) => inbox.length + outbox.length > 0);
  }

  #createLink(partition: number, port: MailboxPort): PartitionLink {
    return new PartitionLink({
      partition,
      port,
      requestsMax: this.config.mailboxRequestsMax,
      readTable: () => this.router.table,
      schedule: (task) => this.#tasks.push(task),
      onUnasked: (record, link) => {
        this.host.takeUnasked(record, link);
      },
      onMoved: (request, pending) => {
        this.router.reroute(request, pending);
      },
      onTurnEnd: () => {
        this.host.flush();
      },
    });
  }
}

/** Lets every promise that can go on do so. */
export function runPromises(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
