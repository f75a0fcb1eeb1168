import fc from 'fast-check';
import { expect, test } from 'vitest';

import { textCodec } from '../../src/runtime/text-codec.ts';
import type { EncodedText } from '../../src/store/fragment-bytes.ts';
import { ServiceStore } from '../../src/store/service-store.ts';
import type { ListPage, ListQuery, StoreLimits, StoreOutcome } from '../../src/store/service-store.ts';

const limits: StoreLimits = {
  instancesPerServiceMax: 100,
  claimsPerInstanceMax: 10,
  instancesPerPartitionMax: 1000,
  instanceBytesMax: 1e6,
  serviceListBytesMax: 1e5,
};
const key = 'public/DEFAULT/pay';

function encode(id: string, content: string): string {
  return JSON.stringify({ id, content });
}

function register(store: ServiceStore, id: string, content: string, owner: number, nowMicros = 0): StoreOutcome {
  return claim(store, { id, content, owner, stamp: owner }, nowMicros);
}

/** A registration whose number matters. */
function claim(
  store: ServiceStore,
  { id = 'a', content = 'A', owner, stamp }: { id?: string; content?: string; owner: number; stamp: number },
  nowMicros = 0,
): StoreOutcome {
  return store.register(key, id, { fragment: encode(id, content), owner, stamp }, nowMicros);
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
    told: [],
  });
  expect([...store.get(key)!.fragments()]).toEqual([encode('a', 'B')]);
});

test('[SE1] [SE7] the newest claim shows, and each session ends its own alone', () => {
  const store = createStore();
  register(store, 'a', 'A', 1, 2000);
  const told = [{ owner: 1, stamp: 1, state: 'hidden' }];
  expect(register(store, 'a', 'A', 2, 3000)).toMatchObject({ kind: 'unchanged', told });
  expect(store.deregister(key, 'a', 3, 9, 4000)).toMatchObject({ kind: 'refused', failure: { code: 'not_owner' } });
  const { version } = store.get(key)!;
  expect(store.deregister(key, 'a', 1, 9, 5000)).toMatchObject({ kind: 'unchanged', told: [] });
  expect(store.deregister(key, 'a', 1, 9, 5000)).toMatchObject({ kind: 'refused', failure: { code: 'not_owner' } });
  expect(store.get(key)!.version).toBe(version);
  expect(store.deregister(key, 'a', 2, 9, 6000)).toMatchObject({ kind: 'changed', before: encode('a', 'A') });
  expect(store.deregister(key, 'a', 2, 9, 7000)).toMatchObject({ kind: 'refused', failure: { code: 'not_found' } });
});

test('[SE7] when the claim that shows ends, the next newest does, as one change', () => {
  const store = createStore();
  register(store, 'a', 'A', 1);
  register(store, 'a', 'B', 2);
  register(store, 'a', 'C', 3);
  const told = [{ owner: 2, stamp: 2, state: 'shown' }];
  expect(store.deregister(key, 'a', 3, 9, 0)).toMatchObject({ kind: 'changed', before: encode('a', 'C'), told });
  expect([...store.get(key)!.fragments()]).toEqual([encode('a', 'B')]);
  expect(store.instanceCount).toBe(1);
});

test('[SE7] a registration that others overtook on their way comes behind them', () => {
  const store = createStore();
  claim(store, { owner: 2, stamp: 20, content: 'B' });
  const told = [{ owner: 1, stamp: 10, state: 'hidden' }];
  expect(claim(store, { owner: 1, stamp: 10 })).toMatchObject({ kind: 'unchanged', told });
  expect([...store.get(key)!.fragments()]).toEqual([encode('a', 'B')]);
});

test('[SE7] what a session asked for earlier takes nothing away that it registered later', () => {
  const store = createStore();
  claim(store, { owner: 1, stamp: 10 });
  expect(claim(store, { owner: 1, stamp: 5, content: 'old' }).kind).toBe('unchanged');
  expect(store.deregister(key, 'a', 1, 7, 0).kind).toBe('unchanged');
  claim(store, { owner: 2, stamp: 20 });
  expect(claim(store, { owner: 1, stamp: 5, content: 'old' })).toMatchObject({ kind: 'unchanged', told: [] });
  expect(store.deregister(key, 'a', 1, 7, 0).kind).toBe('unchanged');
  store.deregister(key, 'a', 2, 30, 0);
  expect([...store.get(key)!.fragments()]).toEqual([encode('a', 'A')]);
});

test('[LI1] [SE7] without room for another claim the oldest is given up, whatever bound is met', () => {
  const few = createStore({ claimsPerInstanceMax: 2 });
  register(few, 'a', 'A', 1);
  register(few, 'a', 'A', 2);
  expect(register(few, 'a', 'A', 3)).toMatchObject({
    told: [
      { owner: 2, state: 'hidden' },
      { owner: 1, stamp: 1, state: 'dropped', limit: 'claimsPerInstanceMax' },
    ],
  });
  expect(
    few
      .get(key)!
      .instances.claims('a')
      .map(({ owner }) => owner),
  ).toEqual([3, 2]);
  for (const [limit, store] of [
    ['instancesPerPartitionMax', createStore({ instancesPerPartitionMax: 1 })],
    ['instanceBytesMax', createStore({ instanceBytesMax: 10 })],
  ] as const) {
    register(store, 'a', 'A', 1);
    expect(register(store, 'a', 'A', 2)).toMatchObject({ told: [{ owner: 1, state: 'dropped', limit }] });
    expect(store.get(key)!.instances.claims('a')).toHaveLength(1);
  }
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
    kind: fc.constantFrom('register', 'register', 'register', 'deregister', 'forget', 'move'),
    service: fc.constantFrom('s1', 's2'),
    id: fc.constantFrom('a', 'b'),
    content: fc.constantFrom('1', '2'),
    owner: fc.integer({ min: 1, max: 4 }),
    // Requests of several hosts come in another order than that of their numbers.
    lateBy: fc.integer({ min: 0, max: 6 }),
    // The wall clock may stand still or go back.
    clockStep: fc.integer({ min: -50, max: 50 }),
  }),
  { maxLength: 80 },
);

interface ModelClaim {
  readonly owner: number;
  readonly stamp: number;
  readonly fragment: string;
}

/** The claims to one instance, newest first: as naive as can be. */
function sortClaims(claims: readonly ModelClaim[]): ModelClaim[] {
  return claims.toSorted((a, b) => b.stamp - a.stamp);
}

/** What sessions must have been told, by what they claimed before and after; `by`: whose claim is newest by its own doing needs not to be told. */
function describeTold(before: readonly ModelClaim[], after: readonly ModelClaim[], by: number): string[] {
  return after.flatMap(({ owner, stamp }, place) => {
    const placeBefore = before.findIndex((claim) => claim.owner === owner && claim.stamp === stamp);
    const wasShown = placeBefore === -1 ? owner === by : placeBefore === 0;
    return wasShown === (place === 0) ? [] : [`${owner} ${place === 0 ? 'shown' : 'hidden'}`];
  });
}

test('[SE1] [SE5] [SE7] any history ends in what a plain map says, also across moves and rebuilds, forgetting and a clock that goes back', () => {
  const claimsMax = 3;
  fc.assert(
    fc.property(operations, fc.boolean(), (history, isBackwards) => {
      let store = createStore({ claimsPerInstanceMax: claimsMax });
      const model = new Map<string, ModelClaim[]>();
      const versions = new Map<string, number>();
      let clock = 1000;
      for (const [step, { kind, service, id, content, owner, lateBy, clockStep }] of history.entries()) {
        clock += clockStep;
        // No two are equal.
        const stamp = (step - lateBy) * 100 + step;
        const fragment = encode(id, content);
        const name = `${service}/${id}`;
        const known = model.get(name) ?? [];
        const own = known.find((claim) => claim.owner === owner);
        const before = store.get(service)?.version ?? store.versionFloor;
        expect(before).toBeGreaterThanOrEqual(versions.get(service) ?? 0);
        let next = known;
        if (kind === 'register' || kind === 'deregister') {
          const others = known.filter((claim) => claim !== own);
          const isOvertaken = own !== undefined && own.stamp > stamp;
          if (!isOvertaken) next = kind === 'register' ? sortClaims([...others, { owner, stamp, fragment }]) : others;
          const dropped = next.slice(claimsMax);
          next = next.slice(0, claimsMax);
          const outcome =
            kind === 'register'
              ? store.register(service, id, { fragment, owner, stamp }, clock)
              : store.deregister(service, id, owner, stamp, clock);
          if (kind === 'deregister' && own === undefined) expect(outcome.kind).toBe('refused');
          else expect(outcome.kind).toBe(known[0]?.fragment === next[0]?.fragment ? 'unchanged' : 'changed');
          const told = 'told' in outcome ? outcome.told : [];
          expect(told.map(({ owner, state }) => `${owner} ${state}`).sort()).toEqual(
            [...describeTold(known, next, owner), ...dropped.map((claim) => `${claim.owner} dropped`)].sort(),
          );
          model.set(name, next);
        } else if (kind === 'forget') {
          const record = store.get(service);
          if (record?.instances.size === 0) store.forget(record);
        } else {
          store = rebuild(store, model, isBackwards);
        }
        const after = store.get(service)?.version ?? store.versionFloor;
        if (next[0]?.fragment !== known[0]?.fragment) expect(after).toBeGreaterThan(before);
        else if (kind !== 'move') expect(after).toBe(before);
        versions.set(service, after);
      }
      const stored = [...store.services()].flatMap((record) =>
        [...record.instances].map(([id, { fragment }]) => ({
          name: `${record.key}/${id}`,
          fragment,
          claims: sortClaims(record.instances.claims(id).map((claim) => ({ ...claim, fragment: '' }))),
        })),
      );
      const expected = [...model].filter(([, claims]) => claims.length > 0);
      expect(stored.map(({ name }) => name).sort()).toEqual(expected.map(([name]) => name).sort());
      for (const { name, fragment, claims } of stored) {
        expect(fragment).toBe(model.get(name)![0]!.fragment);
        expect(claims).toEqual(
          model.get(name)!.map(({ owner, stamp }, place) => ({ owner, stamp, isShown: place === 0, fragment: '' })),
        );
      }
      expect(store.instanceCount).toBe(expected.length);
    }),
  );
});

/** A store that is given what sessions hold, in whatever order. */
function rebuild(
  store: ServiceStore,
  model: ReadonlyMap<string, readonly ModelClaim[]>,
  isBackwards: boolean,
): ServiceStore {
  const floor = Math.max(store.versionFloor, ...[...store.services()].map(({ version }) => version)) + 1;
  const next = createStore({ claimsPerInstanceMax: 3 }, floor);
  const claims = [...model].flatMap(([name, claims]) => claims.map((claim) => ({ name, claim })));
  for (const [at, { name, claim }] of (isBackwards ? claims.toReversed() : claims).entries()) {
    const [service = '', id = ''] = name.split('/');
    const record = next.obtain(service);
    if (at % 2 === 0) expect(next.restore(record, id, claim)).toEqual([]);
    else expect(next.restoreEncoded(record, lay(claim.fragment), claim)).toBe(id);
  }
  return next;
}

/** A text among other bytes. */
function lay(text: string): EncodedText {
  const length = Buffer.byteLength(text);
  return { bytes: Buffer.from(`"${text}"`), start: 1, end: 1 + length, isAscii: length === text.length };
}

test('an id is read from the bytes of an instance as it is from its text', () => {
  const characters = fc.constantFrom('a', '"', '\\', '\n', '\u007f', 'é', '\u{1f600}', '\ud800');
  fc.assert(
    fc.property(fc.string({ minLength: 1, maxLength: 6, unit: characters }), fc.boolean(), (id, isPlain) => {
      const fragment = JSON.stringify({ id, note: isPlain ? '"' : 'é' });
      const store = createStore({}, 0);
      expect(store.restoreEncoded(store.obtain('s'), lay(fragment), { owner: 1, stamp: 1 })).toBe(id);
      expect([...store.obtain('s').fragments()]).toEqual([fragment]);
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
      fc.constantFrom(1, 2, Infinity),
      (entries, limit, namespace, prefix, looksPerTurn) => {
        const store = createStore({}, 0);
        for (const { key: of } of entries)
          store.register(of, 'i', { fragment: encode('i', 'F'), owner: 1, stamp: 1 }, 0);
        for (const { key: of, goes } of entries) if (goes) store.deregister(of, 'i', 1, Infinity, 0);
        store.obtain('n/g/without-instances');
        const listed: string[] = [];
        for (let after = ''; ;) {
          const page = readPage(store, { namespace, prefix, after, limit }, looksPerTurn);
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
  expect(register('a', 300, 1, 7)).toMatchObject({
    ...refused,
    stands: { fragment: fragmentOf('a', 200), stamp: 7 },
  });
  expect(store.get('n/g/s')?.instances.read(store.get('n/g/s')!.instances.find('a'))).toMatchObject({ stamp: 7 });
  // Another's stays the other's.
  expect(register('a', 300, 2, 8)).toEqual({ kind: 'refused', failure: expect.objectContaining(refused.failure) });
  expect(register('a', 210, 1, 9)).toMatchObject({ kind: 'changed' });
  expect(register('b', 10)).toMatchObject({ kind: 'changed' });
  expect(register('c', 150)).toMatchObject({ kind: 'changed' });
  // A rebuild also brings what was under way, and takes up to twice as much.
  for (let i = 0; i < 20; i++) {
    const instance = { fragment: fragmentOf(`r${i}`, 40), owner: 3, stamp: 100 + i };
    const [loser] = store.restore(store.obtain('n/g/s'), `r${i}`, instance);
    const { bytes } = store.get('n/g/s')!.instances;
    expect(bytes).toBeLessThanOrEqual(2000);
    if (loser !== undefined) expect(loser).toMatchObject({ owner: 3, stamp: 100 + i, state: 'dropped' });
  }
  const service = store.get('n/g/s')!;
  expect(service.instances.bytes).toBe(Buffer.byteLength([...service.fragments()].join(',')) + 1);
  expect(service.instances.bytes).toBeGreaterThan(1800);
  // Not while they go.
  const owners = Array.from(service.instances, ([id, { owner }]) => ({ id, owner }));
  for (const { id, owner } of owners) store.deregister('n/g/s', id, owner, Infinity, 0);
  expect(service.instances.bytes).toBe(0);
});

test('[LI1] [SE7] whose newer claim is refused keeps the one that another hides, where it was', () => {
  const store = createStore({ serviceListBytesMax: 1000 });
  const register = (owner: number, stamp: number, length: number): StoreOutcome =>
    store.register(key, 'a', { fragment: fragmentOf('a', length), owner, stamp }, 0);
  register(1, 1, 10);
  register(2, 2, 20);
  expect(register(1, 3, 600)).toMatchObject({
    kind: 'refused',
    failure: { limit: 'serviceListBytesMax' },
    stands: { fragment: fragmentOf('a', 10), stamp: 1 },
  });
  expect(store.get(key)!.instances.claims('a')).toMatchObject([
    { owner: 2, stamp: 2, isShown: true },
    { owner: 1, stamp: 1, isShown: false },
  ]);
});

/** A page that is made over turns in each of which so many keys may be looked at. */
function readPage(
  store: ServiceStore,
  query: ListQuery,
  looksPerTurn = Infinity,
): Pick<ListPage, 'services'> & { looked: number } {
  const page = store.beginPage(query);
  let looked = 0;
  while (page.next !== undefined) {
    let left = looksPerTurn;
    store.fillPage(page, query, () => {
      if (left === 0) return false;
      left -= 1;
      looked += 1;
      return true;
    });
  }
  return { services: page.services, looked };
}

test('a page costs its length, not the number of services', () => {
  const store = createStore({}, 0);
  for (let i = 0; i < 5000; i++) {
    store.register(`n/g/svc-${String(i).padStart(4, '0')}`, 'i', { fragment: encode('i', 'F'), owner: 1, stamp: 1 }, 0);
  }
  for (const prefix of ['', 'svc-2', 'svc-4999', 'zzz']) {
    const { looked, services } = readPage(store, { namespace: 'n', prefix, after: '', limit: 10 });
    expect(looked).toBeLessThanOrEqual(services.length + 3);
  }
});
