import { expect, test } from 'vitest';

import type { KeyOutcome } from '../../src/keys/key-operations.ts';
import type { KeyRow } from '../../src/keys/key-row.ts';
import { slotOf } from '../../src/slots/slot.ts';
import { encode, KeyBench } from '../support/key-bench.ts';

const get = (key: string) => [{ kind: 'get', key } as const];

function rowOf(outcome: KeyOutcome): KeyRow | undefined {
  if (outcome.kind !== 'done') throw new Error(`not done: ${JSON.stringify(outcome)}`);
  return outcome.rows[0];
}

test('[KV1] a change is answered once it is committed, and not seen before', () => {
  const bench = new KeyBench();
  const put = bench.submit([{ kind: 'put', key: 'a', value: encode('1'), flags: '0' }]);
  const read = bench.submit(get('a'));
  const other = bench.submit(get('b'));
  expect([...bench.answers.keys()]).toEqual([other]);
  bench.settle();
  expect(rowOf(bench.answer(put))).toMatchObject({ createVersion: 1, modifyVersion: 1 });
  expect(rowOf(bench.answer(read))?.value).toBe(encode('1'));
});

test('[KV1] what cannot be stored is refused, and nothing of it is seen', () => {
  const bench = new KeyBench();
  bench.put('a', '1');
  bench.store.failure = { code: 'storage_unavailable', message: 'full' };
  expect(bench.put('a', '2')).toMatchObject({ kind: 'refused', failure: { code: 'storage_unavailable' } });
  expect(rowOf(bench.run(get('a')))?.value).toBe(encode('1'));
});

test('[KV2] versions are numbers of commits; the same again changes nothing', () => {
  const bench = new KeyBench();
  expect(rowOf(bench.put('a', '1'))).toMatchObject({ createVersion: 1, modifyVersion: 1 });
  expect(rowOf(bench.put('a', '1'))).toMatchObject({ createVersion: 1, modifyVersion: 1 });
  expect(bench.store.version).toBe(1);
  expect(rowOf(bench.put('a', '1', { flags: '3304740253564472344' }))).toMatchObject({ modifyVersion: 2 });
  bench.run([{ kind: 'delete', key: 'a' }]);
  expect(rowOf(bench.put('a', '1'))).toMatchObject({ createVersion: 4, modifyVersion: 4 });
});

test('[KV2] a condition on the version holds for that version alone, 0 for a key that does not exist', () => {
  const bench = new KeyBench();
  expect(bench.put('a', '1', { ifVersion: 7 })).toMatchObject({ kind: 'unmet', unmet: [{ reason: 'version' }] });
  expect(bench.put('a', '1', { ifVersion: 0 }).kind).toBe('done');
  expect(bench.put('a', '2', { ifVersion: 0 }).kind).toBe('unmet');
  expect(bench.put('a', '2', { ifVersion: 1 }).kind).toBe('done');
  expect(bench.run([{ kind: 'delete', key: 'a', ifVersion: 1 }]).kind).toBe('unmet');
  expect(bench.run([{ kind: 'delete', key: 'a', ifVersion: 2 }]).kind).toBe('done');
});

test('[KV3] a transaction is carried out as a whole, with one version, and each operation sees those before it', () => {
  const bench = new KeyBench();
  bench.put('{t}a', '1');
  const outcome = bench.run([
    { kind: 'put', key: '{t}b', value: encode('2'), flags: '0' },
    { kind: 'get', key: '{t}b' },
    { kind: 'delete', key: '{t}a' },
    { kind: 'check', key: '{t}a', version: 0 },
  ]);
  expect(outcome).toMatchObject({
    kind: 'done',
    rows: [{ modifyVersion: 2 }, { value: encode('2'), modifyVersion: 2 }, undefined, undefined],
  });
});

test('[KV3] of a transaction whose conditions do not all hold nothing is carried out, and all that do not are named', () => {
  const bench = new KeyBench();
  const outcome = bench.run([
    { kind: 'put', key: 'a', value: encode('1'), flags: '0' },
    { kind: 'check', key: 'x', version: 5 },
    { kind: 'put', key: 'y', value: '', flags: '0', ifVersion: 3 },
  ]);
  expect(outcome).toMatchObject({ kind: 'unmet', unmet: [{ index: 1 }, { index: 2 }] });
  expect(rowOf(bench.run(get('a')))).toBeUndefined();
});

test('[KV3] a part of a joint transaction does not wait: it is given up while others work on its keys', () => {
  const bench = new KeyBench();
  bench.submit([{ kind: 'put', key: 'a', value: encode('1'), flags: '0' }]);
  const part = bench.submit([{ kind: 'put', key: 'a', value: encode('2'), flags: '0' }], '', 9);
  expect(bench.answer(part)).toEqual({ kind: 'conflict' });
  expect(bench.store.waiting.at(-1)).toMatchObject({ joint: { id: 9, isRefused: true }, writes: [] });
});

test('[KV4] a list has the keys with its prefix in the order of their bytes, page by page', () => {
  const bench = new KeyBench();
  for (const key of ['p/b', 'p/a', 'q', 'p', 'p/c/1', 'p/c/2', 'p/\uFFFD', 'p/\u{1F600}']) bench.put(key, key);
  expect(bench.list({ prefix: 'p/', limit: 2 })).toMatchObject({ names: ['p/a', 'p/b'], next: 'p/b' });
  expect(bench.list({ prefix: 'p/', limit: 9, after: 'p/b' })).toMatchObject({
    names: ['p/c/1', 'p/c/2', 'p/\uFFFD', 'p/\u{1F600}'],
    next: '',
  });
  expect(bench.list({ prefix: 'p/', separator: '/', limit: 3 })).toMatchObject({
    names: ['p/a', 'p/b', 'p/c/'],
    next: 'p/c/2',
  });
  expect(bench.list({ prefix: 'p/', separator: '/', after: 'p/c/1', limit: 1 })).toMatchObject({ names: ['p/\uFFFD'] });
  expect(bench.list({ prefix: 'q', isKeysOnly: false })).toMatchObject({ rows: [{ value: encode('q') }] });
});

test('[KV4] a list waits for what is being changed under its prefix', () => {
  const bench = new KeyBench();
  bench.submit([{ kind: 'put', key: 'p/a', value: '', flags: '0' }]);
  expect(bench.list({ prefix: 'p/' })).toMatchObject({ names: ['p/a'] });
});

test('[KV4] all keys with a prefix are deleted, those that are being written among them', () => {
  const bench = new KeyBench();
  for (const key of ['p/a', 'p/b', 'q']) bench.put(key, key);
  bench.submit([{ kind: 'put', key: 'p/c', value: '', flags: '0' }]);
  expect(bench.deletePrefix('p/')).toMatchObject({ kind: 'deleted', count: 3, isMore: false });
  expect(bench.list({})).toMatchObject({ names: ['q'] });
});

test('[KV5] a lock is held by one session, and its fencing number rises with each holder', () => {
  const bench = new KeyBench();
  const first = rowOf(bench.acquire('lock', 'one'));
  expect(first).toMatchObject({ holder: 'one', lockIndex: 1, fence: 1 });
  expect(bench.acquire('lock', 'two')).toMatchObject({ kind: 'unmet', unmet: [{ reason: 'held' }] });
  expect(rowOf(bench.acquire('lock', 'one'))).toMatchObject({ lockIndex: 1, fence: 1 });
  expect(bench.put('lock', 'x', { release: true }, 'two')).toMatchObject({ unmet: [{ reason: 'not_held' }] });
  expect(rowOf(bench.put('lock', 'plain'))).toMatchObject({ holder: 'one', fence: 1 });
  expect(rowOf(bench.put('lock', 'bye', { release: true }, 'one'))).toMatchObject({ holder: '', lockIndex: 1 });
  expect(rowOf(bench.acquire('lock', 'two'))).toMatchObject({ lockIndex: 2, fence: 4 });
  bench.run([{ kind: 'delete', key: 'lock' }]);
  expect(rowOf(bench.acquire('lock', 'one'))).toMatchObject({ fence: 6 });
});

test('[KV6] when a session ends, its keys are released or deleted, and nobody acquires them before the lock delay is over', () => {
  const bench = new KeyBench();
  bench.acquire('kept', 'one', { lockDelayMs: 1000 });
  bench.acquire('gone', 'one', { onEnd: 'delete', lockDelayMs: 1000 });
  bench.acquire('free', 'one');
  bench.domain.endHolder('one', bench.nowMs);
  bench.settle();
  expect(rowOf(bench.run(get('kept')))).toMatchObject({ holder: '', value: encode('one') });
  expect(rowOf(bench.run(get('gone')))).toBeUndefined();
  expect(bench.acquire('free', 'two').kind).toBe('done');
  for (const key of ['kept', 'gone']) {
    expect(bench.acquire(key, 'two')).toMatchObject({ kind: 'unmet', unmet: [{ reason: 'delayed' }] });
    expect(bench.put(key, 'anyone').kind).toBe('done');
  }
  bench.pass(999);
  expect(bench.acquire('gone', 'two').kind).toBe('unmet');
  bench.pass(1);
  bench.settle();
  for (const key of ['kept', 'gone']) expect(bench.acquire(key, 'two').kind).toBe('done');
  expect(bench.store.keys('lockDelays')).toEqual([]);
});

test('[KV6] what a session was acquiring when it ended is released, too', () => {
  const bench = new KeyBench();
  bench.domain.releaseOrphans(0, 0);
  bench.submit(
    [{ kind: 'put', key: 'a', value: '', flags: '0', acquire: { onEnd: 'release', lockDelayMs: 0 } }],
    'one',
  );
  bench.domain.endHolder('one', 0);
  bench.settle();
  expect(rowOf(bench.run(get('a')))).toMatchObject({ holder: '' });
});

test('[KV6] a release that cannot be stored is tried again', () => {
  const bench = new KeyBench();
  bench.acquire('a', 'one');
  bench.store.failure = { code: 'storage_unavailable', message: 'full' };
  bench.domain.endHolder('one', bench.nowMs);
  bench.settle();
  bench.store.failure = undefined;
  expect(rowOf(bench.run(get('a')))).toMatchObject({ holder: 'one' });
  bench.pass(bench.domain.nextDueAt()! - bench.nowMs);
  bench.settle();
  expect(rowOf(bench.run(get('a')))).toMatchObject({ holder: '' });
});

test('[KV7] the next life of a partition has what was committed, its locks, and their delays', () => {
  const bench = new KeyBench();
  bench.put('a', '1', { flags: '18446744073709551615' });
  bench.acquire('lock', 'one', { lockDelayMs: 500 });
  bench.acquire('late', 'two', { lockDelayMs: 500 });
  bench.domain.endHolder('two', bench.nowMs);
  bench.settle();
  bench.restart();
  const early = bench.submit(get('a'));
  expect(bench.answers.has(early)).toBe(false);
  bench.settle();
  expect(rowOf(bench.answer(early))).toMatchObject({ flags: '18446744073709551615', modifyVersion: 1 });
  expect(bench.acquire('late', 'three')).toMatchObject({ unmet: [{ reason: 'delayed' }] });
  bench.domain.vouch('one', 0);
  bench.domain.releaseOrphans(0, bench.nowMs);
  bench.settle();
  expect(rowOf(bench.run(get('lock')))).toMatchObject({ holder: 'one', fence: 2 });
  bench.restart();
  bench.domain.releaseOrphans(0, bench.nowMs);
  bench.settle();
  expect(rowOf(bench.run(get('lock')))).toMatchObject({ holder: '' });
});

test('[KV7] when the store ends, what was in flight is answered as unknown, and read again before anybody sees it', () => {
  const bench = new KeyBench();
  bench.put('a', '1');
  const put = bench.submit([{ kind: 'put', key: 'a', value: encode('2'), flags: '0' }]);
  const read = bench.submit(get('a'));
  // It is on disk, but nobody says so.
  bench.store.carryOut();
  bench.domain.disconnectStore(bench.nowMs);
  expect(bench.answer(put)).toMatchObject({ kind: 'refused', failure: { code: 'internal' } });
  expect(bench.answer(read)).toMatchObject({ kind: 'refused', failure: { code: 'storage_unavailable' } });
  expect(bench.put('b', '1')).toMatchObject({ failure: { code: 'storage_unavailable' } });
  bench.domain.connectStore(bench.nowMs);
  expect(rowOf(bench.run(get('a')))?.value).toBe(encode('2'));
});

test('[KV7] slots that are given away are loaded by their next owner, and requests on them are sent on', () => {
  const bench = new KeyBench();
  bench.put('a', '1');
  bench.acquire('a', 'one');
  bench.submit([{ kind: 'put', key: 'a', value: encode('2'), flags: '0' }]);
  const slots = new Set([slotOf('a')]);
  expect(bench.domain.isDrained(slots)).toBe(false);
  bench.settle();
  expect(bench.domain.isDrained(slots)).toBe(true);
  expect([...bench.domain.prepareToLose(slots)]).toEqual([['one', 0]]);
  bench.domain.lose(slots);
  expect(bench.run(get('a'))).toEqual({ kind: 'moved' });
  expect(bench.domain.load.keys).toBe(0);
  bench.domain.begin(slots);
  expect(rowOf(bench.run(get('a')))).toMatchObject({ value: encode('2'), holder: 'one' });
});

test('[KV8] keys, their bytes and requests that wait are bounded', () => {
  const bench = new KeyBench({ keysPerPartitionMax: 2, keyRequestsWaitingMax: 2 });
  bench.submit([{ kind: 'put', key: 'a', value: '', flags: '0' }]);
  bench.submit([{ kind: 'put', key: 'b', value: '', flags: '0' }]);
  const third = bench.submit(get('a'));
  expect(bench.answer(third)).toMatchObject({ failure: { code: 'busy', limit: 'keyRequestsWaitingMax' } });
  bench.settle();
  expect(bench.put('c', '')).toMatchObject({ failure: { code: 'limit_exceeded', limit: 'keysPerPartitionMax' } });
  expect(bench.put('a', 'x').kind).toBe('done');
  const small = new KeyBench({ keyBytesPerPartitionMax: 300 });
  expect(small.put('a', 'x'.repeat(90))).toMatchObject({ failure: { limit: 'keyBytesPerPartitionMax' } });
  expect(small.put('a', 'x'.repeat(30)).kind).toBe('done');
});

test('[KV2] what a transaction puts and deletes again is answered with the version at which nothing was changed', () => {
  const bench = new KeyBench();
  bench.put('{t}a', '1');
  const outcome = bench.run([
    { kind: 'put', key: '{t}b', value: encode('2'), flags: '0' },
    { kind: 'delete', key: '{t}b' },
  ]);
  expect(rowOf(outcome)).toMatchObject({ createVersion: 1, modifyVersion: 1 });
  expect(bench.store.version).toBe(1);
});
