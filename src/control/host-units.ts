import { highestOf } from '../protocol/extremes.ts';
import type { PartitionLink } from '../routing/partition-link.ts';
import { askApplied } from '../routing/router.ts';
import type { GuardOrders } from '../sessions/loss-messages.ts';
import type { SlotTable } from '../slots/slot-table.ts';
import type { ToPartition } from '../workers/messages.ts';
import type { MailboxPort } from '../workers/runner.ts';
import type { HostUnit, UnitState } from './host-unit.ts';
import { SessionTransfers } from './session-transfers.ts';
import type { SessionUnit } from './session-unit.ts';
import { StateReader } from './state-reader.ts';

/**
 * All session hosts of the process, as those see them who start partitions and move slots. The one on the main thread also carries what concerns a partition
 * as a whole: new tables, slots that move, the end of a rebuild.
 */
export class HostUnits {
  readonly main: SessionUnit;
  readonly states: StateReader;
  /** Sessions that go from one host to another. */
  readonly transfers: SessionTransfers;
  readonly #others: readonly HostUnit[];

  constructor(main: SessionUnit, others: readonly HostUnit[]) {
    this.main = main;
    this.#others = others;
    this.states = new StateReader(this.all());
    this.transfers = new SessionTransfers(this.all());
  }

  all(): readonly HostUnit[] {
    return [this.main, ...this.#others];
  }

  get table(): SlotTable {
    return this.main.router.table;
  }

  /** The main thread's mailbox to a partition. */
  link(partition: number): PartitionLink | undefined {
    return this.main.router.link(partition);
  }

  /** `epoch`: of the table that the partition was started with. */
  connect(partition: number, epoch: number, connect: (host: number) => MailboxPort): void {
    for (const unit of this.all()) unit.connect(partition, connect(unit.number));
    if (epoch !== this.table.epoch) this.link(partition)?.adoptTable(this.table);
  }

  async disconnect(partition: number): Promise<void> {
    await Promise.all(this.all().map((unit) => unit.disconnect(partition)));
  }

  shut(slots: readonly number[]): void {
    for (const unit of this.all()) unit.shut(slots);
  }

  open(slots: readonly number[]): void {
    for (const unit of this.all()) unit.open(slots);
  }

  /** A new table takes effect, for all hosts and partitions. */
  setTable(table: SlotTable): void {
    for (const unit of this.all()) unit.adoptTable(table.memory);
  }

  /** Resolves to the highest version that any host was told of. */
  async lose(partition: number): Promise<number> {
    return highestOf(await Promise.all(this.all().map((unit) => unit.lose(partition))));
  }

  async restore(partition: number): Promise<boolean> {
    await this.transfers.pause();
    try {
      return await everyOf(this.all().map((unit) => unit.restore(partition)));
    } finally {
      this.transfers.goOn();
    }
  }

  resume(partition: number): Promise<boolean> {
    return everyOf(this.all().map((unit) => unit.resume(partition)));
  }

  resumeReads(partition: number): Promise<boolean> {
    return everyOf(this.all().map((unit) => unit.resumeReads(partition)));
  }

  /**
   * Resolves to whether the partition lived until all that hosts had told it was applied, and all that it had said was heard. Not asked of
   * the main thread's host: what it tells the partition next goes the same way.
   */
  fenceOthers(partition: number): Promise<boolean> {
    return everyOf(this.#others.map((unit) => unit.fence(partition)));
  }

  /** What every host holds and has counted, once it has done all that it was told before; its last answer, if it does not answer. */
  readStates(): Promise<UnitState[]> {
    return this.states.read();
  }

  /** Says goodbye to all sessions; from now on nobody's leaving is told to others. */
  drain(reason: string): void {
    for (const unit of this.all()) unit.drain(reason);
  }

  /** Asks a share of all sessions, 0 to 1, to connect anew within a time. Resolves to how many. */
  async sendAway(reason: string, share: number, spreadMs: number): Promise<number> {
    const counts = await Promise.all(this.all().map((unit) => unit.sendAway(reason, share, spreadMs)));
    return counts.reduce((sum, count) => sum + count, 0);
  }

  /** Closes all sessions. */
  async closeAll(): Promise<void> {
    await Promise.all(this.all().map((unit) => unit.closeAll()));
  }

  /** Something that a partition held is gone, and nobody knows what. */
  refresh(partition: number): void {
    for (const unit of this.all()) unit.refresh(partition);
  }

  /** What the guard of the whole registry tells one host. */
  obeyGuard(host: number, orders: GuardOrders): void {
    this.all()[host]?.obeyGuard(orders);
  }

  /** Tells a partition something through the main thread's mailbox; resolves to whether it lived to apply it. */
  ask(link: PartitionLink, build: (request: number) => ToPartition): Promise<boolean> {
    return askApplied({ router: this.main.router, link }, build);
  }
}

async function everyOf(outcomes: readonly Promise<boolean>[]): Promise<boolean> {
  return (await Promise.all(outcomes)).every(Boolean);
}
