import { expect, test } from 'vitest';

import { SlotTable } from '../../src/slots/slot-table.ts';
import { PartitionInbox } from '../../src/workers/inbox.ts';
import { fromFields, fromPartition, toPartition } from '../../src/workers/messages.ts';
import type { Field, FromPartition } from '../../src/workers/messages.ts';
import { PartitionOutboxes } from '../../src/workers/outbox.ts';
import { key, PartitionBench, runTurns, unlimited } from '../support/partition-bench.ts';

const guest = 1;

function isPush([kind]: FromPartition): boolean {
  return kind === fromPartition.push;
}

function ask(request: number): Field[] {
  return [toPartition.query, request, key, '', unlimited];
}

function subscribe(bench: PartitionBench, host: number, service = key): void {
  bench.turn([toPartition.subscribe, 1, service, 'delta', 0, unlimited], bench.table.epoch, host);
}

function detach(bench: PartitionBench, inbox: PartitionInbox): FromPartition[] {
  inbox.detach(guest, bench.core);
  return runTurns(bench, inbox).flat();
}

test('a host that is gone is told nothing, and keeps nobody else from being told', () => {
  const bench = new PartitionBench();
  const inbox = new PartitionInbox();
  for (const host of [0, guest]) subscribe(bench, host);
  // As much as may be under way to one host, and no credit.
  const big = `{"id":"a","text":"${'x'.repeat(100)}"}`;
  expect(bench.turn([toPartition.register, 2, 7, key, 'a', big]).filter(isPush)).toHaveLength(2);
  bench.core.credit(0, { pushes: 1000, answers: 0 });
  detach(bench, inbox);
  expect(bench.core.describeInterest()).toEqual([`${key} delta 0`]);
  bench.turn([toPartition.register, 3, 7, key, 'b', '{"id":"b"}']);
  expect(bench.wait(200).filter(isPush)).toHaveLength(1);
  expect(bench.core.instanceCount).toBe(2);
});

test('a service that only the host that is gone had subscribers of is watched no more', () => {
  const bench = new PartitionBench();
  subscribe(bench, guest);
  expect(bench.core.serviceCount).toBe(1);
  detach(bench, new PartitionInbox());
  expect(bench.core.serviceCount).toBe(0);
});

test('[LI1] who subscribed there is forgotten over turns, and what its next thread asks waits for that', () => {
  const bench = new PartitionBench(SlotTable.even(1), {
    partitionTurnWorkMax: 300,
    answerCharactersInFlightMax: 10_000,
  });
  const inbox = new PartitionInbox();
  const services = Array.from({ length: 100 }, (_, i) => `public/DEFAULT/s${i}`);
  for (const service of services) subscribe(bench, guest, service);
  inbox.detach(guest, bench.core);
  bench.core.attach(guest);
  const records = [toPartition.subscribe, 9, services[99]!, 'delta', 0, unlimited] as const;
  inbox.add(guest, { batch: 1, epoch: bench.table.epoch, records }, bench.core);
  inbox.add(0, { batch: 1, epoch: bench.table.epoch, records: [toPartition.fence, 8] }, bench.core);
  const turns = runTurns(bench, inbox);
  const turnOf = (wanted: number): number =>
    turns.findIndex((turn) => turn.some(([, request, version]) => request === wanted && version !== undefined));
  expect(turns.length).toBeGreaterThan(4);
  expect(turnOf(8)).toBeLessThan(2);
  expect(turnOf(9)).toBeGreaterThan(3);
  expect(bench.core.describeInterest()).toEqual([`${services[99]} delta ${guest}`]);
  // And it is told from then on.
  bench.core.credit(guest, { pushes: 0, answers: 1000 });
  const pushed = bench.turn([toPartition.register, 10, 7, services[99]!, 'a', '{"id":"a"}']);
  expect(pushed.filter(isPush)).toHaveLength(1);
});

test('what is under way to and from a host that is gone is dropped, and its next thread begins afresh', () => {
  const bench = new PartitionBench(undefined, { answerCharactersInFlightMax: 100 });
  const inbox = new PartitionInbox();
  bench.turn([toPartition.register, 1, 7, key, 'a', `{"id":"a","text":"${'x'.repeat(200)}"}`]);
  // The second waits for credit.
  inbox.add(guest, { batch: 1, epoch: bench.table.epoch, records: [...ask(2), ...ask(3)] }, bench.core);
  expect(runTurns(bench, inbox).flat().filter(isState)).toHaveLength(1);
  expect(detach(bench, inbox).filter(isState)).toEqual([]);
  bench.core.attach(guest);
  inbox.add(guest, { batch: 1, epoch: bench.table.epoch, records: ask(4) }, bench.core);
  const states = runTurns(bench, inbox).flat().filter(isState);
  expect(states.map(([, request]) => request)).toEqual([4]);
  // Its batches are counted from the beginning.
  inbox.add(
    guest,
    { batch: 2, epoch: bench.table.epoch, records: [toPartition.register, 5, 8, key, 'b', '{"id":"b"}'] },
    bench.core,
  );
  const pushedThrough = runTurns(bench, inbox)
    .flat()
    .find(([kind]) => kind === fromPartition.pushedThrough);
  if (pushedThrough?.[0] !== fromPartition.pushedThrough) throw new Error('nothing was settled');
  expect(pushedThrough[fromFields.pushedThrough.batch]).toBe(2);
});

function isState([kind]: FromPartition): boolean {
  return kind === fromPartition.state;
}

test('a page that was being made for a host that is gone is not given to its next thread', () => {
  const bench = new PartitionBench(SlotTable.even(1), { partitionTurnWorkMax: 512 });
  const inbox = new PartitionInbox();
  for (const name of ['a', 'b', 'c', 'd', 'e', 'f']) {
    bench.turn([toPartition.register, 1, 7, `public/DEFAULT/${name}`, 'x', '{"id":"x"}']);
  }
  inbox.add(guest, { batch: 1, epoch: bench.table.epoch, records: [toPartition.list, 2, '', '', '', 10] }, bench.core);
  inbox.run(bench.core, bench.clock());
  detach(bench, inbox);
  bench.core.attach(guest);
  inbox.add(
    guest,
    { batch: 1, epoch: bench.table.epoch, records: [toPartition.list, 3, '', '', 'public/DEFAULT/d', 10] },
    bench.core,
  );
  const page = runTurns(bench, inbox)
    .flat()
    .find(([kind]) => kind === fromPartition.listed);
  expect(page).toEqual([fromPartition.listed, 3, ['public/DEFAULT/e', 1, 'public/DEFAULT/f', 1]]);
});

test('what a move brings is nothing to a host that is gone', () => {
  const bench = new PartitionBench(SlotTable.even(1));
  const inbox = new PartitionInbox();
  detach(bench, inbox);
  const watch = [
    { variant: 'delta', pushedVersion: 5, hosts: [guest] },
    { variant: 'snapshot', pushedVersion: 5, hosts: [0, guest] },
  ];
  const parcels = [{ key, version: 5, isFirst: true, isLast: true, instances: [], log: undefined, watch }];
  bench.turn([toPartition.takeOver, 1, 5, parcels, { alive: [], isEveryoneBack: false }]);
  expect(bench.core.describeInterest()).toEqual([`${key} snapshot 0`]);
});

test('what others do to claims of a host that is gone is said to nobody', () => {
  const outboxes = new PartitionOutboxes();
  for (const host of [0, guest]) outboxes.attach(host);
  outboxes.add(guest, [fromPartition.applied, 1, 1]);
  outboxes.detach(guest);
  outboxes.add(guest, [fromPartition.claim, 7, key, 'a', 1, 'hidden', '']);
  outboxes.add(0, [fromPartition.applied, 2, 1]);
  outboxes.attach(guest);
  outboxes.add(guest, [fromPartition.applied, 3, 1]);
  const said: unknown[] = [];
  outboxes.take((host, batch) => said.push([host, ...batch]));
  expect(said).toEqual([
    [0, fromPartition.applied, 2, 1],
    [guest, fromPartition.applied, 3, 1],
  ]);
});
