import { expect, test } from 'vitest';

import type { KeyChangeEvent, KeyGetResult, KeysChanged, KeyWatchResult } from '../../src/protocol/types.ts';
import { slotOf } from '../../src/slots/slot.ts';
import { InProcessRegistry } from '../support/in-process-registry.ts';
import { encode } from '../support/key-bench.ts';
import { Random } from '../support/random.ts';
import { SimulatedClient } from '../support/simulated-client.ts';
import type { Answered } from '../support/simulated-client.ts';

const random = new Random(1);

/** Keys that different partitions own. */
function keysUnder(registry: InProcessRegistry, prefix: string): [string, string] {
  const find = (partition: number): string => {
    for (let i = 0; ; i++) {
      const key = `${prefix}${i}`;
      if (registry.router.table.ownerOf(slotOf(key)) === partition) return key;
    }
  };
  return [find(0), find(1)];
}

async function ask<T>(registry: InProcessRegistry, answered: Answered): Promise<T> {
  await registry.deliver(random);
  if (answered.error !== undefined) throw new Error(JSON.stringify(answered.error));
  return answered.result as T;
}

async function put(registry: InProcessRegistry, client: SimulatedClient, key: string, value: string): Promise<number> {
  const { version } = await ask<{ version: number }>(registry, client.request('kv.put', { key, value: encode(value) }));
  return version;
}

function name(change: KeyChangeEvent): string {
  return 'deleted' in change ? `${change.key} gone` : `${change.key}=${Buffer.from(change.value, 'base64').toString()}`;
}

function told(news: readonly KeysChanged[]): string[] {
  return news.flatMap(({ changes, resync }) => (resync === true ? ['resync'] : changes!.map(name)));
}

async function start(config: Parameters<typeof InProcessRegistry.start>[0] = {}): Promise<{
  registry: InProcessRegistry;
  writer: SimulatedClient;
  watcher: SimulatedClient;
}> {
  const registry = await InProcessRegistry.start(config);
  return { registry, writer: new SimulatedClient(registry), watcher: new SimulatedClient(registry) };
}

test('[KV9] a watch tells every change of its key or prefix once, in the order of commits, with the key as it is then', async () => {
  const { registry, writer, watcher } = await start();
  const [a, b] = keysUnder(registry, 'app/');
  const before = await put(registry, writer, a, '1');
  const watching = await ask<KeyWatchResult>(registry, watcher.request('kv.watch', { prefix: 'app/' }));
  expect(watching).toEqual({ version: before });
  await ask(registry, watcher.request('kv.watch', { key: b }));
  await put(registry, writer, a, '2');
  await put(registry, writer, b, '3');
  await put(registry, writer, 'other', '4');
  await put(registry, writer, `${b}0`, '5');
  // Nothing changes.
  await put(registry, writer, b, '3');
  await ask(registry, writer.request('kv.delete', { key: b }));
  const ofPrefix = watcher.keyNews.filter(({ prefix }) => prefix === 'app/');
  const ofKey = watcher.keyNews.filter(({ key }) => key === b);
  expect(told(ofPrefix)).toEqual([`${a}=2`, `${b}=3`, `${b}0=5`, `${b} gone`]);
  expect(told(ofKey)).toEqual([`${b}=3`, `${b} gone`]);
  expect(watcher.keyNews).toHaveLength(6);
  const entry = ofPrefix[0]!.changes![0]!;
  expect(entry).toEqual((await ask<KeyGetResult>(registry, writer.request('kv.get', { key: a }))).entry);
  const versions = ofPrefix.map(({ version }) => version);
  expect(versions).toEqual(versions.toSorted((x, y) => x - y));
  expect(versions[0]).toBeGreaterThan(before);
  await ask(registry, watcher.request('kv.unwatch', { prefix: 'app/' }));
  await ask(registry, watcher.request('kv.unwatch', { prefix: 'never' }));
  await put(registry, writer, b, '6');
  expect(told(watcher.keyNews)).toHaveLength(7);
  expect(registry.core.keyWatchFigures).toEqual({ watches: 1, changesSent: 7, resyncsSent: 0 });
});

test('[KV9] a transaction is told as a whole, and a watch of everything tells it once', async () => {
  const { registry, writer, watcher } = await start();
  const [a, b] = keysUnder(registry, 'k');
  await ask(registry, watcher.request('kv.watch', { prefix: '' }));
  await ask(
    registry,
    writer.request('kv.transact', {
      operations: [
        { op: 'put', key: a, value: encode('1') },
        { op: 'put', key: b, value: encode('2') },
      ],
    }),
  );
  expect(watcher.keyNews).toHaveLength(1);
  expect(told(watcher.keyNews).toSorted()).toEqual([`${a}=1`, `${b}=2`].toSorted());
});

test('[KV9] either a key or a prefix is watched, and nothing else', async () => {
  const { registry, watcher } = await start();
  for (const params of [{}, { key: 'a', prefix: 'a' }]) {
    for (const method of ['kv.watch', 'kv.unwatch'] as const) {
      const refused = watcher.request(method, params);
      await registry.deliver(random);
      expect(refused.error?.data.code).toBe('invalid_params');
    }
  }
  expect(registry.core.keyWatchFigures.watches).toBe(0);
});

test('[KV10] a watch resumes after the version of a read, and says when that is not known any more', async () => {
  const { registry, writer, watcher } = await start({ storeLogBytesMax: 1024 });
  await put(registry, writer, 'a', '1');
  const { version } = await ask<KeyGetResult>(registry, watcher.request('kv.get', { key: 'a' }));
  await put(registry, writer, 'a', '2');
  await put(registry, writer, 'b', '3');
  const resumed = await ask<KeyWatchResult>(registry, watcher.request('kv.watch', { key: 'a', version }));
  expect(resumed).toMatchObject({ version: registry.store.version });
  expect(resumed.changes!.map(name)).toEqual(['a=2']);
  const nothing = await ask<KeyWatchResult>(
    registry,
    watcher.request('kv.watch', { prefix: '', version: resumed.version }),
  );
  expect(nothing).toEqual({ version: resumed.version, changes: [] });
  for (let i = 0; i < 20; i++) await put(registry, writer, 'c', String(i));
  for (const old of [version, registry.store.version + 1]) {
    const lost = await ask<KeyWatchResult>(registry, watcher.request('kv.watch', { key: 'a', version: old }));
    expect(lost).toEqual({ version: registry.store.version, resync: true });
  }
  watcher.keyNews.length = 0;
  await put(registry, writer, 'a', '4');
  // Asking again replaces a watch.
  expect(told(watcher.keyNews.filter(({ key }) => key === 'a'))).toEqual(['a=4']);
});

test('[KV10] when the thread of the store dies, watches go on where they were, or say that they cannot', async () => {
  const { registry, writer, watcher } = await start();
  await put(registry, writer, 'a', '1');
  await ask(registry, watcher.request('kv.watch', { key: 'a' }));
  await ask(registry, watcher.request('kv.watch', { prefix: 'b' }));
  await put(registry, writer, 'a', '2');
  registry.store.die();
  const refused = watcher.request('kv.watch', { key: 'c' });
  await registry.deliver(random);
  expect(refused.error?.data.code).toBe('storage_unavailable');
  registry.store.revive();
  await registry.deliver(random);
  await put(registry, writer, 'a', '3');
  await put(registry, writer, 'b1', '4');
  expect(told(watcher.keyNews)).toEqual(['a=2', 'a=3', 'b1=4']);
  // It dies before it has told what it has stored.
  writer.request('kv.put', { key: 'a', value: encode('5') });
  while (registry.store.version < watcher.keyNews.at(-1)!.version + 1) registry.step(random);
  registry.store.die();
  registry.store.revive();
  await registry.deliver(random);
  expect(told(watcher.keyNews).slice(3).toSorted()).toEqual(['resync', 'resync']);
  await put(registry, writer, 'a', '6');
  expect(told(watcher.keyNews).at(-1)).toBe('a=6');
});

test('[KV10] watches belong to the connection: they go with it, and a client that resumes its session watches again', async () => {
  const { registry, writer, watcher } = await start();
  await put(registry, writer, 'a', '1');
  const { secret } = await ask<{ secret: string }>(registry, watcher.open());
  const { version } = await ask<KeyWatchResult>(registry, watcher.request('kv.watch', { key: 'a' }));
  watcher.leave(false);
  const again = new SimulatedClient(registry);
  await ask(registry, again.open(secret));
  await put(registry, writer, 'a', '2');
  expect(again.keyNews).toEqual([]);
  expect(registry.core.keyWatchFigures.watches).toBe(0);
  const resumed = await ask<KeyWatchResult>(registry, again.request('kv.watch', { key: 'a', version }));
  expect(resumed.changes!.map(name)).toEqual(['a=2']);
});

test('[KV11] [PU4] a client that does not read is told, once it does, to read anew, and then what changes', async () => {
  const { registry, writer } = await start();
  const watcher = new SimulatedClient(registry, 2);
  await ask(registry, watcher.request('kv.watch', { key: 'a' }));
  await ask(registry, watcher.request('kv.watch', { key: 'b' }));
  watcher.isReading = false;
  for (let i = 1; i <= 5; i++) await put(registry, writer, 'a', String(i));
  const last = registry.store.version;
  watcher.resume();
  await registry.deliver(random);
  expect(told(watcher.keyNews)).toEqual(['a=1', 'a=2', 'resync']);
  expect(watcher.keyNews.at(-1)).toEqual({ key: 'a', version: last, resync: true });
  await put(registry, writer, 'a', '6');
  await put(registry, writer, 'b', '7');
  expect(told(watcher.keyNews).slice(3)).toEqual(['a=6', 'b=7']);
  expect(registry.core.keyWatchFigures.resyncsSent).toBe(1);
});

test('[KV11] [LI1] keyWatchesMax, threadKeyWatchesMax and storeWatchesMax limit watches', async () => {
  const { registry, watcher } = await start({ keyWatchesMax: 2, threadKeyWatchesMax: 3, storeWatchesMax: 2 });
  const other = new SimulatedClient(registry);
  const limitOf = async (client: SimulatedClient, key: string): Promise<string | undefined> => {
    const answered = client.request('kv.watch', { key });
    await registry.deliver(random);
    return answered.error?.data.limit;
  };
  expect(await limitOf(watcher, 'a')).toBeUndefined();
  expect(await limitOf(watcher, 'b')).toBeUndefined();
  expect(await limitOf(watcher, 'c')).toBe('keyWatchesMax');
  expect(await limitOf(watcher, 'b')).toBeUndefined();
  expect(await limitOf(other, 'c')).toBe('storeWatchesMax');
  expect(await limitOf(other, 'a')).toBeUndefined();
  expect(await limitOf(new SimulatedClient(registry), 'a')).toBe('threadKeyWatchesMax');
  watcher.leave(true);
  await registry.deliver(random);
  expect(await limitOf(other, 'c')).toBeUndefined();
});

test('[KV9] in a batch, what is new does not come before the answer that began the watch', async () => {
  const { registry, writer, watcher } = await start();
  await put(registry, writer, 'slow', '1');
  const batch = [
    { jsonrpc: '2.0', id: 901, method: 'kv.watch', params: { key: 'a' } },
    { jsonrpc: '2.0', id: 902, method: 'kv.put', params: { key: 'a', value: encode('1') } },
    { jsonrpc: '2.0', id: 903, method: 'kv.get', params: { key: 'slow' } },
  ];
  for (const { id, method, params } of batch) {
    watcher.requests.set(id, { method: method as 'kv.watch', params });
  }
  registry.core.receive(watcher.session, JSON.stringify(batch));
  await registry.deliver(random);
  const begun = watcher.requests.get(901)!.result as KeyWatchResult;
  expect(begun).toHaveProperty('version');
  expect(watcher.keyNews.every(({ version }) => version > begun.version)).toBe(true);
  expect(['a=1', 'resync']).toContain(told(watcher.keyNews)[0]);
});
