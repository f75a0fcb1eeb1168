import fc from 'fast-check';
import { expect, test } from 'vitest';

import { encodeInstance } from '../../src/protocol/instance-encoding.ts';
import type { Health, Instance } from '../../src/protocol/types.ts';
import { chooseVariant } from '../../src/push/variant.ts';
import { SlotTable } from '../../src/slots/slot-table.ts';
import { slotOf } from '../../src/slots/slot.ts';
import { encodeOverlay } from '../../src/store/service-overlay.ts';
import { fromFields, fromPartition, toPartition } from '../../src/workers/messages.ts';
import type { FromPartition } from '../../src/workers/messages.ts';
import { key, PartitionBench, unlimited } from '../support/partition-bench.ts';
import { PartitionSubscriber } from '../support/partition-subscriber.ts';

const healthy = chooseVariant('delta', { healthyOnly: true }).text;
const variants = [
  chooseVariant('delta', {}).text,
  healthy,
  chooseVariant('snapshot', { healthyOnly: true }).text,
  chooseVariant('delta', { healthyOnly: true, zone: 'b' }).text,
];

type Step =
  | { readonly kind: 'register'; readonly id: number; readonly health: Health; readonly zone: string }
  | { readonly kind: 'deregister'; readonly id: number }
  | { readonly kind: 'find'; readonly id: number; readonly health: Health }
  | { readonly kind: 'protect'; readonly share: number }
  | { readonly kind: 'close'; readonly isClosed: boolean }
  | { readonly kind: 'read'; readonly variant: number }
  | { readonly kind: 'wait' };

const id = fc.nat(4);
const health = fc.constantFrom<Health[]>('passing', 'warning', 'critical', 'critical');
const step: fc.Arbitrary<Step> = fc.oneof<fc.MaybeWeightedArbitrary<Step>[]>(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('register'), id, health, zone: fc.constantFrom('a', 'b') }) },
  fc.record({ kind: fc.constant('deregister'), id }),
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('find'), id, health }) },
  fc.record({ kind: fc.constant('protect'), share: fc.constantFrom(0, 0.3, 0.5, 1) }),
  fc.record({ kind: fc.constant('close'), isClosed: fc.boolean() }),
  fc.record({ kind: fc.constant('read'), variant: fc.nat(variants.length - 1) }),
  fc.record({ kind: fc.constant('wait') }),
);

const ranks: readonly Health[] = ['passing', 'warning', 'critical'];

/** What is registered, found and declared. */
class Model {
  readonly registered: Map<string, Instance> = new Map();
  readonly found: Map<string, Health> = new Map();
  share = 0;
  isClosed = false;

  /** As it is to show. */
  show(): Instance[] {
    if (this.isClosed) return [];
    const judged = [...this.registered].map(([name, { health: said, ...rest }]): Instance => {
      const worst =
        ranks[Math.max(ranks.indexOf(said ?? 'passing'), ranks.indexOf(this.found.get(name) ?? 'passing'))]!;
      return worst === 'passing' ? rest : { ...rest, health: worst };
    });
    const well = judged.filter((instance) => instance.health !== 'critical').length;
    if (well / judged.length >= this.share) return judged;
    return judged.map((instance) => (instance.health === 'critical' ? { ...instance, protected: true } : instance));
  }
}

function isWell(instance: Instance): boolean {
  return instance.health !== 'critical' || instance.protected === true;
}

function registrationOf(name: string, health: Health, zone = 'a'): string {
  return encodeInstance({ id: name, host: 'h', port: 1, health, zone }).fragment;
}

test('[HC7] while fewer instances are well than the threshold asks for, the critical ones count as well, whatever comes when', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const bench = new PartitionBench(SlotTable.even(1), {
        pushCharactersInFlightMax: 1_000_000,
        answerCharactersInFlightMax: 1_000_000,
        filtersPerServiceMax: 3,
      });
      const model = new Model();
      const subscribers = variants.map(() => new PartitionSubscriber());
      let request = 1;
      for (const [i, subscriber] of subscribers.entries()) subscriber.begin(bench, variants[i]!, (request += 1));
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
            const name = `i${each.id}`;
            const fragment = registrationOf(name, each.health, each.zone);
            model.registered.set(name, JSON.parse(fragment) as Instance);
            take(bench.turn([toPartition.register, request, 1, key, name, fragment]));
            break;
          }
          case 'deregister':
            model.registered.delete(`i${each.id}`);
            take(bench.turn([toPartition.deregister, request, 1, key, `i${each.id}`]));
            break;
          case 'find':
            model.found.set(`i${each.id}`, each.health);
            take(bench.turn([toPartition.judge, key, `i${each.id}`, each.health]));
            break;
          case 'protect':
            model.share = each.share;
            take(bench.turn([toPartition.protect, key, each.share]));
            break;
          case 'close':
            model.isClosed = each.isClosed;
            take(
              bench.turn([
                toPartition.layOver,
                request,
                key,
                encodeOverlay({ isClosed: each.isClosed, overrides: new Map() }),
              ]),
            );
            break;
          case 'read':
            // In between, so that what is on its way is told to others in the same push.
            new PartitionSubscriber().begin(bench, variants[each.variant]!, request);
            break;
          default:
            take(bench.wait(200));
        }
      }
      take(bench.wait(200));
      take(bench.wait(200));
      const shown = model.show();
      const filters = [
        (): boolean => true,
        isWell,
        isWell,
        (each: Instance): boolean => isWell(each) && each.zone === 'b',
      ];
      for (const [i, subscriber] of subscribers.entries()) {
        const expected = shown.filter((each) => filters[i]!(each)).map((each) => [each.id, each] as const);
        expect(new Map(subscriber.instances)).toEqual(new Map(expected));
        const last = new PartitionSubscriber();
        last.begin(bench, variants[i]!, (request += 1));
        expect(last.instances).toEqual(subscriber.instances);
      }
    }),
    { numRuns: 400 },
  );
});

function readState(records: readonly FromPartition[]): unknown[] {
  return records.flatMap((record) =>
    record[0] === fromPartition.state ? [JSON.parse(`{${record[fromFields.state.list]}}`)] : [],
  );
}

const healthyFilter = '{"healthyOnly":true}';
const isListed = [{ instances: [{ id: 'a', health: 'critical', protected: true }] }];

test('[HC7] [RE1] [RE2] a partition that is rebuilt protects as before, and tells again whom it protects', () => {
  const bench = new PartitionBench();
  bench.turn([toPartition.restoreProtection, key, 0.5]);
  bench.turn([toPartition.restore, 1, key, 'a', registrationOf('a', 'critical'), 7, 0]);
  bench.turn([toPartition.restored, 8]);
  expect(readState(bench.turn([toPartition.query, 9, key, healthyFilter, unlimited]))).toMatchObject(isListed);
  bench.turn([toPartition.restoreInterest, key, healthy, 5]);
  const pushes = bench.turn([toPartition.resumePushes, 10]).filter(([kind]) => kind === fromPartition.push);
  expect(pushes).toMatchObject([[fromPartition.push, key, healthy, 5, expect.any(Number), 1, 0, expect.any(String)]]);
  expect(JSON.parse(`{${String(pushes[0]![fromFields.push.body])}}`)).toMatchObject({ put: [{ id: 'a' }] });
});

test('[HC7] [SL3] a service that comes from another partition is protected there', () => {
  const giver = new PartitionBench();
  giver.turn([toPartition.register, 1, 1, key, 'a', registrationOf('a', 'critical')]);
  const [record] = giver.turn([toPartition.handOver, 2, [slotOf(key)]]);
  const { versionFloor, parcels, holders } = fromFields.handedOver;
  const handedOver = record as Extract<FromPartition, [typeof fromPartition.handedOver, ...unknown[]]>;
  const taker = new PartitionBench();
  taker.turn([toPartition.restoreProtection, key, 0.5]);
  taker.turn([toPartition.takeOver, 3, handedOver[versionFloor], handedOver[parcels], handedOver[holders]]);
  expect(readState(taker.turn([toPartition.query, 4, key, healthyFilter, unlimited]))).toMatchObject(isListed);
});
