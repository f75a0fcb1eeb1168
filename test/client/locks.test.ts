import assert from 'node:assert/strict';

import { expect, test } from 'vitest';

import type { ClientEffect } from '../../src/client/effects.ts';
import { LockHeldError, OutcomeUnknownError } from '../../src/client/errors.ts';
import { LockClaim } from '../../src/client/lock-entries.ts';
import type { LockTerms } from '../../src/client/lock-entries.ts';
import { Scene } from './scene.ts';
import type { Request } from './scene.ts';

const resumed = { secret: 'x', registry: 'r', resumed: { registrations: 0, digest: '0000000000000000' } };

function claimOf(terms: Partial<LockTerms> = {}): LockClaim {
  return new LockClaim({
    key: 'k',
    value: 'dg==',
    flags: '0',
    onEnd: 'release',
    lockDelayMs: undefined,
    lostAfterMs: undefined,
    isPatient: true,
    ...terms,
  });
}

/** What the server says to a request that it carries out. */
function entry(version: number, held: object = {}): object {
  const content = { key: 'k', flags: '0', createVersion: 1, modifyVersion: version, lockIndex: 1, ...held };
  return { applied: true, version, entry: content };
}

function taken(version: number): object {
  return entry(version, { holder: 'me', fence: version });
}

const heldByOthers = { applied: false, version: 1, reason: 'held' };

/** A scene that notes which locks are lost, and how. */
class LockScene extends Scene {
  hasWatches = false;
  readonly losses: { readonly claim: LockClaim; readonly cause: string }[] = [];

  constructor(options: ConstructorParameters<typeof Scene>[0] = {}) {
    super(options);
    this.onEffect = (effect: ClientEffect) => {
      if (effect.kind === 'lockLost') this.losses.push({ claim: effect.claim, cause: effect.cause });
    };
    this.connect({}, { secret: 'x', registry: 'r' });
  }

  /** Watches are refused, as by a server that has none: a test that is about them has them. */
  override takeRequests(): Request[] {
    const requests = super.takeRequests();
    if (this.hasWatches) return requests;
    for (const { id, method } of requests) if (method === 'kv.watch') this.refuse(id, 'unknown_method');
    const rest = requests.filter(({ method }) => method !== 'kv.watch');
    return rest.length < requests.length ? [...rest, ...this.takeRequests()] : rest;
  }

  lock(claim: LockClaim, timeoutMs?: number): number {
    return this.call({ kind: 'lock', claim, timeoutMs });
  }

  /** Locks, and has it granted under this number. */
  held(claim: LockClaim, version: number): void {
    const ticket = this.lock(claim);
    this.answer(this.only('kv.put').id, taken(version));
    assert.deepEqual(this.outcomes.get(ticket), { kind: 'resolved', settlement: { kind: 'locked', fence: version } });
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
}

test('a lock that others hold is tried again, less and less often, until they are gone or the call is over', () => {
  const scene = new LockScene();
  const ticket = scene.lock(claimOf({ lockDelayMs: 7 }), 3000);
  const first = scene.only('kv.put');
  expect(first.params).toEqual({
    key: 'k',
    value: 'dg==',
    flags: '0',
    acquire: true,
    onEnd: 'release',
    lockDelayMs: 7,
  });
  scene.answer(first.id, heldByOthers);
  const waits: number[] = [];
  for (let at = scene.nowMs; scene.outcomes.get(ticket) === undefined;) {
    scene.advance(scene.armedAtMs! - scene.nowMs);
    const [again] = scene.takeRequests();
    if (again === undefined) continue;
    waits.push(scene.nowMs - at);
    at = scene.nowMs;
    scene.answer(again.id, heldByOthers);
  }
  expect(waits).toEqual([38, 75, 150, 300, 600, 750, 750]);
  expect(scene.errorOf(ticket)).toBeInstanceOf(LockHeldError);
  expect(scene.errorOf(ticket)).toMatchObject({ key: 'k', reason: 'held', timeoutMs: 3000 });
  expect(scene.state.tables.locks.size).toBe(0);
});

test('a call that does not wait is told at once', () => {
  const scene = new LockScene();
  const impatient = claimOf({ isPatient: false });
  const ticket = scene.lock(impatient);
  scene.answer(scene.only('kv.put').id, { applied: false, version: 1, reason: 'delayed' });
  expect(scene.outcomes.get(ticket)).toMatchObject({ settlement: { kind: 'lockRefused' } });
  scene.held(claimOf(), 5);
  const second = scene.lock(impatient);
  expect(scene.outcomes.get(second)).toMatchObject({ settlement: { kind: 'lockRefused' } });
});

test('calls of one client take turns, each under a number of its own', () => {
  const scene = new LockScene();
  const [a, b] = [claimOf(), claimOf({ value: 'Yg==' })];
  scene.held(a, 5);
  const second = scene.lock(b);
  expect(scene.takeRequests()).toEqual([]);
  const releasing = scene.call({ kind: 'unlock', claim: a });
  const release = scene.only('kv.put');
  expect(release.params).toEqual({ key: 'k', value: 'dg==', flags: '0', release: true, cas: 5 });
  scene.answer(release.id, entry(6));
  expect(scene.outcomes.get(releasing)).toMatchObject({ settlement: { kind: 'released' } });
  const next = scene.only('kv.put');
  expect(next.params).toMatchObject({ value: 'Yg==', acquire: true });
  scene.answer(next.id, taken(7));
  expect(scene.outcomes.get(second)).toMatchObject({ settlement: { kind: 'locked', fence: 7 } });
  expect(scene.losses).toEqual([]);
});

test('a release keeps what others have written to the key, and a key that is to go is deleted only while it is held', () => {
  const scene = new LockScene();
  const a = claimOf();
  scene.held(a, 5);
  scene.call({ kind: 'unlock', claim: a });
  scene.answer(scene.only('kv.put').id, { applied: false, version: 9, reason: 'version' });
  const found = { key: 'k', flags: '3', createVersion: 1, modifyVersion: 9, lockIndex: 1, holder: 'me', fence: 5 };
  scene.answer(scene.only('kv.get').id, { version: 9, entry: { ...found, value: 'bmV3' } });
  const again = scene.only('kv.put');
  expect(again.params).toEqual({ key: 'k', value: 'bmV3', flags: '3', release: true, cas: 9 });
  scene.answer(again.id, { applied: false, version: 9, reason: 'not_held' });
  expect(scene.state.tables.locks.size).toBe(0);

  const b = claimOf({ onEnd: 'delete' });
  scene.held(b, 10);
  const releasing = scene.call({ kind: 'unlock', claim: b });
  const removal = scene.only('kv.transact');
  expect(removal.params).toEqual({
    operations: [
      { op: 'check', key: 'k', held: true },
      { op: 'delete', key: 'k' },
    ],
  });
  scene.refuse(removal.id, 'storage_unavailable', { retryAfterMs: 100 });
  expect(scene.takeRequests()).toEqual([]);
  scene.advance(200);
  scene.answer(scene.only('kv.transact').id, { applied: true, version: 11, entries: [null, null] });
  expect(scene.outcomes.get(releasing)).toMatchObject({ settlement: { kind: 'released' } });
});

test('an acquisition that nobody waits for any more is released, also if its answer was lost', () => {
  const scene = new LockScene();
  const ticket = scene.lock(claimOf());
  const { id } = scene.only('kv.put');
  scene.dispatch({ kind: 'abort', ticket });
  scene.answer(id, taken(5));
  const release = scene.only('kv.put');
  expect(release.params).toMatchObject({ release: true, cas: 5 });
  scene.answer(release.id, entry(6));
  expect(scene.state.tables.locks.size).toBe(0);

  const second = scene.lock(claimOf());
  scene.only('kv.put');
  scene.cut();
  scene.dispatch({ kind: 'abort', ticket: second });
  scene.advance(200);
  scene.connect({}, resumed);
  const unknown = scene.only('kv.put');
  expect(unknown.params).toEqual({ key: 'k', value: 'dg==', flags: '0', release: true });
  scene.answer(unknown.id, { applied: false, version: 6, reason: 'not_held' });
  expect(scene.state.tables.locks.size).toBe(0);

  // A partition that died may have granted it.
  const third = scene.lock(claimOf({ isPatient: false }));
  scene.refuse(scene.only('kv.put').id, 'internal');
  expect(scene.errorOf(third)).toMatchObject({ code: 'internal' });
  expect(scene.only('kv.put').params).toMatchObject({ release: true });
});

test('what is not sent any more is not acquired', () => {
  const scene = new LockScene();
  const ticket = scene.lock(claimOf());
  scene.dispatch({ kind: 'abort', ticket });
  expect(scene.takeRequests()).toEqual([]);
  expect(scene.state.tables.locks.size).toBe(0);
});

test('a session that is resumed in time keeps its locks, and looks whether they are still its own', () => {
  const scene = new LockScene();
  const claim = claimOf();
  scene.held(claim, 5);
  scene.reconnect(resumed);
  const check = scene.only('kv.get');
  const found = { key: 'k', flags: '0', createVersion: 1, modifyVersion: 8, lockIndex: 1, value: '' };
  scene.answer(check.id, { version: 8, entry: { ...found, holder: 'me', fence: 5 } });
  expect(scene.losses).toEqual([]);
  // Looked at again and again; in the end somebody has deleted it, and another holds it.
  scene.advance(5000);
  scene.answer(scene.only('kv.get').id, { version: 9, entry: { ...found, holder: 'you', fence: 9 } });
  expect(scene.losses).toEqual([{ claim, cause: 'released' }]);
  const releasing = scene.call({ kind: 'unlock', claim });
  expect(scene.outcomes.get(releasing)).toMatchObject({ settlement: { kind: 'released' } });
  expect(scene.takeRequests()).toEqual([]);
});

test('a lock is lost with its session, or when it cannot be known any more whether it is held', () => {
  const scene = new LockScene();
  const [a, b, c] = [claimOf(), claimOf({ key: 'other', lostAfterMs: 3000 }), claimOf({ key: 'third' })];
  scene.held(a, 5);
  scene.held(b, 6);
  scene.cut();
  scene.advance(999);
  expect(scene.losses).toEqual([]);
  scene.advance(1);
  expect(scene.losses).toEqual([{ claim: a, cause: 'connection' }]);
  scene.connect({}, resumed);
  // The server has kept the session for longer: then others are not to wait.
  const requests = scene.takeRequests();
  expect(requests.map(({ method, params }) => [method, params['key']])).toEqual([
    ['kv.put', 'k'],
    ['kv.get', 'other'],
  ]);
  scene.answer(requests[0]!.id, entry(7));
  scene.held(c, 8);
  scene.reconnect({ secret: 'y', registry: 'r' });
  expect(scene.losses.slice(1)).toEqual([
    { claim: b, cause: 'session' },
    { claim: c, cause: 'session' },
  ]);
  expect(scene.state.tables.locks.size).toBe(0);
});

test('a lock is held for as long as the server says that it keeps the session', () => {
  const scene = new LockScene();
  scene.reconnect({ ...resumed, graceMs: 300 });
  const claim = claimOf();
  scene.held(claim, 5);
  scene.cut();
  scene.advance(299);
  expect(scene.losses).toEqual([]);
  scene.advance(1);
  expect(scene.losses).toEqual([{ claim, cause: 'connection' }]);
});

test('a lock is given up before another can hold it, however late it is noticed that the registry is gone', () => {
  // An hour without a keep-alive: the connection is half-open, and nobody says so.
  const settings = { keepAliveMs: 3_600_000, requestTimeoutMs: 60_000 };
  for (const [lockDelayMs, safeMs] of [
    [undefined, 15_300],
    [9700, 10_000],
    [0, 3000],
  ] as const) {
    const scene = new LockScene(settings);
    scene.reconnect({ ...resumed, graceMs: 300, heartbeatMs: 3_600_000 });
    const claim = claimOf({ lockDelayMs, lostAfterMs: 60_000 });
    scene.held(claim, 5);
    const heardAtMs = scene.nowMs;
    // What the registry says of itself is no sign of life: it may have been said long ago.
    scene.advance(safeMs / 2);
    scene.frame({ jsonrpc: '2.0', method: 'session.unheard', params: {} });
    scene.advance(heardAtMs + safeMs - 1 - scene.nowMs);
    expect(scene.losses).toEqual([]);
    scene.advance(1);
    expect(scene.losses).toEqual([{ claim, cause: 'connection' }]);
  }
});

test('a connection that breaks late does not prolong what has not been heard of', () => {
  const scene = new LockScene({ keepAliveMs: 3_600_000, requestTimeoutMs: 60_000 });
  scene.reconnect({ ...resumed, graceMs: 300, heartbeatMs: 3_600_000 });
  const claim = claimOf({ lostAfterMs: 10_000 });
  scene.held(claim, 5);
  const heardAtMs = scene.nowMs;
  scene.advance(14_000);
  scene.cut();
  scene.advance(heardAtMs + 15_299 - scene.nowMs);
  expect(scene.losses).toEqual([]);
  scene.advance(1);
  expect(scene.losses).toEqual([{ claim, cause: 'connection' }]);
});

test('an answer that is read late says only that the session was alive when it was asked', () => {
  const scene = new LockScene({ keepAliveMs: 3_600_000, requestTimeoutMs: 60_000 });
  scene.reconnect({ ...resumed, graceMs: 300, heartbeatMs: 3_600_000 });
  const claim = claimOf({ lostAfterMs: 60_000 });
  scene.held(claim, 5);
  scene.advance(5100);
  const [asked] = scene.takeRequests();
  const askedAtMs = scene.nowMs;
  scene.advance(9000);
  scene.answer(asked!.id, {});
  scene.advance(askedAtMs + 15_299 - scene.nowMs);
  expect(scene.losses).toEqual([]);
  scene.advance(1);
  expect(scene.losses).toEqual([{ claim, cause: 'connection' }]);
});

test('whoever holds a lock asks for signs of life, and keeps it for as long as they are answered', () => {
  const scene = new LockScene({ keepAliveMs: 3_600_000 });
  scene.reconnect({ ...resumed, graceMs: 300, heartbeatMs: 3_600_000 });
  const claim = claimOf({ lockDelayMs: 8700 });
  scene.held(claim, 5);
  const found = { key: 'k', flags: '0', createVersion: 1, modifyVersion: 5, lockIndex: 1, value: '' };
  const asked: number[] = [];
  for (let at = 0; at < 60; at++) {
    scene.advance(1000);
    for (const { id, method } of scene.takeRequests()) {
      if (method === 'service.unsubscribe') asked.push(scene.nowMs);
      if (method === 'kv.get') scene.answer(id, { version: 5, entry: { ...found, holder: 'me', fence: 5 } });
      else scene.answer(id, {});
    }
  }
  expect(scene.losses).toEqual([]);
  expect(asked.length).toBeGreaterThan(10);
});

test('who comes back to a registry that has just started looks whether it still holds what it held', () => {
  const scene = new LockScene();
  const claim = claimOf({ lostAfterMs: 5000 });
  scene.held(claim, 5);
  scene.reconnect({ secret: 'y', registry: 'later', warming: true });
  const found = { key: 'k', flags: '0', createVersion: 1, modifyVersion: 5, lockIndex: 1, value: '' };
  scene.answer(scene.only('kv.get').id, { version: 5, entry: { ...found, holder: 'me', fence: 5 } });
  expect(scene.losses).toEqual([]);
  scene.reconnect({ secret: 'z', registry: 'latest', warming: true });
  scene.answer(scene.only('kv.get').id, { version: 6, entry: { ...found, modifyVersion: 6 } });
  expect(scene.losses).toEqual([{ claim, cause: 'released' }]);
});

test('closing releases what is held before the session ends', () => {
  const scene = new LockScene();
  const claim = claimOf();
  scene.held(claim, 5);
  scene.dispatch({ kind: 'close' });
  expect(scene.losses).toEqual([{ claim, cause: 'closed' }]);
  expect(scene.only('kv.put').params).toMatchObject({ release: true, cas: 5 });
});

test('a change of a key whose answer is lost is not repeated, and what is read is', () => {
  const scene = new LockScene();
  const put = scene.call({ kind: 'keys', request: { method: 'kv.put', params: { key: 'a' } } });
  const get = scene.call({ kind: 'keys', request: { method: 'kv.get', params: { key: 'a' } } });
  const reading = { operations: [{ op: 'get', key: 'a' }] } as const;
  const transaction = scene.call({ kind: 'keys', request: { method: 'kv.transact', params: reading } });
  expect(scene.takeRequests()).toHaveLength(3);
  scene.cut();
  expect(scene.errorOf(put)).toBeInstanceOf(OutcomeUnknownError);
  expect(scene.errorOf(put)).toMatchObject({ method: 'kv.put' });
  const later = scene.call({ kind: 'keys', request: { method: 'kv.delete', params: { key: 'a' } } });
  scene.advance(200);
  scene.connect({}, resumed);
  expect(scene.takeRequests().map(({ method }) => method)).toEqual(['kv.get', 'kv.transact', 'kv.delete']);
  for (const ticket of [get, transaction, later]) expect(scene.outcomes.has(ticket)).toBe(false);
});

test('an answer of another shape is refused, and not passed on', () => {
  const scene = new LockScene();
  const get = scene.call({ kind: 'keys', request: { method: 'kv.get', params: { key: 'a' } } });
  scene.answer(scene.only('kv.get').id, { version: 1, entry: { key: 'a', flags: 'many' } });
  expect(scene.errorOf(get)).toMatchObject({ code: 'internal' });
});
