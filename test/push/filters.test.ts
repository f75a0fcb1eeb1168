import { expect, test } from 'vitest';

import { encodeFilter, matchesFilter, readTraits } from '../../src/protocol/instance-filter.ts';
import { chooseVariant, readVariant } from '../../src/push/variant.ts';
import { WatchedService } from '../../src/push/watched-service.ts';
import type { Push } from '../../src/push/watched-service.ts';
import { textCodec } from '../../src/runtime/text-codec.ts';
import { ServiceStore } from '../../src/store/service-store.ts';

const key = 'public/DEFAULT/pay';
const limits = {
  instancesPerServiceMax: 100,
  claimsPerInstanceMax: 10,
  instancesPerPartitionMax: 100,
  instanceBytesMax: 100_000,
  serviceListBytesMax: 100_000,
};
const zone1 = chooseVariant('delta', { zone: 'z1' }).text;

/** One service that is watched, and what is pushed of it. */
class Bench {
  readonly #store = new ServiceStore(limits, textCodec, 1000);
  readonly #service = this.#store.obtain(key);
  readonly watched: WatchedService = new WatchedService(this.#service, () =>
    Array.from(this.#service.fragments(), readTraits),
  );
  #stamp = 0;

  put(id: string, content: { zone?: string; enabled?: boolean; weight?: number }): void {
    const fragment = JSON.stringify({ id, enabled: true, ...content });
    this.#stamp += 1;
    const outcome = this.#store.register(key, id, { fragment, owner: 1, stamp: this.#stamp }, 0);
    if (outcome.kind === 'changed') this.watched.noteChange(id, outcome.before);
  }

  remove(id: string): void {
    const outcome = this.#store.deregister(key, id, 1, Infinity, 0);
    if (outcome.kind === 'changed') this.watched.noteChange(id, outcome.before);
  }

  push(): Pick<Push, 'from' | 'to' | 'count' | 'body'>[] {
    const pushes: Pick<Push, 'from' | 'to' | 'count' | 'body'>[] = [];
    for (let push = this.watched.takePush(); push !== undefined; push = this.watched.takePush()) {
      const { from, to, count, body } = push;
      pushes.push({ from, to, count, body });
    }
    return pushes;
  }
}

test.each([
  [{}, true],
  [{ zone: 'z1' }, true],
  [{ zone: 'z2' }, false],
  [{ enabledOnly: true }, false],
  [{ enabledOnly: false }, true],
  [{ selector: { color: 'red' } }, true],
  [{ selector: { color: 'red', size: 'l' } }, false],
  [{ selector: { toString: 'x' } }, false],
  [{ zone: 'z1', selector: { color: 'blue' } }, false],
])('the filter %j lets the instance through: %j', (filter, expected) => {
  expect(matchesFilter({ id: 'a', enabled: false, zone: 'z1', metadata: { color: 'red' } }, filter)).toBe(expected);
});

test('filters that say the same have the same text, and the others another', () => {
  const text = encodeFilter({ zone: 'z', selector: { b: '2', a: '1' } });
  expect(encodeFilter({ selector: { a: '1', b: '2' }, enabledOnly: false, zone: 'z' })).toBe(text);
  expect(encodeFilter({ zone: 'z', selector: { a: '1' } })).not.toBe(text);
  expect(encodeFilter({ enabledOnly: false, selector: {} })).toBe('');
});

test('a variant is read as it was written', () => {
  for (const mode of ['delta', 'snapshot'] as const) {
    for (const filter of [{}, { zone: '{"z"' }, { enabledOnly: true, selector: { 'a{': '}' } }]) {
      const variant = chooseVariant(mode, filter);
      expect(readVariant(variant.text)).toEqual(variant);
    }
  }
});

test('[PU1] an instance that changes so that a filter lets it through no more is removed, and one that comes in is put', () => {
  const bench = new Bench();
  bench.put('a', { zone: 'z1' });
  bench.watched.addInterest(0, zone1);
  bench.put('a', { zone: 'z2' });
  bench.put('b', { zone: 'z1' });
  expect(bench.push()).toMatchObject([
    { from: 1001, to: 1003, count: 1, body: '"put":[{"id":"b","enabled":true,"zone":"z1"}],"remove":["a"]' },
  ]);
});

test('[PU1] nothing is pushed where nothing changed, and the next push chains to the last one of its variant', () => {
  const bench = new Bench();
  bench.watched.addInterest(0, 'delta');
  const { pushedVersion } = bench.watched.addInterest(0, zone1);
  bench.put('a', { zone: 'z2' });
  expect(bench.push()).toMatchObject([{ from: pushedVersion, to: 1001, count: 1 }]);
  bench.put('b', { zone: 'z1' });
  expect(bench.push()).toMatchObject([
    { from: 1001, to: 1002, count: 2 },
    { from: pushedVersion, to: 1002, count: 1 },
  ]);
});

test('[PU2] changes that cancel out in a view are not told there', () => {
  const bench = new Bench();
  bench.put('a', { zone: 'z1' });
  bench.watched.addInterest(0, zone1);
  bench.push();
  bench.put('a', { zone: 'z2' });
  bench.put('b', { zone: 'z1' });
  bench.put('a', { zone: 'z1' });
  bench.remove('b');
  expect(bench.push()).toEqual([]);
});

test('[PU1] one that was shown a filtered list inside a window is told when what it saw is taken back', () => {
  const bench = new Bench();
  bench.watched.addInterest(0, zone1);
  bench.put('a', { zone: 'z1' });
  bench.watched.noteSnapshotTaken(bench.watched.addInterest(1, zone1));
  bench.put('a', { zone: 'z2' });
  expect(bench.push()).toMatchObject([{ count: 0, body: '"put":[],"remove":["a"]' }]);
});

test('[PU3] variants with one filter share a view; one that nobody wants any more is forgotten', () => {
  const bench = new Bench();
  bench.watched.addInterest(0, zone1);
  bench.watched.addInterest(1, chooseVariant('snapshot', { zone: 'z1' }).text);
  expect(bench.watched.filteredCount).toBe(2);
  bench.put('a', { zone: 'z1' });
  expect(bench.push()).toMatchObject([
    { body: expect.stringContaining('"put"') as string },
    { body: expect.stringMatching(/^"instances":/) as string },
  ]);
  bench.watched.removeInterest(0, zone1);
  expect([bench.watched.filteredCount, bench.watched.isUnwanted]).toEqual([1, false]);
  bench.watched.removeInterest(1, chooseVariant('snapshot', { zone: 'z1' }).text);
  expect(bench.watched.isUnwanted).toBe(true);
});
