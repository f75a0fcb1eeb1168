import fc from 'fast-check';
import { expect, test } from 'vitest';

import { forEachFromPartition, fromPartition, recordAt, toPartition } from '../../src/workers/messages.ts';
import type { FromPartition, ToPartition } from '../../src/workers/messages.ts';
import { PartitionOutbox, PartitionOutboxes } from '../../src/workers/outbox.ts';

const text = fc.constantFrom('', 'a', 'b', 'long text with é', 'x'.repeat(2000), 'y'.repeat(2000));
const number = fc.integer({ min: 0 });

const outward: fc.Arbitrary<FromPartition> = fc.oneof(
  fc.tuple(fc.constant(fromPartition.applied), number, number),
  fc.tuple(fc.constant(fromPartition.refused), number, fc.constant('busy' as const), text, text, number, text, number),
  fc.tuple(fc.constant(fromPartition.state), number, number, number, text),
  fc.tuple(fc.constant(fromPartition.resumed), number, number, number, text),
  fc.tuple(fc.constant(fromPartition.listed), number, fc.array(fc.oneof(text, number))),
  fc.tuple(fc.constant(fromPartition.push), text, fc.constant('delta' as const), number, number, number, number, text),
  fc.tuple(fc.constant(fromPartition.claim), number, text, text, number, fc.constantFrom('shown', 'hidden'), text),
  fc.tuple(fc.constant(fromPartition.moved), number, number),
  fc.tuple(fc.constant(fromPartition.oversize), number, number),
  fc.tuple(fc.constant(fromPartition.answered), number),
);

const inward: fc.Arbitrary<ToPartition> = fc.oneof(
  fc.tuple(fc.constant(toPartition.register), number, number, text, text, text),
  fc.tuple(fc.constant(toPartition.deregister), number, number, text, text),
  fc.tuple(fc.constant(toPartition.withdraw), number, text, text),
  fc.tuple(fc.constant(toPartition.giveUp), number, number, text, text),
  fc.tuple(fc.constant(toPartition.subscribe), number, text, fc.constant('snapshot' as const), number, number),
  fc.tuple(fc.constant(toPartition.loseInterest), text, fc.constant('delta' as const)),
  fc.tuple(fc.constant(toPartition.query), number, text, text, number),
  fc.tuple(fc.constant(toPartition.list), number, text, text, text, number),
  fc.tuple(fc.constant(toPartition.restore), number, text, text, text, number, fc.nat(1)),
  fc.tuple(fc.constant(toPartition.rewatch), text, fc.constant('delta' as const), number),
  fc.tuple(fc.constant(toPartition.retell), text, fc.array(text)),
  fc.tuple(fc.constant(toPartition.restored), number),
  fc.tuple(fc.constant(toPartition.goOn), number),
  fc.tuple(fc.constant(toPartition.fence), number),
  fc.tuple(fc.constant(toPartition.takeOver), number, number, fc.constant([])),
  fc.tuple(fc.constant(toPartition.handOver), number, fc.array(number)),
  fc.tuple(fc.constant(toPartition.forget), number, fc.array(number)),
);

test('whatever a partition says in a turn arrives as it was said, repeated texts included', () => {
  fc.assert(
    fc.property(fc.array(outward), (records) => {
      const outbox = new PartitionOutbox();
      for (const record of records) outbox.add(record);
      const batch = structuredClone(outbox.take() ?? []);
      const arrived: FromPartition[] = [];
      forEachFromPartition(batch, (record) => arrived.push(record));
      expect(arrived).toEqual(records);
      expect(outbox.take()).toBeUndefined();
    }),
  );
});

test('whatever a host says in a turn arrives as it was said', () => {
  fc.assert(
    fc.property(fc.array(inward), (records) => {
      const arrived: ToPartition[] = [];
      const fields = structuredClone(records.flat());
      for (let at = 0; at < fields.length;) {
        const record = recordAt(fields, at);
        arrived.push(record);
        at += record.length;
      }
      expect(arrived).toEqual(records);
    }),
  );
});

test('a storm of equal snapshots crosses once', () => {
  const outbox = new PartitionOutbox();
  const snapshot = 'x'.repeat(10_000);
  for (let request = 0; request < 100; request++) outbox.add([fromPartition.state, request, 1, 1, snapshot]);
  expect(JSON.stringify(outbox.take()).length).toBeLessThan(13_000);
});

test('a storm of several snapshots by turns crosses once, too', () => {
  const outbox = new PartitionOutbox();
  const snapshots = ['x', 'y', 'z'].map((letter) => letter.repeat(10_000));
  for (let request = 0; request < 100; request++) {
    outbox.add([fromPartition.state, request, 1, 1, snapshots[request % 3]!]);
  }
  expect(JSON.stringify(outbox.take()).length).toBeLessThan(33_000);
});

test('a batch with a kind that does not exist is a bug, not something to skip', () => {
  expect(() => {
    recordAt([99, 1], 0);
  }).toThrow(/unknown record kind 99/);
});

test('[RE2] to several hosts what has been settled leaves last, so that a death in between harms nobody', () => {
  const outboxes = new PartitionOutboxes();
  for (const host of [0, 1]) outboxes.attach(host);
  outboxes.add(0, [fromPartition.settled, 1]);
  outboxes.add(0, [fromPartition.applied, 7, 100]);
  outboxes.add(1, [fromPartition.push, 'key', 'delta', 99, 100, 1, 0, 'body']);
  const kinds: unknown[] = [];
  outboxes.take((host, batch) => kinds.push([host, batch[0]]));
  expect(kinds).toEqual([
    [0, fromPartition.applied],
    [1, fromPartition.push],
    [0, fromPartition.settled],
  ]);
  outboxes.take(() => kinds.push('more'));
  expect(kinds).toHaveLength(3);
});

test('to a single host everything of a turn leaves in one batch, as it was said', () => {
  const outboxes = new PartitionOutboxes();
  outboxes.attach(0);
  outboxes.add(0, [fromPartition.settled, 1]);
  outboxes.add(0, [fromPartition.claim, 2, 'key', 'id', 5, 'hidden', '']);
  const batches: unknown[] = [];
  outboxes.take((host, batch) => batches.push([host, batch]));
  expect(batches).toEqual([[0, [fromPartition.settled, 1, fromPartition.claim, 2, 'key', 'id', 5, 'hidden', '']]]);
});
