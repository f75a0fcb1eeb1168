import { expect, test } from 'vitest';

import type { ClientEffect } from '../../src/client/effects.ts';
import { readCachedList } from '../../src/client/list-cache.ts';
import type { CachedList } from '../../src/client/list-cache.ts';
import type { ClientOptions } from '../../src/client/options.ts';
import type { Instance, InstanceFilter } from '../../src/protocol/types.ts';
import { Scene, service } from './scene.ts';

const r1 = { secret: 's1', registry: 'r1', warming: false };
const r2 = { secret: 's2', registry: 'r2', warming: false };
/** The scene plays the cache by hand, too. */
const cache = {
  load: (): Promise<undefined> => Promise.resolve(undefined),
  save: (): Promise<void> => Promise.resolve(),
};

class CachingScene extends Scene {
  readonly asked: string[] = [];
  readonly saved: CachedList[] = [];
  readonly changes: string[] = [];

  constructor(options: Partial<ClientOptions> = {}) {
    super({ cache, confirmWithinMs: 5000, ...options });
    this.onEffect = (effect: ClientEffect): void => {
      if (effect.kind === 'loadList') this.asked.push(effect.service.service);
      if (effect.kind === 'saveList') this.saved.push(effect.list);
      if (effect.kind !== 'changed') return;
      for (const { before, after } of effect.difference) {
        this.changes.push(`${before === undefined ? '+' : after === undefined ? '-' : '~'}${(after ?? before)!.id}`);
      }
    };
  }

  subscribe(isStanding = false, filter: InstanceFilter = {}): number {
    return this.call({ kind: 'subscribe', service, mode: 'delta', filter, isStanding });
  }

  load(list: Partial<CachedList> | undefined): void {
    const cached = { service, filter: {}, registry: 'r1', version: 5, instances: instances('a', 'b', 'c') };
    this.dispatch({ kind: 'listLoaded', service, list: list === undefined ? undefined : { ...cached, ...list } });
  }

  get shown(): string[] {
    return this.filtered().instances.map(({ id }) => id);
  }

  get unconfirmed(): string[] {
    return this.filtered().unconfirmed.map(({ id }) => id);
  }
}

function instances(...ids: string[]): Instance[] {
  return ids.map((id) => ({ id, host: 'h', port: 1, weight: 1, enabled: true }));
}

test('without a registry a subscription resolves with the cached list after cacheAfterMs, stale and unconfirmed', () => {
  const scene = new CachingScene();
  const ticket = scene.subscribe();
  expect(scene.asked).toEqual(['one']);
  scene.load({});
  scene.advance(999);
  expect(scene.outcomes.has(ticket)).toBe(false);
  scene.advance(1);
  expect(scene.outcomes.get(ticket)).toMatchObject({ kind: 'resolved' });
  expect(scene.shown).toEqual(['a', 'b', 'c']);
  expect(scene.unconfirmed).toEqual(['a', 'b', 'c']);
  expect(scene.filtered().isStale).toBe(true);
  const next = scene.subscribe();
  expect(scene.outcomes.get(next)).toMatchObject({ kind: 'resolved' });
  expect(scene.asked).toEqual(['one']);
});

test('a cache that is slow is waited for', () => {
  const scene = new CachingScene();
  const ticket = scene.subscribe();
  scene.advance(2000);
  expect(scene.outcomes.has(ticket)).toBe(false);
  scene.load({});
  expect(scene.outcomes.get(ticket)).toMatchObject({ kind: 'resolved' });
});

test('without a list in it the call waits for the registry as without a cache', () => {
  const scene = new CachingScene();
  const ticket = scene.subscribe();
  scene.load(undefined);
  scene.advance(10_000);
  expect(scene.errorOf(ticket)).toMatchObject({ name: 'ConnectionLostError' });
});

test('one that stands resolves as soon as the cache is read, whether or not there is a list', () => {
  for (const list of [{}, undefined]) {
    const scene = new CachingScene();
    const ticket = scene.subscribe(true);
    expect(scene.outcomes.has(ticket)).toBe(false);
    scene.load(list);
    expect(scene.outcomes.get(ticket)).toMatchObject({ kind: 'resolved' });
    expect(scene.filtered().version).toBe(list === undefined ? undefined : 5);
  }
});

test('one that stands does not wait longer than cacheAfterMs for a cache, and takes others along that do not', () => {
  const scene = new CachingScene();
  const patient = scene.subscribe();
  const standing = scene.subscribe(true);
  scene.advance(1000);
  expect(scene.outcomes.get(standing)).toMatchObject({ kind: 'resolved' });
  expect(scene.outcomes.has(patient)).toBe(false);
});

test('[PU1] at the registry that the list is of only what changed since is asked for, and all is confirmed', () => {
  const scene = new CachingScene();
  const ticket = scene.subscribe();
  scene.load({});
  scene.connect({}, r1);
  const [request] = scene.takeRequests();
  expect(request?.params).toMatchObject({ version: 5, count: 3 });
  expect(scene.outcomes.has(ticket)).toBe(false);
  scene.answer(request!.id, { from: 5, version: 6, put: instances('d'), remove: ['a'] });
  expect(scene.outcomes.get(ticket)).toMatchObject({ kind: 'resolved' });
  expect(scene.shown).toEqual(['b', 'c', 'd']);
  expect(scene.unconfirmed).toEqual([]);
  expect(scene.filtered().isStale).toBe(false);
  scene.frame({
    jsonrpc: '2.0',
    method: 'service.changed',
    params: { ...service, from: 6, to: 7, put: [], remove: ['b'], count: 2 },
  });
  expect(scene.shown).toEqual(['c', 'd']);
});

test('[PU5] at another registry what the cache had stays, unconfirmed, until the time to confirm it is over', () => {
  const scene = new CachingScene();
  scene.subscribe(true);
  scene.load({});
  scene.connect({}, r2);
  const [request] = scene.takeRequests();
  expect(request?.params).not.toHaveProperty('version');
  scene.answer(request!.id, { version: 2, instances: instances('b') });
  expect(scene.shown).toEqual(['a', 'b', 'c']);
  expect(scene.unconfirmed).toEqual(['a', 'c']);
  scene.advance(4999);
  expect(scene.shown).toEqual(['a', 'b', 'c']);
  scene.advance(1);
  expect(scene.shown).toEqual(['b']);
  expect(scene.changes).toEqual(['+a', '+b', '+c', '-a', '-c']);
});

test('[PU5] a registry that has just started is told what the cache had, lets it stand, and then gives the list', () => {
  const scene = new CachingScene();
  const ticket = scene.subscribe();
  scene.load({});
  scene.connect({}, { ...r2, warming: true });
  const [request] = scene.takeRequests();
  expect(request?.params).toMatchObject({ version: 5, count: 3 });
  scene.answer(request!.id, { from: 5, version: 5, put: [], remove: [], warming: true });
  expect(scene.outcomes.get(ticket)).toMatchObject({ kind: 'resolved' });
  expect(scene.unconfirmed).toEqual(['a', 'b', 'c']);
  scene.reconnect({ ...r2, warming: true });
  scene.answer(scene.takeRequests()[0]!.id, { from: 5, version: 5, put: [], remove: [], warming: true });
  expect(scene.shown).toEqual(['a', 'b', 'c']);
  const snapshot = { ...service, count: 2, snapshot: true, to: 4, instances: instances('b', 'd') };
  scene.frame({ jsonrpc: '2.0', method: 'service.changed', params: snapshot });
  expect(scene.shown).toEqual(['b', 'd']);
  expect(scene.filtered().isStale).toBe(false);
  scene.advance(1000);
  expect(scene.saved).toMatchObject([{ registry: 'r2', version: 4, instances: instances('b', 'd') }]);
});

test('[PU5] a list that comes out of the cache while another registry answers is kept as well', () => {
  const scene = new CachingScene();
  scene.connect({}, { ...r2, warming: true });
  scene.subscribe();
  const [request] = scene.takeRequests();
  scene.load({});
  scene.answer(request!.id, { version: 2, instances: instances('b'), warming: true });
  expect(scene.shown).toEqual(['a', 'b', 'c']);
  expect(scene.unconfirmed).toEqual(['a', 'c']);
});

test('a list that comes too late changes nothing, and neither does one that was asked for with a narrower filter', () => {
  const scene = new CachingScene();
  scene.connect({}, r1);
  scene.subscribe();
  scene.answer(scene.takeRequests()[0]!.id, { version: 9, instances: instances('x') });
  scene.load({});
  expect(scene.shown).toEqual(['x']);
  const other = new CachingScene();
  other.subscribe();
  other.load({ filter: { zone: 'z' } });
  expect(other.filtered().version).toBeUndefined();
});

test('a list that holds more than is asked for is shown through the filter, and asked for anew', () => {
  const scene = new CachingScene();
  const filter = { zone: 'z' };
  scene.subscribe(true, filter);
  scene.load({ instances: [...instances('a'), { ...instances('b')[0]!, zone: 'z' }] });
  expect(scene.filtered(filter).instances.map(({ id }) => id)).toEqual(['b']);
  scene.connect({}, r1);
  expect(scene.takeRequests()[0]?.params).not.toHaveProperty('version');
});

test('what a registry told is saved after a second, changes of that second together, and at the end', () => {
  const scene = new CachingScene();
  scene.connect({}, r1);
  scene.subscribed(instances('a'));
  const push = (from: number, put: Instance[]): void => {
    const params = { ...service, from, to: from + 1, put, remove: [], count: from - 3 };
    scene.frame({ jsonrpc: '2.0', method: 'service.changed', params });
  };
  push(5, instances('b'));
  scene.advance(999);
  expect(scene.saved).toEqual([]);
  push(6, instances('c'));
  scene.advance(1);
  expect(scene.saved).toMatchObject([{ service, registry: 'r1', version: 7, instances: instances('a', 'b', 'c') }]);
  push(7, instances('d'));
  scene.dispatch({ kind: 'close' });
  expect(scene.saved.at(-1)).toMatchObject({ version: 8, instances: instances('a', 'b', 'c', 'd') });
});

test('a list of many instances is saved less often', () => {
  const scene = new CachingScene();
  scene.connect({}, r1);
  scene.subscribed(instances(...Array.from({ length: 30_000 }, (_, n) => `i${n}`)));
  scene.frame({
    jsonrpc: '2.0',
    method: 'service.changed',
    params: { ...service, from: 5, to: 6, put: [], remove: ['i0'], count: 29_999 },
  });
  scene.advance(2900);
  expect(scene.saved).toEqual([]);
  scene.advance(100);
  expect(scene.saved).toHaveLength(1);
});

test('what may be behind is not saved over what was known', () => {
  const scene = new CachingScene();
  scene.connect({}, r1);
  scene.subscribed(instances('a', 'b'));
  scene.cut();
  scene.advance(1000);
  scene.dispatch({ kind: 'close' });
  expect(scene.saved).toEqual([]);
});

test('a subscription that ends has its list saved', () => {
  const scene = new CachingScene();
  scene.connect({}, r1);
  scene.subscribed(instances('a'));
  scene.release(scene.filtered());
  expect(scene.saved).toHaveLength(1);
});

test('without a cache nothing is asked of one', () => {
  const scene = new Scene();
  const kinds = new Set<string>();
  scene.onEffect = ({ kind }) => kinds.add(kind);
  scene.connect({}, r1);
  scene.subscribed(instances('a'));
  scene.advance(5000);
  scene.dispatch({ kind: 'close' });
  expect([...kinds].filter((kind) => kind.endsWith('List'))).toEqual([]);
});

test.each([
  [undefined, 'no object'],
  [{ service: { ...service, service: 'two' } }, 'another service'],
  [{ filter: { zone: 1 } }, 'no filter'],
  [{ registry: 1 }, 'no registry'],
  [{ version: -1 }, 'no version'],
  [{ instances: [{ id: 'a' }] }, 'no instance'],
  [{ instances: [{ ...instances('a')[0], metadata: { k: 1 } }] }, 'no instance'],
])('what a cache gives is checked: %j', (change, reason) => {
  const list = { service, filter: {}, version: 1, instances: instances('a') };
  expect(readCachedList(list, service)).toEqual(list);
  expect(() => readCachedList(change === undefined ? undefined : { ...list, ...change }, service)).toThrow(reason);
});
