import fc from 'fast-check';
import { expect, test } from 'vitest';

import { encodeInstance } from '../../src/protocol/instance-encoding.ts';
import type { Instance, InstanceOverride } from '../../src/protocol/types.ts';
import { chooseVariant } from '../../src/push/variant.ts';
import { SlotTable } from '../../src/slots/slot-table.ts';
import { slotOf } from '../../src/slots/slot.ts';
import { encodeOverlay } from '../../src/store/service-overlay.ts';
import { fromFields, fromPartition, toPartition, wholeService } from '../../src/workers/messages.ts';
import type { FromPartition } from '../../src/workers/messages.ts';
import { key, PartitionBench, unlimited } from '../support/partition-bench.ts';
import { PartitionSubscriber } from '../support/partition-subscriber.ts';

const variants = [
  chooseVariant('delta', {}).text,
  chooseVariant('snapshot', {}).text,
  chooseVariant('delta', { enabledOnly: true }).text,
  chooseVariant('snapshot', { zone: 'b' }).text,
];

const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('register'), id: fc.nat(3), weight: fc.nat(2) }) },
  fc.record({ kind: fc.constant('deregister'), id: fc.nat(3) }),
  fc.record({
    kind: fc.constant('layOver'),
    isClosed: fc.boolean(),
    overrides: fc.array(
      fc.tuple(
        fc.nat(3),
        fc.record({ enabled: fc.boolean(), weight: fc.nat(2), zone: fc.constantFrom('a', 'b') }, { requiredKeys: [] }),
      ),
      { maxLength: 2 },
    ),
  }),
  fc.record({ kind: fc.constant('wait') }),
  fc.record({ kind: fc.constant('read'), variant: fc.nat(variants.length - 1) }),
);

test('what subscribers are told is what is registered with what operators laid over it, whatever comes when', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
      const bench = new PartitionBench(SlotTable.even(1), {
        pushCharactersInFlightMax: 1_000_000,
        answerCharactersInFlightMax: 1_000_000,
      });
      const subscribers = variants.map(() => new PartitionSubscriber());
      let request = 1;
      for (const [i, subscriber] of subscribers.entries()) subscriber.begin(bench, variants[i]!, (request += 1));
      const registered = new Map<string, Instance>();
      let overrides: [string, InstanceOverride][] = [];
      let isClosed = false;
      const take = (records: readonly FromPartition[]): void => {
        for (const record of records) {
          if (record[0] !== fromPartition.push) continue;
          subscribers[variants.indexOf(record[fromFields.push.variant])]!.takePush(record);
        }
      };
      for (const each of steps) {
        request += 1;
        switch (each.kind) {
          case 'register': {
            const { id, weight } = each as { id: number; weight: number };
            const name = `i${id}`;
            const { fragment } = encodeInstance({ id: name, host: 'h', port: 1, weight, zone: id === 0 ? 'b' : 'a' });
            registered.set(name, JSON.parse(fragment) as Instance);
            take(bench.turn([toPartition.register, request, 1, key, name, fragment]));
            break;
          }
          case 'deregister': {
            const name = `i${(each as { id: number }).id}`;
            registered.delete(name);
            take(bench.turn([toPartition.deregister, request, 1, key, name]));
            break;
          }
          case 'layOver': {
            const order = each as { isClosed: boolean; overrides: [number, InstanceOverride][] };
            isClosed = order.isClosed;
            overrides = [...new Map(order.overrides.map(([id, override]) => [`i${id}`, override]))];
            const text = encodeOverlay({ isClosed, overrides: new Map(overrides) });
            take(bench.turn([toPartition.layOver, request, key, text]));
            break;
          }
          case 'wait':
            take(bench.wait(200));
            break;
          default: {
            // Another one begins in between, and is pushed what comes with all others.
            const { variant } = each as { variant: number };
            const newcomer = new PartitionSubscriber();
            newcomer.begin(bench, variants[variant]!, request);
            take(bench.wait(200));
          }
        }
      }
      take(bench.wait(200));
      take(bench.wait(200));
      const shown = new Map<string, Instance>();
      for (const [id, instance] of isClosed ? [] : registered) {
        shown.set(id, { ...instance, ...overrides.find(([name]) => name === id)?.[1] });
      }
      const filters = [
        () => true,
        () => true,
        ({ enabled }: Instance) => enabled,
        ({ zone }: Instance) => zone === 'b',
      ];
      for (const [i, subscriber] of subscribers.entries()) {
        const expected = new Map([...shown].filter(([, instance]) => filters[i]!(instance)));
        expect(new Map(subscriber.instances)).toEqual(expected);
        expect(subscriber.isClosed).toBe(isClosed);
      }
    }),
    { numRuns: 300 },
  );
});

function listBodies(records: readonly FromPartition[]): string[] {
  return records.flatMap((record) => (record[0] === fromPartition.push ? [record[fromFields.push.body]] : []));
}

test('a service is closed and opened with one push each, also one without instances; what is registered meanwhile is not pushed', () => {
  const bench = new PartitionBench(SlotTable.even(2), { pushCharactersInFlightMax: 1000 });
  const closed = encodeOverlay({ isClosed: true, overrides: new Map() });
  bench.turn([toPartition.subscribe, 1, key, 'delta', 0, unlimited]);
  expect(listBodies(bench.turn([toPartition.layOver, 2, key, closed]))).toEqual(['"put":[],"remove":[],"closed":true']);
  expect(listBodies(bench.turn([toPartition.register, 3, 1, key, 'a', '{"id":"a"}']))).toEqual([]);
  expect(listBodies(bench.wait(200))).toEqual([]);
  expect(bench.turn([toPartition.query, 4, key, '', unlimited])).toMatchObject([
    [fromPartition.state, 4, expect.any(Number), 0, '"instances":[],"closed":true'],
  ]);
  bench.turn([toPartition.layOver, 5, key, '']);
  expect(listBodies(bench.wait(200))).toEqual(['"put":[{"id":"a"}],"remove":[]']);
});

test('[RE2] after a rebuild, whoever may not have been told what was laid over a service is told all of it', () => {
  const bench = new PartitionBench();
  const closed = encodeOverlay({ isClosed: true, overrides: new Map() });
  bench.turn([toPartition.restoreOverlay, key, closed]);
  bench.turn([toPartition.restore, 1, key, 'a', '{"id":"a"}', 7, 0]);
  bench.turn([toPartition.restored, 8]);
  bench.turn([toPartition.resend, key, [wholeService]]);
  bench.turn([toPartition.restoreInterest, key, 'delta', 5]);
  const [, push] = bench.turn([toPartition.resumePushes, 9]).toSorted(([a], [b]) => a - b);
  expect(push).toMatchObject([
    fromPartition.push,
    key,
    'delta',
    5,
    expect.any(Number),
    0,
    0,
    '"put":[],"remove":["a"],"closed":true',
  ]);
});

test('[SL3] a service that comes from another partition has what was laid over it', () => {
  const giver = new PartitionBench();
  giver.turn([toPartition.register, 1, 1, key, 'a', '{"id":"a"}']);
  const [record] = giver.turn([toPartition.handOver, 2, [slotOf(key)]]);
  const { versionFloor, parcels, holders } = fromFields.handedOver;
  const handedOver = record as Extract<FromPartition, [typeof fromPartition.handedOver, ...unknown[]]>;
  const taker = new PartitionBench();
  taker.turn([toPartition.restoreOverlay, key, encodeOverlay({ isClosed: true, overrides: new Map() })]);
  taker.turn([toPartition.takeOver, 3, handedOver[versionFloor], handedOver[parcels], handedOver[holders]]);
  expect(taker.turn([toPartition.query, 4, key, '', unlimited])).toMatchObject([
    [fromPartition.state, 4, expect.any(Number), 0, '"instances":[],"closed":true'],
  ]);
});

test('[SW2] whoever was pushed before the service was closed, in a round of pushes that had not ended, is told that too', () => {
  const bench = new PartitionBench(SlotTable.even(2), { pushCharactersInFlightMax: 1 });
  bench.turn([toPartition.subscribe, 1, key, 'delta', 0, unlimited]);
  bench.turn([toPartition.subscribe, 2, key, 'snapshot', 0, unlimited]);
  bench.turn([toPartition.register, 3, 1, key, 'a', '{"id":"a"}']);
  const goOn = (): string[] => {
    bench.core.credit(0, { pushes: 1000, answers: 0 });
    return listBodies(bench.wait(200));
  };
  goOn();
  goOn();
  // The host has enough after the first of two.
  expect(listBodies(bench.turn([toPartition.deregister, 4, 1, key, 'a']))).toEqual(['"put":[],"remove":["a"]']);
  bench.turn([toPartition.layOver, 5, key, encodeOverlay({ isClosed: true, overrides: new Map() })]);
  expect([goOn(), goOn(), goOn()].flat()).toEqual([
    '"instances":[],"closed":true',
    '"put":[],"remove":[],"closed":true',
  ]);
});
