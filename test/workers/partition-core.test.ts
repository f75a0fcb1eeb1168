import { expect, test } from 'vitest';

import { SlotTable } from '../../src/slots/slot-table.ts';
import { slotOf } from '../../src/slots/slot.ts';
import { fromPartition, toPartition } from '../../src/workers/messages.ts';
import type { FromPartition, PartitionLimits, ToPartition } from '../../src/workers/messages.ts';
import { PartitionCore } from '../../src/workers/partition-core.ts';

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
};
const key = 'public/DEFAULT/pay';

class Bench {
  readonly records: FromPartition[] = [];
  readonly core: PartitionCore;
  readonly table: SlotTable;
  #nowMs = 0;
  #batch = 0;

  constructor(table: SlotTable = SlotTable.even(2)) {
    this.table = table;
    this.core = new PartitionCore(
      table.ownerOf(slotOf(key)),
      table,
      limits,
      this.clock().wallMicros,
      (_host, ...record) => {
        this.records.push(record);
      },
    );
  }

  clock(): { monotonicMs: number; wallMicros: number } {
    return { monotonicMs: this.#nowMs, wallMicros: 1_000_000 + this.#nowMs * 1000 };
  }

  /** Applies one record in a turn of its own; returns what it brought. */
  turn(record: ToPartition, epoch: number = this.table.epoch): FromPartition[] {
    this.records.length = 0;
    this.#batch += 1;
    this.core.beginBatch(0, this.#batch, this.clock());
    this.core.apply(0, epoch, record, this.clock());
    this.core.endTurn(this.clock());
    return this.records.filter(([kind]) => kind !== fromPartition.settled);
  }

  wait(ms: number): FromPartition[] {
    this.records.length = 0;
    this.#nowMs += ms;
    this.core.endTurn(this.clock());
    return this.records.filter(([kind]) => kind !== fromPartition.settled);
  }
}

function register(request: number, id: string, fragment: string, session = 1): ToPartition {
  return [toPartition.register, request, session, key, id, fragment];
}

function isPush([kind]: FromPartition): boolean {
  return kind === fromPartition.push;
}

test('[SL2] a request that carries an older epoch is carried out by the slot’s owner and sent back by anybody else', () => {
  const old = SlotTable.even(2);
  const slot = slotOf(key);
  const owner = old.ownerOf(slot);
  const bench = new Bench(old);
  bench.core.adoptTable(old.withOwners(new Map([[(slot + 1) % 16_384, owner]])));
  expect(bench.turn(register(1, 'a', '{"id":"a"}'), old.epoch)).toEqual([
    [fromPartition.applied, 1, expect.any(Number)],
  ]);
  const moved = old.withOwners(new Map([[slot, 1 - owner]])).withOwners(new Map());
  bench.core.adoptTable(moved);
  expect(bench.turn(register(2, 'b', '{"id":"b"}'), old.epoch)).toEqual([[fromPartition.moved, 2, moved.epoch]]);
  expect(bench.turn([toPartition.query, 3, key, ''], old.epoch)).toEqual([[fromPartition.moved, 3, moved.epoch]]);
  expect(bench.core.instanceCount).toBe(1);
});

test('[SL2] a table that is not newer is never taken up', () => {
  const bench = new Bench();
  expect(() => bench.core.adoptTable(SlotTable.even(2))).toThrow(/epoch/);
});

test('[LI1] push text under way to a host is bounded: while it is behind, changes merge, and its credit brings the latest', () => {
  const bench = new Bench();
  bench.turn([toPartition.subscribe, 1, key, 'delta', 0]);
  const big = `{"id":"a","text":"${'x'.repeat(100)}"}`;
  const pushed = bench.turn(register(2, 'a', big)).filter(([kind]) => kind === fromPartition.push);
  expect(pushed).toHaveLength(1);
  for (const [request, id] of [
    [3, 'b'],
    [4, 'c'],
  ] as const) {
    bench.turn(register(request, id, `{"id":"${id}"}`));
    expect(bench.wait(50)).toEqual([]);
  }
  expect(bench.core.nextDueAt()).toBeUndefined();
  const after = bench.turn([toPartition.credit, 1000]);
  expect(after).toMatchObject([
    [
      fromPartition.push,
      key,
      'delta',
      expect.any(Number),
      expect.any(Number),
      3,
      0,
      '"put":[{"id":"b"},{"id":"c"}],"remove":[]',
    ],
  ]);
});

test('[PU2] a window that ends without a change is quiet: the next change is pushed at once', () => {
  const bench = new Bench();
  bench.turn([toPartition.subscribe, 1, key, 'delta', 0]);
  expect(bench.turn(register(2, 'a', '{"id":"a"}')).filter(isPush)).toHaveLength(1);
  expect(bench.core.nextDueAt()).toBe(20);
  expect(bench.wait(20)).toEqual([]);
  expect(bench.core.nextDueAt()).toBeUndefined();
  expect(bench.turn(register(3, 'b', '{"id":"b"}')).filter(isPush)).toHaveLength(1);
});

test('a service that nobody has and nobody watches is forgotten, and its version never comes back lower', () => {
  const bench = new Bench();
  const [added] = bench.turn(register(1, 'a', '{"id":"a"}'));
  const [removed] = bench.turn([toPartition.deregister, 2, 1, key, 'a']);
  expect(bench.core.serviceCount).toBe(0);
  const [state] = bench.turn([toPartition.query, 3, key, '']);
  expect(removed![2]).toBeGreaterThan(Number(added![2]));
  expect(state).toEqual([fromPartition.state, 3, removed![2], 0, '[]']);
  const [again] = bench.turn(register(4, 'a', '{"id":"a"}'));
  expect(again![2]).toBeGreaterThan(Number(removed![2]));
});

test('a watched service without instances is kept, and forgotten with its last subscriber', () => {
  const bench = new Bench();
  bench.turn([toPartition.subscribe, 1, key, 'delta', 0]);
  bench.turn([toPartition.subscribe, 2, key, 'snapshot', 0]);
  expect(bench.core.serviceCount).toBe(1);
  bench.turn([toPartition.loseInterest, key, 'delta']);
  expect(bench.core.serviceCount).toBe(1);
  bench.turn([toPartition.loseInterest, key, 'snapshot']);
  expect(bench.core.serviceCount).toBe(0);
});
