import { resolveConfig } from '../../src/main/config.ts';
import type { ServerConfig } from '../../src/main/config.ts';
import { Counters } from '../../src/main/counters.ts';
import { PartitionLink } from '../../src/main/partition-link.ts';
import { Router } from '../../src/main/router.ts';
import { SessionHost } from '../../src/main/session-host.ts';
import { SlotTable } from '../../src/slots/slot-table.ts';
import { forEachToPartition } from '../../src/workers/messages.ts';
import type { HostBatch, PartitionBatch } from '../../src/workers/messages.ts';
import { PartitionOutbox } from '../../src/workers/outbox.ts';
import { PartitionCore } from '../../src/workers/partition-core.ts';
import type { PartitionClock } from '../../src/workers/partition-core.ts';
import type { Random } from './random.ts';

const wallStartMicros = 1_700_000_000_000_000;

/** One partition's core with its mailboxes as plain queues. */
class SimulatedPartition {
  readonly core: PartitionCore;
  readonly inbox: HostBatch[] = [];
  readonly outbox: PartitionBatch[] = [];
  readonly #records = new PartitionOutbox();
  take: (batch: PartitionBatch) => void = () => undefined;

  constructor(partition: number, table: SlotTable, config: ServerConfig, clock: PartitionClock) {
    this.core = new PartitionCore(partition, table, config, clock, (_host, ...record) => {
      this.#records.add(record);
    });
  }

  deliverIn(clock: PartitionClock): void {
    const batch = this.inbox.shift();
    if (batch === undefined) return;
    forEachToPartition(batch.records, (record) => {
      this.core.apply(0, batch.epoch, record, clock);
    });
    this.endTurn(clock);
  }

  deliverOut(): void {
    const batch = this.outbox.shift();
    if (batch !== undefined) this.take(batch);
  }

  endTurn(clock: PartitionClock): void {
    this.core.endTurn(clock);
    const records = this.#records.take();
    // What crosses threads is cloned there, too.
    if (records !== undefined) this.outbox.push(structuredClone(records));
  }
}

/**
 * The registry without threads, sockets or timers: the same session host and the same partition cores, joined by queues that a seeded
 * scheduler drains in any order that ports could (each queue stays in order). Time moves only when it is told to.
 */
export class InProcessRegistry {
  readonly config: ServerConfig;
  readonly counters: Counters = new Counters();
  readonly host: SessionHost;
  readonly partitions: SimulatedPartition[];
  readonly #tasks: (() => void)[] = [];
  #nowMs = 0;
  #names = 0;

  constructor(input: Partial<ServerConfig> = {}) {
    this.config = resolveConfig({ partitions: 2, ...input });
    const table = SlotTable.even(this.config.partitions);
    this.partitions = Array.from(
      { length: this.config.partitions },
      (_, partition) => new SimulatedPartition(partition, table, this.config, this.clock()),
    );
    const links: PartitionLink[] = [];
    this.host = new SessionHost({
      host: 0,
      config: this.config,
      router: new Router(table, links),
      counters: this.counters,
      createName: () => `name-${++this.#names}`,
      random: () => 0.5,
      schedule: (task) => this.#tasks.push(task),
      nowMs: this.#nowMs,
    });
    links.push(...this.partitions.map((partition, index) => this.#link(partition, index, table)));
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  clock(): PartitionClock {
    return { monotonicMs: this.#nowMs, wallMicros: wallStartMicros + this.#nowMs * 1000 };
  }

  /** Moves time on, fires what has come due. */
  advance(ms: number): void {
    this.#nowMs += ms;
    this.host.sessions.tick(this.#nowMs);
    this.host.flush();
    for (const { core } of this.partitions) {
      const dueAt = core.nextDueAt();
      if (dueAt !== undefined && dueAt <= this.#nowMs)
        this.partitions.find((partition) => partition.core === core)?.endTurn(this.clock());
    }
  }

  /** Delivers one waiting thing, chosen at random; returns false if nothing waits. */
  step(random: Random): boolean {
    const choices: (() => void)[] = [];
    const task = this.#tasks[0];
    if (task !== undefined) choices.push(() => this.#tasks.shift()?.());
    for (const partition of this.partitions) {
      if (partition.inbox.length > 0) {
        choices.push(() => {
          partition.deliverIn(this.clock());
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

  /** Delivers everything and lets every window and grace end. */
  settle(random: Random): void {
    const { disconnectGraceMs, coalesceWindowMs } = this.config;
    for (let waited = 0; waited <= disconnectGraceMs + 2 * coalesceWindowMs + 500; waited += 50) {
      while (this.step(random));
      this.advance(50);
    }
    while (this.step(random));
  }

  #link(partition: SimulatedPartition, index: number, table: SlotTable): PartitionLink {
    return new PartitionLink({
      partition: index,
      port: {
        on: (_event, take) => {
          partition.take = take;
        },
        postMessage: (batch) => partition.inbox.push(structuredClone(batch)),
        close: () => undefined,
      },
      requestsMax: this.config.mailboxRequestsMax,
      readEpoch: () => table.epoch,
      schedule: (task) => this.#tasks.push(task),
      onRecord: (record, link) => {
        this.host.takeRecord(record, link);
      },
      onTurnEnd: () => {
        this.host.flush();
      },
    });
  }
}
