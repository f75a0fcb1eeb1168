import { expect, test } from 'vitest';

import { SlotTable } from '../../src/slots/slot-table.ts';
import { slotOf } from '../../src/slots/slot.ts';
import { PartitionInbox } from '../../src/workers/inbox.ts';
import { fromPartition, toPartition } from '../../src/workers/messages.ts';
import type { FromPartition, ToPartition } from '../../src/workers/messages.ts';
import { key, PartitionBench, runTurns, unlimited } from '../support/partition-bench.ts';

function register(request: number, id: string, fragment: string, session = 1): ToPartition {
  return [toPartition.register, request, session, key, id, fragment];
}

function ask(request: number, filter: string): ToPartition {
  return [toPartition.query, request, key, filter, unlimited];
}

/** Applies one record in as many turns as it takes. */
function run(bench: PartitionBench, inbox: PartitionInbox, records: ToPartition): FromPartition[][] {
  inbox.add(0, { batch: 999, epoch: bench.table.epoch, records }, bench.core);
  return runTurns(bench, inbox);
}

function list(request: number, prefix: string): ToPartition {
  return [toPartition.list, request, '', prefix, '', 10];
}

function isPush([kind]: FromPartition): boolean {
  return kind === fromPartition.push;
}

function isPage([kind]: FromPartition): boolean {
  return kind === fromPartition.listed;
}

test('[SL2] a request that carries an older epoch is carried out by the slot’s owner and sent back by anybody else', () => {
  const old = SlotTable.even(2);
  const slot = slotOf(key);
  const owner = old.ownerOf(slot);
  const bench = new PartitionBench(old);
  bench.core.adoptTable(old.withOwners(new Map([[(slot + 1) % 16_384, owner]])));
  expect(bench.turn(register(1, 'a', '{"id":"a"}'), old.epoch)).toEqual([
    [fromPartition.applied, 1, expect.any(Number)],
  ]);
  const moved = old.withOwners(new Map([[slot, 1 - owner]])).withOwners(new Map());
  bench.core.adoptTable(moved);
  expect(bench.turn(register(2, 'b', '{"id":"b"}'), old.epoch)).toEqual([[fromPartition.moved, 2, moved.epoch]]);
  expect(bench.turn([toPartition.query, 3, key, '', unlimited], old.epoch)).toEqual([
    [fromPartition.moved, 3, moved.epoch],
  ]);
  expect(bench.core.instanceCount).toBe(1);
});

test('[SL2] a table that is not newer is never taken up', () => {
  const bench = new PartitionBench();
  expect(() => bench.core.adoptTable(SlotTable.even(2))).toThrow(/epoch/);
});

test('[LI1] push text under way to a host is bounded: while it is behind, changes merge, and its credit brings the latest', () => {
  const bench = new PartitionBench();
  bench.turn([toPartition.subscribe, 1, key, 'delta', 0, unlimited]);
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
  bench.core.credit(0, { pushes: 1000, answers: 0 });
  const after = bench.wait(0);
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
  const bench = new PartitionBench();
  bench.turn([toPartition.subscribe, 1, key, 'delta', 0, unlimited]);
  expect(bench.turn(register(2, 'a', '{"id":"a"}')).filter(isPush)).toHaveLength(1);
  expect(bench.core.nextDueAt()).toBe(20);
  expect(bench.wait(20)).toEqual([]);
  expect(bench.core.nextDueAt()).toBeUndefined();
  expect(bench.turn(register(3, 'b', '{"id":"b"}')).filter(isPush)).toHaveLength(1);
});

test('a service that nobody has and nobody watches is forgotten, and its version never comes back lower', () => {
  const bench = new PartitionBench();
  const [added] = bench.turn(register(1, 'a', '{"id":"a"}'));
  const [removed] = bench.turn([toPartition.deregister, 2, 1, key, 'a']);
  expect(bench.core.serviceCount).toBe(0);
  const [state] = bench.turn([toPartition.query, 3, key, '', unlimited]);
  expect(removed![2]).toBeGreaterThan(Number(added![2]));
  expect(state).toEqual([fromPartition.state, 3, removed![2], 0, '"instances":[]']);
  const [again] = bench.turn(register(4, 'a', '{"id":"a"}'));
  expect(again![2]).toBeGreaterThan(Number(removed![2]));
});

test('a watched service without instances is kept, and forgotten with its last subscriber', () => {
  const bench = new PartitionBench();
  bench.turn([toPartition.subscribe, 1, key, 'delta', 0, unlimited]);
  bench.turn([toPartition.subscribe, 2, key, 'snapshot', 0, unlimited]);
  expect(bench.core.serviceCount).toBe(1);
  bench.turn([toPartition.dropInterest, key, 'delta']);
  expect(bench.core.serviceCount).toBe(1);
  bench.turn([toPartition.dropInterest, key, 'snapshot']);
  expect(bench.core.serviceCount).toBe(0);
});

test('[LI1] a turn ends in the middle of a batch when it has done enough; the rest follows in order, and is not settled before', () => {
  const bench = new PartitionBench(undefined, { partitionTurnWorkMax: 600 });
  const inbox = new PartitionInbox();
  const records = Array.from({ length: 9 }, (_, i) => register(i + 1, `i${i}`, `{"id":"i${i}"}`));
  inbox.add(0, { batch: 1, epoch: bench.table.epoch, records: records.flat() }, bench.core);
  inbox.add(1, { batch: 1, epoch: bench.table.epoch, records: register(99, 'other', '{"id":"other"}', 2) }, bench.core);
  const turns = runTurns(bench, inbox);
  expect(turns.length).toBeGreaterThan(3);
  const answered = turns.map((turn) =>
    turn.filter(([kind]) => kind === fromPartition.applied).map(([, request]) => request),
  );
  expect(answered.flat().filter((request) => request !== 99)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  // The other host does not wait for the end of it.
  expect(answered.findIndex((turn) => turn.includes(99))).toBeLessThan(answered.length - 1);
  const pushedThroughAt = turns.findIndex((turn) => turn.some(([kind]) => kind === fromPartition.pushedThrough));
  expect(pushedThroughAt).toBeGreaterThanOrEqual(answered.findIndex((turn) => turn.includes(99)));
});

test('[LI1] instances are taken apart for a filter over several turns, and then the answer is right', () => {
  const bench = new PartitionBench(undefined, { partitionTurnWorkMax: 2000 });
  const inbox = new PartitionInbox();
  for (let i = 0; i < 10; i++) {
    bench.turn(register(i + 1, `i${i}`, `{"id":"i${i}","enabled":${String(i % 2 === 0)},"zone":"${'z'.repeat(100)}"}`));
  }
  inbox.add(
    0,
    { batch: 99, epoch: bench.table.epoch, records: [toPartition.query, 50, key, '{"enabledOnly":true}', unlimited] },
    bench.core,
  );
  const turns = runTurns(bench, inbox);
  expect(turns.length).toBeGreaterThan(2);
  // All but the last were ended by the bound, which is told.
  const met = turns.flat().filter(([kind]) => kind === fromPartition.bound);
  expect(met.length).toBeGreaterThanOrEqual(turns.length - 1);
  for (const record of met) expect(record).toEqual([fromPartition.bound, 'partitionTurnWorkMax']);
  const state = turns.flat().find(([kind]) => kind === fromPartition.state);
  expect(state).toEqual([fromPartition.state, 50, expect.any(Number), 5, expect.stringContaining('"i8"')]);
});

test('[LI1] answers under way to a host are bounded: the next waits for credit, and what has no room is not done', () => {
  const bench = new PartitionBench();
  const inbox = new PartitionInbox();
  for (const id of ['a', 'b']) bench.turn(register(1, id, `{"id":"${id}","text":"${'x'.repeat(600)}"}`));
  const records = [ask(5, ''), ask(6, '{"zone":"none"}'), ask(7, '')].flat();
  inbox.add(0, { batch: 99, epoch: bench.table.epoch, records }, bench.core);
  const before = runTurns(bench, inbox).flat();
  // Once, however often it is looked at again.
  const met = [fromPartition.bound, 'answerCharactersInFlightMax'];
  expect(before).toEqual([expect.objectContaining({ 0: fromPartition.state }), met, expect.any(Array)]);
  expect(before[2]![0]).toBe(fromPartition.answered);
  inbox.add(
    0,
    { batch: 100, epoch: bench.table.epoch, records: [], credit: { pushes: 0, answers: Number(before[2]![1]) } },
    bench.core,
  );
  const after = runTurns(bench, inbox).flat();
  expect(after.filter(([kind]) => kind === fromPartition.state).map(([, request]) => request)).toEqual([6, 7]);
  bench.core.credit(0, { pushes: 0, answers: 10_000 });
  const [oversize] = bench.turn([toPartition.subscribe, 8, key, 'delta', 0, 100]);
  expect(oversize).toEqual([fromPartition.oversize, 8, expect.any(Number)]);
  expect(bench.core.describeInterest()).toEqual([]);
});

test('[LI1] a page of services is made over several turns, counts as an answer under way, and keeps no other host waiting', () => {
  const bench = new PartitionBench(undefined, { partitionTurnWorkMax: 512, answerCharactersInFlightMax: 1000 });
  const inbox = new PartitionInbox();
  const groups = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];
  for (const [i, group] of groups.entries()) {
    for (const service of ['one', 'two']) {
      bench.turn([toPartition.register, i + 1, 1, `public/${group}/${service}`, 'x', '{"id":"x"}']);
    }
  }
  const records = [list(51, 'none'), list(52, 'two'), list(53, '')].flat();
  inbox.add(0, { batch: 99, epoch: bench.table.epoch, records }, bench.core);
  inbox.add(1, { batch: 1, epoch: bench.table.epoch, records: list(54, 'one') }, bench.core);
  const turns = runTurns(bench, inbox);
  expect(turns.length).toBeGreaterThan(8);
  const named = (service: string): (string | number)[] => groups.flatMap((group) => [`public/${group}/${service}`, 1]);
  expect(turns.flat().filter(isPage)).toEqual([
    [fromPartition.listed, 51, []],
    [fromPartition.listed, 54, named('one')],
    [fromPartition.listed, 52, named('two')],
  ]);
  // Eight entries come to more than may be under way to one host.
  const credit = { pushes: 0, answers: 10_000 };
  inbox.add(0, { batch: 100, epoch: bench.table.epoch, records: [], credit }, bench.core);
  expect(runTurns(bench, inbox).flat().filter(isPage)).toMatchObject([[fromPartition.listed, 53, { length: 20 }]]);
});

test('[SL3] [LI1] slots are handed over in parts of one turn each, kept until they are to be forgotten, and taken in over turns', () => {
  const slot = slotOf(key);
  const giver = new PartitionBench(undefined, { partitionTurnWorkMax: 2000, pushCharactersInFlightMax: 10_000 });
  const taker = new PartitionBench(undefined, { partitionTurnWorkMax: 2000 });
  const variants = ['delta', 'delta{"enabledOnly":true}'];
  for (const [at, variant] of variants.entries()) {
    giver.turn([toPartition.subscribe, at + 1, key, variant, 0, unlimited]);
  }
  for (let i = 0; i < 10; i++) {
    giver.turn(
      register(10 + i, `i${i}`, `{"id":"i${i}","enabled":${String(i % 2 === 0)},"t":"${'x'.repeat(300)}"}`, 1),
    );
  }
  // Claims that do not show go along.
  giver.turn(register(30, 'i1', '{"id":"i1","enabled":true}', 2));
  const claims = giver.core.describeInstances();
  const [inbox, other] = [new PartitionInbox(), new PartitionInbox()];
  let parts = 0;
  let isLast = false;
  for (let request = 100; !isLast; request += 2) {
    const turns = run(giver, inbox, [toPartition.handOver, request, parts === 0 ? [slot] : []]);
    const part = turns.flat().find(([kind]) => kind === fromPartition.handedOver);
    if (part?.[0] !== fromPartition.handedOver) throw new Error('no part');
    // The changes that had not been pushed went ahead.
    if (parts === 0) expect(turns.flat().findIndex(isPush)).toBeLessThan(turns.flat().indexOf(part));
    expect(JSON.stringify(part).length).toBeLessThan(2500);
    isLast = part[4] === 1;
    parts += 1;
    const taken = run(taker, other, [toPartition.takeOver, request + 1, part[2], part[3], part[5]]);
    const said = taken.flat().filter(([kind]) => kind !== fromPartition.bound);
    expect(said).toEqual([[fromPartition.applied, request + 1, 0]]);
  }
  expect(parts).toBeGreaterThan(2);
  expect(giver.core.describeInstances()).toEqual(claims);
  expect(taker.core.describeInstances()).toEqual(claims);
  expect(taker.core.describeInterest()).toEqual(giver.core.describeInterest());
  expect(taker.core.describeInterest()).toHaveLength(2);
  run(giver, inbox, [toPartition.forget, 300, [slot]]);
  expect([giver.core.describeInstances(), giver.core.describeInterest(), giver.core.serviceCount]).toEqual([[], [], 0]);
  // It goes on where the other one was.
  taker.pass(1000);
  const pushed = taker.turn(register(400, 'i3', '{"id":"i3","enabled":true}', 1)).filter(isPush);
  expect(pushed.map(([, , variant, , , count]) => [variant, count])).toEqual([
    ['delta', 10],
    ['delta{"enabledOnly":true}', 7],
  ]);
});

test('[PU2] a round of pushes that is interrupted goes on, and what changed meanwhile is told to all in the end', () => {
  const bench = new PartitionBench(undefined, { partitionTurnWorkMax: 1, pushCharactersInFlightMax: 100_000 });
  const inbox = new PartitionInbox();
  const variants = ['delta', 'snapshot', 'delta{"enabledOnly":true}', 'snapshot{"enabledOnly":true}'];
  const views = new Map<string, Map<string, string>>(variants.map((variant) => [variant, new Map()]));
  const take = (records: readonly FromPartition[]): void => {
    for (const record of records) {
      if (record[0] !== fromPartition.push) continue;
      const [, , variant, , , , , body] = record;
      const view = views.get(variant)!;
      if (variant.startsWith('snapshot')) {
        view.clear();
        const { instances } = JSON.parse(`{${body}}`) as { instances: { id: string }[] };
        for (const instance of instances) view.set(instance.id, JSON.stringify(instance));
        continue;
      }
      const { put, remove } = JSON.parse(`{${body}}`) as { put: { id: string }[]; remove: string[] };
      for (const instance of put) view.set(instance.id, JSON.stringify(instance));
      for (const id of remove) view.delete(id);
    }
  };
  let batch = 0;
  const add = (record: ToPartition): void => {
    batch += 1;
    inbox.add(0, { batch, epoch: bench.table.epoch, records: record }, bench.core);
  };
  const turn = (): void => {
    bench.records.length = 0;
    inbox.run(bench.core, bench.clock());
    bench.core.endTurn(bench.clock());
    take(bench.records);
  };
  for (const [i, variant] of variants.entries()) {
    add([toPartition.subscribe, i + 1, key, variant, 0, unlimited]);
    turn();
  }
  const contents = [
    '{"id":"a","enabled":true}',
    '{"id":"a","enabled":false}',
    '{"id":"a","enabled":true}',
    '{"id":"b","enabled":true}',
  ];
  for (let step = 0; step < 40; step++) {
    const fragment = contents[(step * 7) % contents.length]!;
    add(register(100 + step, fragment.includes('"a"') ? 'a' : 'b', fragment));
    turn();
    if (step % 3 === 0) bench.pass(25);
  }
  for (let i = 0; i < 40; i++) {
    bench.pass(200);
    turn();
  }
  bench.core.credit(0, { pushes: 0, answers: 100_000 });
  add([toPartition.query, 999, key, '', unlimited]);
  turn();
  const state = bench.records.find(([kind]) => kind === fromPartition.state);
  const { instances } = JSON.parse(`{${String(state![4])}}`) as { instances: { id: string }[] };
  const held = new Map(instances.map((instance) => [instance.id, JSON.stringify(instance)]));
  expect(views.get('delta')).toEqual(held);
  expect(views.get('snapshot')).toEqual(held);
  const enabled = new Map([...held].filter(([, fragment]) => fragment.includes('true')));
  expect(views.get(variants[2]!)).toEqual(enabled);
  expect(views.get(variants[3]!)).toEqual(enabled);
});

test('a subscription whose answer has no room leaves the one that its host had before', () => {
  const bench = new PartitionBench();
  bench.turn(register(1, 'a', '{"id":"a"}'));
  bench.turn([toPartition.subscribe, 2, key, 'delta', 0, unlimited]);
  expect(bench.turn([toPartition.subscribe, 3, key, 'delta', 0, 1])).toEqual([
    [fromPartition.oversize, 3, '"instances":[{"id":"a"}]'.length],
  ]);
  expect(bench.core.describeInterest()).toEqual([`${key} delta 0`]);
});

test('[LI1] a filter that is kept up already takes no more room, however many there are', () => {
  const bench = new PartitionBench();
  const filters = ['{"zone":"a"}', '{"zone":"b"}', '{"zone":"c"}'];
  const [first, second, third] = filters.map((filter) => `delta${filter}`);
  const subscribe = (request: number, variant: string | undefined): unknown =>
    bench.turn([toPartition.subscribe, request, key, variant!, 0, unlimited], bench.table.epoch, request % 2)[0]![0];
  expect([subscribe(1, first), subscribe(2, second)]).toEqual([fromPartition.state, fromPartition.state]);
  expect(subscribe(3, third)).toBe(fromPartition.refused);
  expect(subscribe(4, first)).toBe(fromPartition.state);
});

test('a client that resumes from a version that was not told here yet gets the state above it', () => {
  const bench = new PartitionBench();
  const [added] = bench.turn(register(1, 'a', '{"id":"a"}'));
  const shown = Number(added![2]) + 5;
  const [state] = bench.turn([toPartition.subscribe, 2, key, 'delta', shown, unlimited]);
  expect(state).toEqual([fromPartition.state, 2, expect.any(Number), 1, '"instances":[{"id":"a"}]']);
  expect(state![2]).toBeGreaterThan(shown);
});

test('[RE2] what may not have been told before a rebuild is told at a version above all that was told', () => {
  const bench = new PartitionBench();
  bench.turn([toPartition.restore, 1, key, 'a', '{"id":"a"}', 1, 0]);
  const from = 1_000_000;
  bench.turn([toPartition.restoreInterest, key, 'delta', from]);
  bench.turn([toPartition.resend, key, ['a']]);
  const told = bench.turn([toPartition.resumePushes, 9]);
  const push = told.find(isPush);
  expect(push).toEqual([fromPartition.push, key, 'delta', from, expect.any(Number), 1, 0, expect.any(String)]);
  expect(push![4]).toBeGreaterThan(from);
});

test('[RE2] what is told again after a rebuild counts as pushed when it has been, however many turns that takes', () => {
  const other = 'public/DEFAULT/ship';
  const bench = new PartitionBench(SlotTable.even(1), {
    partitionTurnWorkMax: 1024,
    pushCharactersInFlightMax: 10_000,
  });
  const readPushedThrough = (): number[] =>
    bench.records.flatMap((record) => (record[0] === fromPartition.pushedThrough ? [record[1]] : []));
  for (const each of [key, other]) {
    bench.turn([toPartition.restore, 1, each, 'a', '{"id":"a"}', 1, 0]);
    bench.turn([toPartition.resend, each, ['a']], undefined, 1);
    bench.turn([toPartition.restoreInterest, each, 'delta', 1_000_000]);
  }
  bench.pass(10);
  const first = bench.turn([toPartition.resumePushes, 9]);
  expect(first.filter(isPush).map(([, service]) => service)).toEqual([key]);
  // The batches before: those of the other host are to be told again.
  expect(readPushedThrough()).toEqual([6, 1]);
  expect(
    bench
      .wait(0)
      .filter(isPush)
      .map(([, service]) => service),
  ).toEqual([other]);
  expect(readPushedThrough()).toEqual([5]);
});

test('[RE2] a batch that takes turns counts as pushed with the last of its changes, not with the first', () => {
  const other = 'public/DEFAULT/ship';
  const bench = new PartitionBench(SlotTable.even(1), { partitionTurnWorkMax: 200, pushCharactersInFlightMax: 10_000 });
  const readPushes = (): unknown[] => bench.records.filter(isPush).map(([, service]) => service);
  const readPushedThrough = (): unknown[] =>
    bench.records.filter(([kind]) => kind === fromPartition.pushedThrough).map(([, batch]) => batch);
  // Each opens a window of 20 ms.
  for (const each of [key, other]) {
    bench.pass(10);
    bench.turn([toPartition.subscribe, 1, each, 'delta', 0, unlimited]);
    bench.turn([toPartition.register, 2, 1, each, 'a', '{"id":"a"}']);
  }
  const inbox = new PartitionInbox();
  const records = [key, other].flatMap((each) => [toPartition.register, 3, 1, each, 'b', '{"id":"b"}']);
  inbox.add(0, { batch: 10, epoch: bench.table.epoch, records }, bench.core);
  for (const isUnfinished of [true, false]) {
    bench.pass(1);
    expect(inbox.run(bench.core, bench.clock())).toBe(isUnfinished);
    bench.core.endTurn(bench.clock());
  }
  bench.wait(8);
  expect([readPushes(), readPushedThrough()]).toEqual([[key], []]);
  bench.wait(10);
  expect([readPushes(), readPushedThrough()]).toEqual([[other], [10]]);
});
