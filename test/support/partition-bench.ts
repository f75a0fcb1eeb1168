import type { StoreRequest } from '../../src/durable/commits.ts';
import { SlotTable } from '../../src/slots/slot-table.ts';
import { slotOf } from '../../src/slots/slot.ts';
import type { PartitionInbox } from '../../src/workers/inbox.ts';
import { fromPartition } from '../../src/workers/messages.ts';
import type { FromPartition, PartitionLimits, ToPartition } from '../../src/workers/messages.ts';
import { PartitionCore } from '../../src/workers/partition-core.ts';
import type { PartitionOptions } from '../../src/workers/partition-core.ts';

const limits: PartitionLimits = {
  coalesceWindowMinMs: 20,
  coalesceWindowMaxMs: 160,
  changeLogEntriesMax: 16,
  filtersPerServiceMax: 2,
  pushCharactersInFlightMax: 100,
  instancesPerServiceMax: 10,
  claimsPerInstanceMax: 3,
  instancesPerPartitionMax: 100,
  instanceBytesMax: 1_000_000,
  serviceListBytesMax: 1_000_000,
  answerCharactersInFlightMax: 1000,
  journalBytesWaitingMax: 1_048_576,
  partitionTurnWorkMax: 1_000_000,
  keysPerPartitionMax: 100,
  keyBytesPerPartitionMax: 1_000_000,
  keyRequestsWaitingMax: 100,
};
/** A service of the bench's partition. */
export const key = 'public/DEFAULT/pay';
export const unlimited: number = Number.MAX_SAFE_INTEGER;

/** A partition's core with two hosts, and what it says. */
export class PartitionBench {
  readonly records: FromPartition[] = [];
  readonly storeRequests: StoreRequest[] = [];
  readonly core: PartitionCore;
  readonly table: SlotTable;
  #nowMs = 0;
  #batch = 0;

  constructor(
    table: SlotTable = SlotTable.even(2),
    bounds: Partial<PartitionLimits> = {},
    more: Pick<PartitionOptions, 'createJournal'> & Partial<PartitionOptions> = {},
  ) {
    this.table = table;
    this.core = new PartitionCore({
      partition: table.ownerOf(slotOf(key)),
      table,
      limits: { ...limits, ...bounds },
      versionFloor: this.clock().wallMicros,
      emit: (_host, ...record) => {
        this.records.push(record);
      },
      askStore: (request) => {
        this.storeRequests.push(request);
      },
      ...more,
    });
    for (const host of [0, 1]) this.core.attach(host);
  }

  clock(): { monotonicMs: number; wallMicros: number } {
    return { monotonicMs: this.#nowMs, wallMicros: 1_000_000 + this.#nowMs * 1000 };
  }

  /** Applies one record in a turn of its own; returns what it brought. */
  turn(record: ToPartition, epoch: number = this.table.epoch, host = 0): FromPartition[] {
    this.records.length = 0;
    this.#batch += 1;
    this.core.beginTurn();
    this.core.beginBatch(host, this.#batch, this.clock());
    if (!this.core.apply(host, epoch, record, this.clock())) throw new Error('not applied in one turn');
    this.core.endBatch();
    this.core.endTurn(this.clock());
    return this.records.filter(([kind]) => kind !== fromPartition.pushedThrough);
  }

  pass(ms: number): void {
    this.#nowMs += ms;
  }

  wait(ms: number): FromPartition[] {
    this.records.length = 0;
    this.#nowMs += ms;
    this.core.endTurn(this.clock());
    return this.records.filter(([kind]) => kind !== fromPartition.pushedThrough);
  }
}

/** Runs turns until nothing is left; returns what each of them brought. */
export function runTurns(bench: PartitionBench, inbox: PartitionInbox): FromPartition[][] {
  const turns: FromPartition[][] = [];
  for (let isUnfinished = true; isUnfinished || bench.core.hasDue;) {
    bench.records.length = 0;
    isUnfinished = inbox.run(bench.core, bench.clock());
    bench.core.endTurn(bench.clock());
    turns.push([...bench.records]);
  }
  return turns;
}
