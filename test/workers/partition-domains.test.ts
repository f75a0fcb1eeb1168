import { expect, test } from 'vitest';

import { SlotTable } from '../../src/slots/slot-table.ts';
import { slotOf } from '../../src/slots/slot.ts';
import { fromPartition, toPartition } from '../../src/workers/messages.ts';
import type { FromPartition, ToPartition } from '../../src/workers/messages.ts';
import { key, PartitionBench, unlimited } from '../support/partition-bench.ts';

function register(request: number, service: string, id: string): ToPartition {
  return [toPartition.register, request, 1, service, id, JSON.stringify({ id })];
}

function restore(id: string, isHidden: 0 | 1): ToPartition {
  return [toPartition.restore, 1, key, id, JSON.stringify({ id }), 7, isHidden];
}

function pick(records: readonly FromPartition[], kind: FromPartition[0]): FromPartition[] {
  return records.filter((record) => record[0] === kind);
}

test('[PU2] a host that has gone with a push unread does not lengthen the windows of those who stay', () => {
  const bench = new PartitionBench();
  for (const host of [0, 1]) bench.turn([toPartition.subscribe, 1, key, 'delta', 0, unlimited], undefined, host);
  expect(pick(bench.turn(register(2, key, 'a')), fromPartition.push)).toHaveLength(2);
  bench.core.credit(0, { pushes: 1000, answers: 0 });
  bench.core.detach(1);
  expect(bench.core.hasLeft(1)).toBe(true);
  bench.turn(register(3, key, 'b'));
  expect(bench.core.nextDueAt()).toBe(20);
  expect(pick(bench.wait(20), fromPartition.push)).toHaveLength(1);
  // The next one, which begins now, is as short: nobody is behind.
  expect(bench.core.nextDueAt()).toBe(40);
});

test('[PU5] a lower version that another client shows does not lower what all services are kept above', () => {
  const bench = new PartitionBench();
  bench.turn(register(1, key, 'a'));
  const highest = 10_000_000;
  bench.turn([toPartition.raiseFloor, highest]);
  bench.turn([toPartition.raiseFloor, 2_000_000]);
  const [state] = pick(bench.turn([toPartition.query, 2, key, '', unlimited]), fromPartition.state);
  expect(state![2]).toBeGreaterThan(highest);
});

test('[SL3] [PU5] a service is handed over at a version above those that clients have shown', () => {
  const bench = new PartitionBench();
  bench.turn(register(1, key, 'a'));
  const highest = 10_000_000;
  bench.turn([toPartition.raiseFloor, highest]);
  const [handedOver] = bench.turn([toPartition.handOver, 2, [slotOf(key)]]);
  expect(handedOver).toMatchObject([fromPartition.handedOver, 2, expect.any(Number), [{ key }], 1, { alive: [] }]);
  const [, , , parcels] = handedOver as Extract<FromPartition, [typeof fromPartition.handedOver, ...unknown[]]>;
  expect(parcels[0]!.version).toBeGreaterThan(highest);
});

test('[SE7] after a rebuild a host is told that what it takes for hidden shows, and nothing of what it knows', () => {
  const bench = new PartitionBench();
  bench.turn(restore('a', 1));
  bench.turn(restore('b', 0));
  bench.turn([toPartition.restored, 8]);
  expect(pick(bench.turn([toPartition.resumePushes, 9]), fromPartition.claim)).toEqual([
    [fromPartition.claim, 1, key, 'a', 7, 'shown', ''],
  ]);
});

test('[RE2] what changes in the middle of a round of pushes counts as pushed with the next round', () => {
  const bench = new PartitionBench(SlotTable.even(1), {
    partitionTurnWorkMax: 1024,
    pushCharactersInFlightMax: 10_000,
  });
  const readPushed = (): unknown[] => [
    pick(bench.records, fromPartition.push).map(([, , variant]) => variant),
    pick(bench.records, fromPartition.pushedThrough).map(([, batch]) => batch),
  ];
  for (const variant of ['delta', 'snapshot']) bench.turn([toPartition.subscribe, 1, key, variant, 0, unlimited]);
  // A turn has time for one variant. These are batches 3 and 4.
  bench.turn(register(2, key, 'a'));
  expect(readPushed()).toEqual([['delta'], [2]]);
  bench.pass(1);
  bench.turn(register(3, key, 'b'));
  expect(readPushed()).toEqual([['snapshot'], []]);
  bench.wait(19);
  expect(readPushed()).toEqual([['delta'], []]);
  bench.wait(0);
  expect(readPushed()).toEqual([['snapshot'], [4]]);
});
