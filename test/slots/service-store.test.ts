import fc from 'fast-check';
import { expect, test } from 'vitest';

import { ServiceStore } from '../../src/slots/service-store.ts';
import type { RegisterOutcome, StoreLimits } from '../../src/slots/service-store.ts';
import { textCodec } from '../../src/workers/text-codec.ts';

const limits: StoreLimits = {
  instancesPerServiceMax: 100,
  instancesPerPartitionMax: 1000,
  instanceBytesMax: 1e6,
  serviceListBytesMax: 1e5,
};
const key = 'public/DEFAULT/pay';

function encode(id: string, content: string): string {
  return JSON.stringify({ id, content });
}

function register(store: ServiceStore, id: string, content: string, owner: number, nowMicros = 0): RegisterOutcome {
  return store.register(key, id, { fragment: encode(id, content), owner, stamp: 1 }, nowMicros);
}

function createStore(bounds: Partial<StoreLimits> = {}, versionFloor = 1000): ServiceStore {
  return new ServiceStore({ ...limits, ...bounds }, textCodec, versionFloor);
}

test('[SE5] registering what is already there changes nothing and raises no version', () => {
  const store = createStore();
  register(store, 'a', 'A', 1, 2000);
  const version = store.get(key)?.version;
  expect(register(store, 'a', 'A', 1, 3000).kind).toBe('unchanged');
  expect(store.get(key)?.version).toBe(version);
});

test('[SE5] registering a known id with new content replaces, never adds', () => {
  const store = createStore();
  register(store, 'a', 'A', 1, 2000);
  expect(register(store, 'a', 'B', 1, 3000)).toMatchObject({
    kind: 'changed',
    before: encode('a', 'A'),
    takeover: undefined,
  });
  expect([...store.get(key)!.fragments()]).toEqual([encode('a', 'B')]);
});

test('[SE1] the session that registered last owns, and the one before is named', () => {
  const store = createStore();
  register(store, 'a', 'A', 1, 2000);
  expect(register(store, 'a', 'A', 2, 3000)).toMatchObject({ kind: 'unchanged', takeover: { owner: 1, stamp: 1 } });
  expect(store.deregister(key, 'a', 1, 4000)).toMatchObject({ kind: 'refused', failure: { code: 'not_owner' } });
  expect(store.deregister(key, 'a', 2, 5000).kind).toBe('removed');
  expect(store.deregister(key, 'a', 2, 6000)).toMatchObject({ kind: 'refused', failure: { code: 'not_found' } });
});

test('[LI1] a full service and a full partition refuse new instances, not changes of known ones', () => {
  const store = createStore({ instancesPerServiceMax: 2, instancesPerPartitionMax: 3 });
  register(store, 'a', 'A', 1);
  register(store, 'b', 'B', 1);
  expect(register(store, 'c', 'C', 1)).toMatchObject({
    kind: 'refused',
    failure: { limit: 'instancesPerServiceMax', max: 2 },
  });
  expect(register(store, 'b', 'B2', 1).kind).toBe('changed');
  store.register('public/DEFAULT/other', 'x', { fragment: encode('x', 'X'), owner: 1, stamp: 1 }, 0);
  const refused = store.register('public/DEFAULT/other', 'y', { fragment: encode('y', 'Y'), owner: 1, stamp: 1 }, 0);
  expect(refused).toMatchObject({ kind: 'refused', failure: { limit: 'instancesPerPartitionMax', max: 3 } });
  expect(store.instanceCount).toBe(3);
});

test('[LI1] a partition whose bytes are used up refuses new instances until there is room, not changes of known ones', () => {
  const store = createStore({ instanceBytesMax: 100 });
  register(store, 'a', 'A'.repeat(100), 1);
  const refused = store.register('public/DEFAULT/other', 'y', { fragment: encode('y', 'Y'), owner: 1, stamp: 1 }, 0);
  expect(refused).toMatchObject({ kind: 'refused', failure: { limit: 'instanceBytesMax', max: 100 } });
  expect(store.serviceCount).toBe(1);
  expect(register(store, 'a', 'B', 1).kind).toBe('changed');
  expect(register(store, 'b', 'B', 1).kind).toBe('changed');
});

test('[LI1] a refused first instance leaves no empty service behind', () => {
  const store = createStore({ instancesPerServiceMax: 2, instancesPerPartitionMax: 0 });
  register(store, 'a', 'A', 1);
  expect(store.serviceCount).toBe(0);
});

const operations = fc.array(
  fc.record({
    kind: fc.constantFrom('register', 'register', 'deregister', 'forget'),
    service: fc.constantFrom('s1', 's2'),
    id: fc.constantFrom('a', 'b', 'c'),
    content: fc.constantFrom('1', '2'),
    owner: fc.integer({ min: 1, max: 3 }),
    // The wall clock may stand still or go back.
    clockStep: fc.integer({ min: -50, max: 50 }),
  }),
  { maxLength: 80 },
);

test('[SE1] [SE5] any history ends in what a plain map says, and versions only rise, also across forgetting and a clock that goes back', () => {
  fc.assert(
    fc.property(operations, (history) => {
      const store = createStore();
      const model = new Map<string, { fragment: string; owner: number }>();
      const versions = new Map<string, number>();
      let clock = 1000;
      for (const { kind, service, id, content, owner, clockStep } of history) {
        clock += clockStep;
        const fragment = encode(id, content);
        const name = `${service}/${id}`;
        const known = model.get(name);
        const before = store.get(service)?.version ?? store.versionFloor;
        expect(before).toBeGreaterThanOrEqual(versions.get(service) ?? 0);
        if (kind === 'register') {
          const outcome = store.register(service, id, { fragment, owner, stamp: 1 }, clock);
          expect(outcome.kind).toBe(known?.fragment === fragment ? 'unchanged' : 'changed');
          model.set(name, { fragment, owner });
        } else if (kind === 'deregister') {
          const outcome = store.deregister(service, id, owner, clock);
          expect(outcome.kind).toBe(known?.owner === owner ? 'removed' : 'refused');
          if (known?.owner === owner) model.delete(name);
        } else {
          const record = store.get(service);
          if (record?.instances.size === 0) store.forget(record);
        }
        const after = store.get(service)?.version ?? store.versionFloor;
        const hasChanged = model.get(name)?.fragment !== known?.fragment;
        if (hasChanged) expect(after).toBeGreaterThan(before);
        versions.set(service, after);
      }
      const stored = [...store.services()].flatMap((record) =>
        [...record.instances].map(([id, { fragment, owner }]) => [`${record.key}/${id}`, { fragment, owner }] as const),
      );
      expect(new Map(stored)).toEqual(model);
      expect(store.instanceCount).toBe(model.size);
    }),
  );
});

test('a list has each service with instances once, in the order of bytes, page by page, whatever came and went', () => {
  const name = fc.string({
    minLength: 1,
    maxLength: 4,
    unit: fc.constantFrom('a', 'b', '/', 'é', '\uffee', '\u{1f600}'),
  });
  const key = fc
    .tuple(fc.constantFrom('n', 'n-', 'other'), fc.constantFrom('g', 'g-', 'h'), name)
    .map((parts) => parts.join('/'));
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.record({ key, goes: fc.boolean() }), { selector: (entry) => entry.key, maxLength: 60 }),
      fc.integer({ min: 1, max: 7 }),
      fc.constantFrom('', 'n', 'none'),
      fc.constantFrom('', 'a', 'ab', '\uffee', '\u{1f600}'),
      (entries, limit, namespace, prefix) => {
        const store = createStore({}, 0);
        for (const { key: of } of entries)
          store.register(of, 'i', { fragment: encode('i', 'F'), owner: 1, stamp: 1 }, 0);
        for (const { key: of, goes } of entries) if (goes) store.deregister(of, 'i', 1, 0);
        store.obtain('n/g/without-instances');
        const listed: string[] = [];
        for (let after = ''; ;) {
          const page = store.list({ namespace, prefix, after, limit });
          expect(page.services.length).toBeLessThanOrEqual(limit);
          listed.push(...page.services.map((entry) => entry.key));
          const last = page.services.at(-1);
          if (last === undefined) break;
          after = last.key;
        }
        const expected = entries
          .filter(({ goes }) => !goes)
          .map(({ key: of }) => of)
          .filter((of) => namespace === '' || of.startsWith(`${namespace}/`))
          .filter((of) => of.slice(of.indexOf('/', of.indexOf('/') + 1) + 1).startsWith(prefix));
        expect(listed).toEqual(expected.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))));
      },
    ),
  );
});

function fragmentOf(id: string, length: number): string {
  return JSON.stringify({ id, m: 'é'.repeat(length) });
}

test('[LI1] the list of a service stays within its bound, whatever is registered, changed and restored', () => {
  const store = createStore({ serviceListBytesMax: 1000 });
  const register = (id: string, length: number, owner = 1, stamp = 1): ReturnType<ServiceStore['register']> =>
    store.register('n/g/s', id, { fragment: fragmentOf(id, length), owner, stamp }, 0);
  const refused = { kind: 'refused', failure: { code: 'limit_exceeded', limit: 'serviceListBytesMax', max: 1000 } };
  expect(register('a', 200)).toMatchObject({ kind: 'changed' });
  expect(register('b', 200)).toMatchObject({ kind: 'changed' });
  expect(register('c', 200)).toMatchObject(refused);
  // One that is there may change to as much or less, or grow as long as there is room; else it stays as it is, under the stamp of the refused one.
  expect(register('a', 300, 1, 7)).toMatchObject({ ...refused, stands: fragmentOf('a', 200) });
  expect(store.get('n/g/s')?.instances.read(store.get('n/g/s')!.instances.find('a'))).toMatchObject({ stamp: 7 });
  // Another's stays the other's.
  expect(register('a', 300, 2, 8)).toEqual({ kind: 'refused', failure: expect.objectContaining(refused.failure) });
  expect(register('a', 210, 1, 9)).toMatchObject({ kind: 'changed' });
  expect(register('b', 10)).toMatchObject({ kind: 'changed' });
  expect(register('c', 150)).toMatchObject({ kind: 'changed' });
  // A rebuild also brings what was under way, and takes up to twice as much.
  for (let i = 0; i < 20; i++) {
    const instance = { fragment: fragmentOf(`r${i}`, 40), owner: 3, stamp: 100 + i };
    const loser = store.restore('n/g/s', `r${i}`, instance);
    const { bytes } = store.get('n/g/s')!.instances;
    expect(bytes).toBeLessThanOrEqual(2000);
    if (loser !== undefined) expect(loser).toEqual({ owner: 3, stamp: 100 + i });
  }
  const service = store.get('n/g/s')!;
  expect(service.instances.bytes).toBe(Buffer.byteLength([...service.fragments()].join(',')) + 1);
  expect(service.instances.bytes).toBeGreaterThan(1800);
  // Not while they go.
  const owners = Array.from(service.instances, ([id, { owner }]) => ({ id, owner }));
  for (const { id, owner } of owners) store.deregister('n/g/s', id, owner, 0);
  expect(service.instances.bytes).toBe(0);
});

test('a page costs its length, not the number of services', () => {
  const store = createStore({}, 0);
  for (let i = 0; i < 5000; i++) {
    store.register(`n/g/svc-${String(i).padStart(4, '0')}`, 'i', { fragment: encode('i', 'F'), owner: 1, stamp: 1 }, 0);
  }
  for (const prefix of ['', 'svc-2', 'svc-4999', 'zzz']) {
    const { looked, services } = store.list({ namespace: 'n', prefix, after: '', limit: 10 });
    expect(looked).toBeLessThanOrEqual(services.length + 3);
  }
});
