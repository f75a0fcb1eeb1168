import assert from 'node:assert/strict';

import { expect, test } from 'vitest';

import type { ClientEffect } from '../../src/client/effects.ts';
import { KeyWatch } from '../../src/client/key-watch.ts';
import { LockClaim } from '../../src/client/lock-entries.ts';
import type { Watcher, WatchTarget } from '../../src/client/watch-entries.ts';
import { Scene } from './scene.ts';
import type { Request } from './scene.ts';

const resumed = { secret: 'x', registry: 'r', resumed: { registrations: 0, digest: '0000000000000000' } };

function entry(key: string, version: number, held: object = {}): object {
  return { key, value: '', flags: '0', createVersion: 1, modifyVersion: version, lockIndex: 0, ...held };
}

/** A scene that notes what watchers are told: the keys and versions of changes, or `resync`. */
class WatchScene extends Scene {
  readonly told: { readonly watcher: Watcher; readonly news: string }[] = [];

  constructor() {
    super();
    this.onEffect = (effect: ClientEffect) => {
      if (effect.kind !== 'keysChanged') return;
      const { version, changes } = effect.news;
      const words = changes?.map((change) => `${change.key}@${change.modifyVersion}${'deleted' in change ? '-' : ''}`);
      this.told.push({ watcher: effect.watcher, news: `${words?.join() ?? 'resync'} through ${version}` });
    };
    this.connect({}, { secret: 'x', registry: 'r' });
  }

  watch(target: WatchTarget, version?: number): number {
    return this.call({ kind: 'watchKeys', target, version });
  }

  watcherOf(ticket: number): Watcher {
    const outcome = this.outcomes.get(ticket);
    if (outcome?.kind !== 'resolved' || outcome.settlement.kind !== 'watching') throw new Error('it has not begun');
    return outcome.settlement.watcher;
  }

  /** The only request that was made. */
  only(method: string): Request {
    const requests = this.takeRequests();
    assert.deepEqual(
      requests.map((request) => request.method),
      [method],
    );
    return requests[0]!;
  }

  changed(params: object): void {
    this.frame({ jsonrpc: '2.0', method: 'kv.changed', params });
  }

  takeTold(): string[] {
    return this.told.splice(0).map(({ news }) => news);
  }
}

test('a watch tells each change once, and goes on after a reconnect from what was told', () => {
  const scene = new WatchScene();
  const ticket = scene.watch({ prefix: 'a/' });
  const first = scene.only('kv.watch');
  expect(first.params).toEqual({ prefix: 'a/' });
  scene.answer(first.id, { version: 10 });
  const watcher = scene.watcherOf(ticket);
  expect(watcher.version).toBe(10);
  scene.changed({
    prefix: 'a/',
    version: 12,
    changes: [entry('a/x', 11), { key: 'a/y', deleted: true, modifyVersion: 12 }],
  });
  scene.changed({ prefix: 'a/', version: 13, changes: [] });
  scene.changed({ prefix: 'b/', version: 14, changes: [entry('b/x', 14)] });
  expect(scene.takeTold()).toEqual(['a/x@11,a/y@12- through 12']);
  expect(watcher.version).toBe(13);
  scene.reconnect(resumed);
  const again = scene.only('kv.watch');
  expect(again.params).toEqual({ prefix: 'a/', version: 13 });
  // Not before the answer is there: it was of the watch before.
  scene.changed({ prefix: 'a/', version: 99, changes: [entry('a/x', 99)] });
  scene.answer(again.id, { version: 15, changes: [entry('a/x', 15)] });
  scene.changed({ prefix: 'a/', version: 17, resync: true });
  expect(scene.takeTold()).toEqual(['a/x@15 through 15', 'resync through 17']);
  scene.reconnect(resumed);
  scene.answer(scene.only('kv.watch').id, { version: 20, resync: true });
  expect(scene.takeTold()).toEqual(['resync through 20']);
  scene.reconnect({ secret: 'y', registry: 'another' });
  const foreign = scene.only('kv.watch');
  expect(foreign.params).toEqual({ prefix: 'a/' });
  scene.answer(foreign.id, { version: 3 });
  expect(scene.takeTold()).toEqual(['resync through 3']);
  scene.dispatch({ kind: 'unwatchKeys', watcher });
  expect(scene.only('kv.unwatch').params).toEqual({ prefix: 'a/' });
  expect(scene.state.tables.watches.size).toBe(0);
});

test('those who watch the same share a watch, and each is told what it does not know', () => {
  const scene = new WatchScene();
  const first = scene.watch({ key: 'k' });
  scene.answer(scene.only('kv.watch').id, { version: 10 });
  // Nothing has to be asked for one that knows as much.
  const second = scene.watch({ key: 'k' });
  expect(scene.watcherOf(second).version).toBe(10);
  const early = scene.watch({ key: 'k' }, 5);
  const request = scene.only('kv.watch');
  expect(request.params).toEqual({ key: 'k', version: 5 });
  // One that comes while that is on its way, and knows still less, waits for another.
  const earlier = scene.watch({ key: 'k' }, 3);
  scene.answer(request.id, { version: 12, changes: [entry('k', 7), entry('k', 12)] });
  expect(scene.outcomes.has(earlier)).toBe(false);
  expect(scene.told.map(({ watcher, news }) => [watcher === scene.watcherOf(early), news])).toEqual([
    [false, 'k@12 through 12'],
    [false, 'k@12 through 12'],
    [true, 'k@7,k@12 through 12'],
  ]);
  scene.told.length = 0;
  const last = scene.only('kv.watch');
  expect(last.params).toEqual({ key: 'k', version: 3 });
  scene.answer(last.id, { version: 12, changes: [entry('k', 4), entry('k', 7), entry('k', 12)] });
  expect(scene.told.map(({ watcher, news }) => [watcher === scene.watcherOf(earlier), news])).toEqual([
    [true, 'k@4,k@7,k@12 through 12'],
  ]);
  for (const ticket of [second, early, earlier]) {
    scene.dispatch({ kind: 'unwatchKeys', watcher: scene.watcherOf(ticket) });
  }
  expect(scene.takeRequests()).toEqual([]);
  scene.dispatch({ kind: 'unwatchKeys', watcher: scene.watcherOf(first) });
  scene.only('kv.unwatch');
});

test('a watch that is refused for good fails the call; one that there was is tried again', () => {
  const scene = new WatchScene();
  const refused = scene.watch({ key: 'k' });
  scene.refuse(scene.only('kv.watch').id, 'limit_exceeded', { limit: 'keyWatchesMax', max: 1 });
  expect(scene.errorOf(refused)).toMatchObject({ code: 'limit_exceeded', limit: 'keyWatchesMax' });
  expect(scene.state.tables.watches.size).toBe(0);
  const waiting = scene.watch({ key: 'k' });
  scene.refuse(scene.only('kv.watch').id, 'storage_unavailable', { retryAfterMs: 100 });
  scene.advance(200);
  scene.answer(scene.only('kv.watch').id, { version: 10 });
  expect(scene.watcherOf(waiting).version).toBe(10);
  scene.reconnect(resumed);
  scene.refuse(scene.only('kv.watch').id, 'limit_exceeded', { limit: 'keyWatchesMax', max: 1 });
  expect(scene.notices.at(-1)).toMatchObject({ kind: 'refused', what: { kind: 'watch', key: 'k' } });
  scene.advance(10_000);
  expect(scene.takeRequests().map(({ method }) => method)).toContain('kv.watch');
  const given = scene.watch({ prefix: 'p' });
  const { id } = scene.only('kv.watch');
  scene.dispatch({ kind: 'abort', ticket: given });
  scene.answer(id, { version: 11 });
  expect(scene.only('kv.unwatch').params).toEqual({ prefix: 'p' });
});

function claimOf(): LockClaim {
  const terms = { value: '', flags: '0', onEnd: 'release', lockDelayMs: undefined, lostAfterMs: undefined } as const;
  return new LockClaim({ key: 'k', ...terms, isPatient: true });
}

test('who waits for a lock is told when it is free, and who holds it when it is not its own any more', () => {
  const scene = new WatchScene();
  const losses: string[] = [];
  scene.onEffect = (effect) => {
    if (effect.kind === 'lockLost') losses.push(effect.cause);
  };
  const ticket = scene.call({ kind: 'lock', claim: claimOf(), timeoutMs: 600_000 });
  const refusal = { applied: false, version: 1, reason: 'held' };
  scene.answer(scene.only('kv.put').id, refusal);
  const watch = scene.only('kv.watch');
  expect(watch.params).toEqual({ key: 'k' });
  scene.answer(watch.id, { version: 10 });
  // It may have been released before the watch began.
  scene.advance(50);
  scene.answer(scene.only('kv.put').id, refusal);
  scene.advance(4999);
  expect(scene.takeRequests()).toEqual([]);
  scene.changed({ key: 'k', version: 11, changes: [entry('k', 11, { holder: 'other', fence: 11 })] });
  scene.advance(50);
  expect(scene.takeRequests()).toEqual([]);
  scene.changed({ key: 'k', version: 12, changes: [entry('k', 12)] });
  scene.advance(50);
  const meta = { key: 'k', flags: '0', createVersion: 1, modifyVersion: 13, lockIndex: 1, holder: 'me', fence: 13 };
  scene.answer(scene.only('kv.put').id, { applied: true, version: 13, entry: meta });
  expect(scene.outcomes.get(ticket)).toMatchObject({ settlement: { kind: 'locked', fence: 13 } });
  // What was before, and what others write to it, is no loss.
  scene.changed({ key: 'k', version: 13, changes: [entry('k', 13, { holder: 'me', fence: 13 })] });
  scene.changed({ key: 'k', version: 14, changes: [entry('k', 14, { holder: 'me', fence: 13 })] });
  expect(losses).toEqual([]);
  // Some of it is not known.
  scene.changed({ key: 'k', version: 15, resync: true });
  scene.answer(scene.only('kv.get').id, { version: 15, entry: entry('k', 14, { holder: 'me', fence: 13 }) });
  expect(losses).toEqual([]);
  scene.changed({ key: 'k', version: 16, changes: [{ key: 'k', deleted: true, modifyVersion: 16 }] });
  expect(losses).toEqual(['released']);
  scene.only('kv.unwatch');
});

const acquired = {
  applied: true,
  version: 13,
  entry: { key: 'k', flags: '0', createVersion: 1, modifyVersion: 13, lockIndex: 1, holder: 'me', fence: 13 },
};

test('a key is watched as soon as it is held, from the version at which it is', () => {
  const scene = new WatchScene();
  const losses: string[] = [];
  scene.onEffect = (effect) => {
    if (effect.kind === 'lockLost') losses.push(effect.cause);
  };
  scene.call({ kind: 'lock', claim: claimOf() });
  scene.answer(scene.only('kv.put').id, acquired);
  const first = scene.only('kv.watch');
  expect(first.params).toEqual({ key: 'k', version: 13 });
  scene.answer(first.id, { version: 14, changes: [entry('k', 14, { holder: 'me', fence: 13 })] });
  scene.advance(5000);
  const probes = scene.takeRequests().filter(({ method }) => method.startsWith('kv.'));
  expect(probes).toEqual([]);
  scene.changed({ key: 'k', version: 15, changes: [{ key: 'k', deleted: true, modifyVersion: 15 }] });
  expect(losses).toEqual(['released']);
  scene.only('kv.unwatch');

  // Deleted before the watch has begun.
  scene.call({ kind: 'lock', claim: claimOf() });
  scene.answer(scene.only('kv.put').id, acquired);
  scene.answer(scene.only('kv.watch').id, {
    version: 14,
    changes: [{ key: 'k', deleted: true, modifyVersion: 14 }],
  });
  expect(losses).toEqual(['released', 'released']);
  scene.only('kv.unwatch');
});

test('a loss that is told before the answer that grants the lock is not missed', () => {
  const scene = new WatchScene();
  const losses: string[] = [];
  scene.onEffect = (effect) => {
    if (effect.kind === 'lockLost') losses.push(effect.cause);
  };
  scene.call({ kind: 'lock', claim: claimOf(), timeoutMs: 600_000 });
  scene.answer(scene.only('kv.put').id, { applied: false, version: 1, reason: 'held' });
  scene.answer(scene.only('kv.watch').id, { version: 10 });
  scene.advance(50);
  const { id } = scene.only('kv.put');
  scene.changed({ key: 'k', version: 14, changes: [{ key: 'k', deleted: true, modifyVersion: 14 }] });
  scene.answer(id, acquired);
  scene.answer(scene.only('kv.get').id, { version: 14 });
  expect(losses).toEqual(['released']);
});

test('a lock of a key that is watched already is told without another watch', () => {
  const scene = new WatchScene();
  const losses: string[] = [];
  scene.watch({ key: 'k' });
  scene.answer(scene.only('kv.watch').id, { version: 10 });
  scene.onEffect = (effect) => {
    if (effect.kind === 'lockLost') losses.push(effect.cause);
  };
  scene.call({ kind: 'lock', claim: claimOf() });
  scene.answer(scene.only('kv.put').id, acquired);
  expect(scene.takeRequests()).toEqual([]);
  scene.changed({ key: 'k', version: 14, changes: [{ key: 'k', deleted: true, modifyVersion: 14 }] });
  expect(losses).toEqual(['released']);
});

function update(version: number, bytes = 1): object {
  return { key: 'k', modifyVersion: version, entry: { value: new Uint8Array(bytes) } };
}

function watchOf(): KeyWatch {
  return new KeyWatch({ readVersion: () => 7, close: () => undefined });
}

test('who reads a watch slowly gets changes together, and a resync in place of too many', async () => {
  const watch = watchOf();
  const add = (version: number, updates: object[] | undefined): void => {
    watch.add(version, updates as never);
  };
  const waiting = watch.next();
  add(1, [update(1)]);
  expect(await waiting).toMatchObject({ value: { kind: 'changes', version: 1 } });
  add(2, [update(2)]);
  add(3, [update(3)]);
  expect(await watch.next()).toMatchObject({ value: { kind: 'changes', version: 3, updates: [{}, {}] } });
  add(4, [update(4, 10_000_000)]);
  add(5, [update(5, 10_000_000)]);
  add(6, [update(6)]);
  expect(await watch.next()).toMatchObject({ value: { kind: 'resync', version: 5 } });
  expect(await watch.next()).toMatchObject({ value: { kind: 'changes', version: 6, updates: [{}] } });
  add(7, undefined);
  expect(await watch.next()).toMatchObject({ value: { kind: 'resync', version: 7 } });
  expect(watch.version).toBe(7);
  const last = watch.next();
  watch.close();
  expect(await last).toEqual({ done: true, value: undefined });
  expect(await watch.next()).toEqual({ done: true, value: undefined });
});
