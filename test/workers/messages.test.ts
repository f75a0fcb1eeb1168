import fc from 'fast-check';
import { expect, test } from 'vitest';

import {
  forEachFromPartition,
  fromFields,
  fromPartition,
  recordAt,
  toFields,
  toPartition,
} from '../../src/workers/messages.ts';
import type { FromPartition, ToPartition } from '../../src/workers/messages.ts';
import { PartitionOutbox, PartitionOutboxes } from '../../src/workers/outbox.ts';
import { measureShapes } from '../../src/workers/record-shapes.ts';

const text = fc.constantFrom('', 'a', 'b', 'long text with é', 'x'.repeat(2000), 'y'.repeat(2000));
const number = fc.integer({ min: 0 });

const parcels = fc.constant([]);
const holders = fc.record({ alive: fc.array(fc.tuple(text, number)), isEveryoneBack: fc.boolean() });

/** One arbitrary for each kind: a new kind without one does not compile. */
type Each<Kinds, Records> = {
  readonly [Name in keyof Kinds]: fc.Arbitrary<Extract<Records, [Kinds[Name], ...unknown[]]>>;
};

const anyHealth = fc.constantFrom('passing' as const, 'warning' as const, 'critical' as const);

const outwardByKind: Each<typeof fromPartition, FromPartition> = {
  applied: fc.tuple(fc.constant(fromPartition.applied), number, number),
  refused: fc.tuple(
    fc.constant(fromPartition.refused),
    number,
    fc.constant('busy' as const),
    text,
    text,
    number,
    text,
    number,
  ),
  state: fc.tuple(fc.constant(fromPartition.state), number, number, number, text),
  resumed: fc.tuple(fc.constant(fromPartition.resumed), number, number, number, text),
  listed: fc.tuple(fc.constant(fromPartition.listed), number, fc.array(fc.oneof(text, number))),
  push: fc.tuple(fc.constant(fromPartition.push), text, text, number, number, number, number, text),
  claim: fc.tuple(
    fc.constant(fromPartition.claim),
    number,
    text,
    text,
    number,
    fc.constantFrom('shown' as const, 'hidden' as const),
    text,
  ),
  moved: fc.tuple(fc.constant(fromPartition.moved), number, number),
  handedOver: fc.tuple(fc.constant(fromPartition.handedOver), number, number, parcels, fc.nat(1), holders),
  pushedThrough: fc.tuple(fc.constant(fromPartition.pushedThrough), number),
  measured: fc.tuple(fc.constant(fromPartition.measured), number, fc.array(number)),
  oversize: fc.tuple(fc.constant(fromPartition.oversize), number, number),
  answered: fc.tuple(fc.constant(fromPartition.answered), number),
  recalled: fc.tuple(fc.constant(fromPartition.recalled), number, fc.array(fc.oneof(text, number)), text),
  bound: fc.tuple(fc.constant(fromPartition.bound), text),
  inspected: fc.tuple(fc.constant(fromPartition.inspected), number, fc.constant([1, 'key', 'id', 'fragment', 2, 0])),
  check: fc.tuple(fc.constant(fromPartition.check), text, text, text),
  heard: fc.tuple(fc.constant(fromPartition.heard), text, text),
  keysAnswered: fc.tuple(fc.constant(fromPartition.keysAnswered), number, fc.constant({ kind: 'conflict' as const })),
};

const inwardByKind: Each<typeof toPartition, ToPartition> = {
  register: fc.tuple(fc.constant(toPartition.register), number, number, text, text, text),
  protect: fc.tuple(fc.constant(toPartition.protect), text, number),
  restoreProtection: fc.tuple(fc.constant(toPartition.restoreProtection), text, number),
  judge: fc.tuple(fc.constant(toPartition.judge), text, text, anyHealth),
  restoreFound: fc.tuple(fc.constant(toPartition.restoreFound), text, text, anyHealth),
  tellChecks: fc.tuple(fc.constant(toPartition.tellChecks), number),
  evict: fc.tuple(fc.constant(toPartition.evict), text, text),
  reportHealth: fc.tuple(fc.constant(toPartition.reportHealth), number, number, text, text, anyHealth),
  deregister: fc.tuple(fc.constant(toPartition.deregister), number, number, text, text),
  withdraw: fc.tuple(fc.constant(toPartition.withdraw), number, text, text),
  giveUp: fc.tuple(fc.constant(toPartition.giveUp), number, number, text, text),
  subscribe: fc.tuple(fc.constant(toPartition.subscribe), number, text, text, number, number),
  dropInterest: fc.tuple(fc.constant(toPartition.dropInterest), text, text),
  query: fc.tuple(fc.constant(toPartition.query), number, text, text, number),
  inspect: fc.tuple(fc.constant(toPartition.inspect), number, text, text, number),
  list: fc.tuple(fc.constant(toPartition.list), number, text, text, text, number),
  restore: fc.tuple(fc.constant(toPartition.restore), number, text, text, text, number, fc.nat(1)),
  restoreInterest: fc.tuple(fc.constant(toPartition.restoreInterest), text, text, number),
  resend: fc.tuple(fc.constant(toPartition.resend), text, fc.array(text)),
  restored: fc.tuple(fc.constant(toPartition.restored), number),
  resumePushes: fc.tuple(fc.constant(toPartition.resumePushes), number),
  fence: fc.tuple(fc.constant(toPartition.fence), number),
  takeOver: fc.tuple(fc.constant(toPartition.takeOver), number, number, parcels, holders),
  keys: fc.tuple(
    fc.constant(toPartition.keys),
    number,
    fc.record({ kind: fc.constant('deletion' as const), prefix: text }),
  ),
  vouch: fc.tuple(fc.constant(toPartition.vouch), text),
  endHolder: fc.tuple(fc.constant(toPartition.endHolder), text),
  releaseOrphans: fc.tuple(fc.constant(toPartition.releaseOrphans)),
  handOver: fc.tuple(fc.constant(toPartition.handOver), number, fc.array(number)),
  forget: fc.tuple(fc.constant(toPartition.forget), number, fc.array(number)),
  recall: fc.tuple(fc.constant(toPartition.recall), number, number, text),
  measure: fc.tuple(fc.constant(toPartition.measure), number),
  layOver: fc.tuple(fc.constant(toPartition.layOver), number, text, text),
  restoreOverlay: fc.tuple(fc.constant(toPartition.restoreOverlay), text, text),
  limitNamespaces: fc.tuple(fc.constant(toPartition.limitNamespaces), text),
  remark: fc.tuple(fc.constant(toPartition.remark), number, text, text, text, number),
  raiseFloor: fc.tuple(fc.constant(toPartition.raiseFloor), number),
};

const outward: fc.Arbitrary<FromPartition> = fc.oneof(...Object.values(outwardByKind));
const inward: fc.Arbitrary<ToPartition> = fc.oneof(...Object.values(inwardByKind));

test('a record that is too short, too long, or has a field of another type does not compile', () => {
  // @ts-expect-error Too short.
  const short: FromPartition = [fromPartition.applied, 1];
  // @ts-expect-error Too long.
  const long: ToPartition = [toPartition.measure, 1, 2];
  // @ts-expect-error An id is a text.
  const other: ToPartition = [toPartition.withdraw, 1, 'key', 2];
  expect([short, long, other].map(({ length }) => length)).toEqual([2, 3, 4]);
});

test('fields are found by their names', () => {
  const push: FromPartition = [fromPartition.push, 'key', 'delta', 1, 2, 3, 4, 'body'];
  expect(Object.values(fromFields.push).map((place) => push[place])).toEqual(push.slice(1));
  expect(push[fromFields.push.changedAtMs]).toBe(4);
  const register: ToPartition = [toPartition.register, 1, 2, 'key', 'id', '{}'];
  expect(register[toFields.register.session]).toBe(2);
  expect(register[toFields.register.fragment]).toBe('{}');
});

test('two kinds of record of one number are a bug', () => {
  expect(() => measureShapes({ one: [1, 'a'], other: [1, 'b'] })).toThrow(/kind 1/);
});

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
  outboxes.add(0, [fromPartition.pushedThrough, 1]);
  outboxes.add(0, [fromPartition.applied, 7, 100]);
  outboxes.add(1, [fromPartition.push, 'key', 'delta', 99, 100, 1, 0, 'body']);
  const kinds: unknown[] = [];
  outboxes.take((host, batch) => kinds.push([host, batch[0]]));
  expect(kinds).toEqual([
    [0, fromPartition.applied],
    [1, fromPartition.push],
    [0, fromPartition.pushedThrough],
  ]);
  outboxes.take(() => kinds.push('more'));
  expect(kinds).toHaveLength(3);
});

test('to a single host everything of a turn leaves in one batch, as it was said', () => {
  const outboxes = new PartitionOutboxes();
  outboxes.attach(0);
  outboxes.add(0, [fromPartition.pushedThrough, 1]);
  outboxes.add(0, [fromPartition.claim, 2, 'key', 'id', 5, 'hidden', '']);
  const batches: unknown[] = [];
  outboxes.take((host, batch) => batches.push([host, batch]));
  expect(batches).toEqual([
    [0, [fromPartition.pushedThrough, 1, fromPartition.claim, 2, 'key', 'id', 5, 'hidden', '']],
  ]);
});
