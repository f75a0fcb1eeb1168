import fc from 'fast-check';
import { expect, test } from 'vitest';

import type { KeyChange, StoreNews } from '../../src/durable/commits.ts';
import { put, StoreBench } from '../support/store-bench.ts';

function remove(key: string): ReturnType<typeof put> {
  return { table: 'keys', key, payload: undefined, createVersion: 0 };
}

function name({ key, payload, modifyVersion }: KeyChange): string {
  return `${modifyVersion} ${key}=${payload === undefined ? 'gone' : Buffer.from(payload).toString()}`;
}

function changesOf(news: readonly StoreNews[] | undefined): string[] {
  return (news ?? []).flatMap((each) => (each.kind === 'changed' ? each.changes.map(name) : ['missed']));
}

test('[ST5] changes of what begins with a prefix, behind the slot, are told in order, after the replies to all callers', () => {
  const bench = new StoreBench();
  bench.core.attach(1, 10);
  bench.core.attach(2);
  bench.watch(2, 'app/');
  bench.run();
  bench.said.length = 0;
  bench.ask(1, { writes: [put('00001/app/a', '1'), put('00002/other', '2')] });
  bench.ask(1, { writes: [put('00002/app/b', '3'), { ...put('app/c', '4'), table: 'services' }] });
  bench.ask(1, { writes: [remove('00001/app/a')] });
  bench.run();
  expect(bench.said).toEqual([
    [1, 'committed'],
    [1, 'committed'],
    [1, 'committed'],
    [2, 'changed'],
  ]);
  expect(changesOf(bench.news.get(2))).toEqual(['1 00001/app/a=1', '2 00002/app/b=3', '3 00001/app/a=gone']);
});

test('[ST5] a change is told once however many prefixes match, and no more once nothing of it is watched', () => {
  const bench = new StoreBench();
  bench.core.attach(1);
  for (const prefix of ['', 'a', 'ab', 'abc', 'b']) bench.watch(1, prefix);
  bench.ask(1, { writes: [put('00001/ab', '1')] });
  bench.run();
  for (const name of ['', 'a', 'ab']) bench.core.handle(1, { kind: 'unwatch', target: { kind: 'prefix', name } }, 0);
  bench.ask(1, { writes: [put('00001/ab', '2'), put('00001/abc', '3')] });
  bench.run();
  expect(changesOf(bench.news.get(1))).toEqual(['1 00001/ab=1', '2 00001/abc=3']);
});

test('[ST5] whoever watches from a version is told what has changed since; nothing is guessed where that is not known', () => {
  const bench = new StoreBench(undefined, { storeLogBytesMax: 400 });
  bench.core.attach(1);
  for (let i = 1; i <= 8; i++) bench.ask(1, { writes: [put(`00001/k${i}`, 'x')] });
  bench.run();
  const [known, unknown, future, other] = [
    bench.watch(1, 'k', 5),
    bench.watch(1, 'k', 2),
    bench.watch(1, 'k', 9),
    bench.watch(1, 'm', 5),
  ];
  bench.run();
  expect(bench.replyTo(1, known)).toMatchObject({
    version: 8,
    changes: [{ key: '00001/k6' }, { key: '00001/k7' }, { key: '00001/k8' }],
  });
  for (const request of [unknown, future]) expect(bench.replyTo(1, request)).toMatchObject({ changes: undefined });
  expect(bench.replyTo(1, other)).toMatchObject({ version: 8, changes: [] });
});

test('[ST5] versions of before a restart are not known, but for the last', () => {
  const before = new StoreBench();
  before.core.attach(1);
  for (let i = 1; i <= 3; i++) before.ask(1, { writes: [put('00001/a', `${i}`)] });
  before.run();
  const bench = new StoreBench(before.disk);
  bench.core.attach(1);
  const [old, last] = [bench.watch(1, 'a', 2), bench.watch(1, 'a', 3)];
  bench.run();
  expect(bench.replyTo(1, old)).toMatchObject({ version: 3, changes: undefined });
  expect(bench.replyTo(1, last)).toMatchObject({ version: 3, changes: [] });
});

test('[ST5] a watcher that nothing concerns hears how far the store has come, so that it can resume from there', () => {
  const bench = new StoreBench();
  bench.core.attach(1);
  bench.watch(1, 'a');
  bench.run();
  bench.ask(1, { writes: [put('00001/b', '1')] });
  bench.run();
  expect(bench.news.get(1)).toBeUndefined();
  bench.wait(1000);
  expect(bench.news.get(1)).toEqual([{ kind: 'changed', through: 1, changes: [] }]);
  bench.wait(1000);
  expect(bench.news.get(1)).toHaveLength(1);
});

test('[LI1] a watcher that does not read is told no more than its bound, then what has waited, or that it has missed something', () => {
  const bench = new StoreBench(undefined, { storeFeedBytesMax: 200, storeLogBytesMax: 1000 });
  bench.core.attach(1);
  bench.watch(1, '');
  const write = (count: number): void => {
    for (let i = 0; i < count; i++) bench.ask(1, { writes: [put('00001/a', 'x'.repeat(29))] });
    bench.run();
  };
  // Of 100 bytes each.
  write(5);
  expect(bench.news.get(1)).toMatchObject([{ through: 2 }]);
  bench.core.handle(1, { kind: 'read', through: 2 }, 0);
  bench.run();
  expect(bench.news.get(1)?.at(-1)).toMatchObject({ kind: 'changed', through: 4 });
  write(12);
  bench.core.handle(1, { kind: 'read', through: 4 }, 0);
  bench.run();
  expect(bench.news.get(1)?.at(-1)).toEqual({ kind: 'missed', through: 17 });
  write(1);
  expect(bench.news.get(1)?.at(-1)).toMatchObject({ kind: 'changed', through: 18 });
});

test('[ST5] whoever watches one key is told of that alone, and resumes with that alone', () => {
  const bench = new StoreBench();
  bench.core.attach(1);
  bench.watchTarget(1, { kind: 'key', name: 'ab' });
  bench.ask(1, { writes: [put('00001/ab', '1'), put('00001/abc', '2'), put('00001/a', '3')] });
  bench.ask(1, { writes: [remove('00001/ab')] });
  bench.run();
  expect(changesOf(bench.news.get(1))).toEqual(['1 00001/ab=1', '2 00001/ab=gone']);
  const resumed = bench.watchTarget(1, { kind: 'key', name: 'ab' }, 1);
  bench.run();
  expect(bench.replyTo(1, resumed)).toMatchObject({ version: 2, changes: [{ key: '00001/ab', modifyVersion: 2 }] });
  bench.core.handle(1, { kind: 'unwatch', target: { kind: 'key', name: 'ab' } }, 0);
  bench.ask(1, { writes: [put('00001/ab', '4')] });
  bench.run();
  expect(changesOf(bench.news.get(1))).toHaveLength(2);
});

test('[LI1] [ST5] commits do not wait for those who come back together: storeReadBytesMax limits how much a turn looks through for them', () => {
  const bench = new StoreBench(undefined, { storeReadBytesMax: 1024 });
  bench.core.attach(1);
  for (let i = 0; i < 20; i++) bench.ask(1, { writes: [put(`00001/k${i}`, 'x')] });
  bench.run();
  bench.core.attach(2);
  const watches = ['a', 'b', 'c'].map((prefix) => bench.watch(2, prefix, 0));
  const commit = bench.ask(1, { writes: [put('00001/a', '1')] });
  expect(bench.core.flush(0)).toBe(true);
  expect(bench.replyTo(1, commit)).toMatchObject({ kind: 'committed', version: 21 });
  expect(watches.map((watch) => bench.replyTo(2, watch)?.kind)).toEqual(['watching', undefined, undefined]);
  // Whoever leaves waits for nothing.
  bench.core.detach(2);
  expect(bench.core.flush(0)).toBe(false);
  expect(bench.replies.get(2)).toHaveLength(1);
});

test('[LI1] storeWatchesMax limits what a caller watches, and keeps it from nothing that it watches already', () => {
  const bench = new StoreBench(undefined, { storeWatchesMax: 1 });
  bench.core.attach(1);
  const [first, second, again] = [bench.watch(1, 'a'), bench.watch(1, 'b'), bench.watch(1, 'a')];
  bench.run();
  expect(bench.replyTo(1, first)).toMatchObject({ kind: 'watching' });
  expect(bench.replyTo(1, second)).toMatchObject({ failure: { code: 'limit_exceeded', limit: 'storeWatchesMax' } });
  expect(bench.replyTo(1, again)).toMatchObject({ kind: 'watching' });
});

test('[ST5] whoever resumes where it stopped, as slow and as often as it likes, has every change once, or knows that it has not', () => {
  const step = fc.oneof(
    fc.record({
      kind: fc.constant('write' as const),
      keys: fc.uniqueArray(fc.constantFrom('a/1', 'a/2', 'b/1'), { minLength: 1 }),
    }),
    fc.constant({ kind: 'turn' as const }),
    fc.constant({ kind: 'read' as const }),
    fc.constant({ kind: 'resume' as const }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const bench = new StoreBench(undefined, { storeFeedBytesMax: 200, storeLogBytesMax: 800 });
      bench.core.attach(0);
      let caller = 1;
      bench.core.attach(caller);
      bench.watch(caller, 'a/');
      let asked: string[] = [];
      let heard: string[] = [];
      let version = 0;
      let written = 0;
      const hear = (): void => {
        const news = bench.news.get(caller) ?? [];
        bench.news.delete(caller);
        const replies = bench.replies.get(caller) ?? [];
        bench.replies.delete(caller);
        for (const each of [...replies, ...news]) {
          if (each.kind === 'missed' || (each.kind === 'watching' && each.changes === undefined)) {
            // It reads what is there instead.
            const through = each.kind === 'missed' ? each.through : each.version;
            asked = asked.filter((text) => Number(text.split(' ')[0]) > through);
            heard = [];
            version = through;
            continue;
          }
          if (each.kind === 'changed') {
            heard.push(...each.changes.map(name));
            version = each.through;
            bench.core.handle(caller, { kind: 'read', through: each.through }, 0);
          } else if (each.kind === 'watching') {
            heard.push(...each.changes!.map(name));
            version = each.version;
          }
        }
      };
      for (const { kind, ...more } of [...steps, { kind: 'turn' as const }]) {
        if (kind === 'write' && 'keys' in more) {
          written += 1;
          const writes = more.keys.map((key) => put(`00001/${key}`, 'x'.repeat(20)));
          bench.ask(0, { writes });
          for (const { key } of writes)
            if (key.startsWith('00001/a/')) asked.push(`${written} ${key}=${'x'.repeat(20)}`);
        } else if (kind === 'turn') bench.run();
        else if (kind === 'read') hear();
        else if (kind === 'resume') {
          bench.run();
          hear();
          bench.core.detach(caller);
          caller += 1;
          bench.core.attach(caller);
          bench.watch(caller, 'a/', version);
        }
      }
      for (let i = 0; i < 20; i++) {
        bench.wait(1000);
        hear();
      }
      expect(version).toBe(written);
      expect(heard).toEqual(asked);
    }),
    { numRuns: 500 },
  );
});
