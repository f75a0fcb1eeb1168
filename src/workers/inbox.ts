import { SlotTable } from '../slots/slot-table.ts';
import { recordAt } from './messages.ts';
import type { HostBatch } from './messages.ts';
import type { PartitionClock, PartitionCore } from './partition-core.ts';

/** What one host has sent and has not been applied, oldest first, and how far the first has come. */
interface Queue {
  readonly batches: HostBatch[];
  at: number;
  /** Its table has taken effect. */
  isBegun: boolean;
  /** The thread before, under the same number, is still being forgotten. */
  isLeaving: boolean;
}

/**
 * What hosts have sent to a partition, and its turns: records are applied in the order of their host until the turn has done enough work, and the rest in later
 * turns, in which other hosts come first. A record may also want to wait, for work that takes several turns or for room on its host; what the host sent after it
 * waits behind it.
 */
export class PartitionInbox {
  readonly #queues: Map<number, Queue> = new Map();

  /** A batch has come. What the host hands back with it counts at once, since what waits may wait for that. */
  add(host: number, batch: HostBatch, core: PartitionCore): void {
    if (batch.credit !== undefined) core.credit(host, batch.credit);
    let queue = this.#queues.get(host);
    if (queue === undefined) {
      queue = { batches: [], at: 0, isBegun: false, isLeaving: false };
      this.#queues.set(host, queue);
    }
    queue.batches.push(batch);
  }

  /** A host's thread has died: what it sent and has not been applied is dropped. What its next thread sends waits until the partition has forgotten this one. */
  detach(host: number, core: PartitionCore): void {
    core.detach(host);
    this.#queues.set(host, { batches: [], at: 0, isBegun: false, isLeaving: true });
  }

  get isEmpty(): boolean {
    for (const { batches, isLeaving } of this.#queues.values()) if (isLeaving || batches.length > 0) return false;
    return true;
  }

  /** One turn's records. Returns whether more can be applied in the next; else it takes something new. */
  run(core: PartitionCore, clock: PartitionClock): boolean {
    core.beginTurn();
    // As they are now: each is put behind the others.
    const queues = Array.from(this.#queues);
    for (const [host, queue] of queues) {
      if (core.isTurnOver) break;
      // Last in the next turn.
      this.#queues.delete(host);
      this.#queues.set(host, queue);
      if (queue.isLeaving && !core.hasLeft(host)) continue;
      queue.isLeaving = false;
      while (queue.batches.length > 0 && this.#runBatch(core, host, queue, clock));
    }
    return core.isTurnOver && !this.isEmpty;
  }

  /** Returns whether it has been applied to its end. */
  #runBatch(core: PartitionCore, host: number, queue: Queue, clock: PartitionClock): boolean {
    const batch = queue.batches[0]!;
    const { records, epoch } = batch;
    if (!queue.isBegun && batch.table !== undefined) core.adoptTable(SlotTable.attach(batch.table));
    queue.isBegun = true;
    core.beginBatch(host, batch.batch, clock, batch.changedAtMs);
    while (queue.at < records.length) {
      if (core.isTurnOver) return false;
      const record = recordAt(records, queue.at);
      if (!core.apply(host, epoch, record, clock)) return false;
      queue.at += record.length;
    }
    core.endBatch();
    queue.batches.shift();
    queue.at = 0;
    queue.isBegun = false;
    return true;
  }
}
