import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { startServer } from 'slotcast';
import type { Server, ServerConfig } from 'slotcast';
import { connect, LockHeldError, LockLostError, OptionError } from 'slotcast/client';
import type { Client, ClientOptions, KeyPage, Lock } from 'slotcast/client';
import { afterEach, expect, test } from 'vitest';

import { findFreePort } from '../support/free-port.ts';
import { ioThreads } from '../support/io-threads.ts';
import { Wire } from '../support/wire.ts';

const stops: (() => unknown)[] = [];

afterEach(async () => {
  // Clients before what they are connected to.
  for (const stop of stops.splice(0).toReversed()) await stop();
});

async function start(config: Partial<ServerConfig> = {}): Promise<Server> {
  const server = await startServer({
    port: 0,
    ioThreads,
    partitions: 2,
    logLevel: 'silent',
    warmUpMs: 0,
    drainTimeoutMs: 200,
    reconnectSpreadMs: 20,
    ...config,
  });
  stops.push(() => server.stop());
  return server;
}

function open(server: string, options: Partial<ClientOptions> = {}): Client {
  const client = connect({ servers: [server], backoffMinMs: 10, backoffMaxMs: 50, ...options });
  stops.push(() => client.close());
  return client;
}

/** Those who held keys before a restart have had their time to come back. */
async function untilWarm({ address }: Server): Promise<void> {
  const isWarming = async (): Promise<unknown> => {
    const response = await fetch(`${address.httpUrl}/v1/stats`);
    return ((await response.json()) as { readonly warming: boolean }).warming;
  };
  await expect.poll(isWarming, { timeout: 30_000 }).toBe(false);
}

function untilLost({ signal }: Lock): Promise<LockLostError> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(signal.reason as LockLostError);
    signal.addEventListener('abort', () => {
      resolve(signal.reason as LockLostError);
    });
  });
}

test('keys have bytes and 64 bits of flags, are changed on conditions, and listed page by page', async () => {
  const { keys } = open((await start()).address.url);
  const bytes = Uint8Array.from({ length: 70_000 }, (_, i) => i % 256);
  const put = await keys.put('config/a', bytes, { flags: 2n ** 64n - 1n });
  expect(put).toMatchObject({ applied: true, entry: { key: 'config/a', flags: 2n ** 64n - 1n, lockIndex: 0 } });
  const entry = await keys.get('config/a');
  expect(entry?.value).toEqual(bytes);
  expect(await keys.put('config/b', 'grüße')).toMatchObject({ applied: true });
  expect(await keys.get('config/b')).toMatchObject({ text: 'grüße', flags: 0n });
  expect(await keys.get('config/none')).toBeUndefined();
  expect(await keys.put('config/b', 'x', { cas: 0 })).toMatchObject({ applied: false, reason: 'version' });
  expect(await keys.delete('config/b', { cas: 1 })).toMatchObject({ applied: false, reason: 'version' });
  const pages: KeyPage[] = [];
  for await (const page of keys.list({ prefix: 'config/', limit: 1 })) pages.push(page);
  expect(pages.map(({ entries }) => entries.map(({ key }) => key))).toEqual([['config/a'], ['config/b']]);
  for await (const { keys: names } of keys.list({ separator: '/' })) expect(names).toEqual(['config/']);
  for await (const { keys: names } of keys.list({ keysOnly: true })) expect(names).toEqual(['config/a', 'config/b']);
  const result = await keys.transact([
    { op: 'check', key: 'config/a', version: entry!.modifyVersion },
    { op: 'put', key: 'config/a', value: 'new' },
    { op: 'get', key: 'config/a' },
    { op: 'delete', key: 'config/b' },
  ]);
  expect(result).toMatchObject({ applied: true, entries: [{}, {}, { text: 'new' }, undefined] });
  const unmet = await keys.transact([{ op: 'check', key: 'config/a', version: 1 }]);
  expect(unmet).toMatchObject({ applied: false, failures: [{ index: 0, reason: 'version' }] });
  expect(await keys.deletePrefix('config/')).toBe(1);
  await expect(keys.put('k', 'v', { flags: 2n ** 64n })).rejects.toThrow(OptionError);
  await expect(keys.put('k', 'v', { acquire: true, release: true })).rejects.toMatchObject({ code: 'invalid_params' });
  await expect(keys.get('k', { signal: AbortSignal.abort(new Error('no')) })).rejects.toThrow('no');
});

test('[KV5] clients that compete for a lock hold it one at a time, under numbers that rise', async () => {
  const { url } = (await start()).address;
  let holders = 0;
  const fences: number[] = [];
  const compete = async (client: Client): Promise<void> => {
    for (let round = 0; round < 5; round++) {
      const lock = await client.keys.lock('job', { value: 'me' });
      holders += 1;
      expect(holders).toBe(1);
      fences.push(lock.fence);
      expect(await client.keys.get('job')).toMatchObject({ text: 'me', fence: lock.fence });
      holders -= 1;
      await lock.release();
      expect(lock.isHeld).toBe(false);
    }
  };
  const [a, b] = [open(url), open(url)];
  // Calls of one client take turns, too.
  await Promise.all([compete(a), compete(a), compete(b)]);
  expect(fences).toHaveLength(15);
  expect(fences).toEqual([...new Set(fences)].toSorted((x, y) => x - y));
  expect(await b.keys.get('job')).toMatchObject({ lockIndex: 15 });
  expect(await b.keys.get('job')).not.toHaveProperty('holder');
});

test('a lock can be tried, waited for, given up and released at the end of a block', async () => {
  const { url } = (await start()).address;
  const [a, b] = [open(url), open(url)];
  {
    await using lock = await a.keys.lock('job', { onEnd: 'delete' });
    expect(lock).toMatchObject({ key: 'job', isHeld: true });
    expect(await b.keys.tryLock('job')).toBeUndefined();
    const late = b.keys.lock('job', { timeoutMs: 150 });
    await expect(late).rejects.toThrow(LockHeldError);
    const abort = new AbortController();
    const given = b.keys.lock('job', { signal: abort.signal });
    abort.abort(new Error('enough'));
    await expect(given).rejects.toThrow('enough');
  }
  expect(await b.keys.get('job')).toBeUndefined();
  const held = await b.keys.tryLock('job');
  expect(held?.isHeld).toBe(true);
  const lost = untilLost(held!);
  await b.close();
  expect(await lost).toMatchObject({ loss: 'closed' });
  // Closed in order: there is no lock delay.
  expect(await a.keys.lock('job')).toMatchObject({ isHeld: true });
});

test('[KV6] a connection that breaks keeps its locks; one that stays away loses them, and nobody gets them before the lock delay is over', async () => {
  const server = await start({ disconnectGraceMs: 1000 });
  const wire = await Wire.start(server.address.port);
  stops.push(() => wire.stop());
  const [a, b] = [open(wire.url), open(server.address.url)];
  const lock = await a.keys.lock('job', { lockDelayMs: 1000 });
  const isResumed = new Promise<boolean>((resolve) => {
    a.on('connected', (event) => {
      resolve(event.isResumed);
    });
  });
  wire.cut();
  expect(await isResumed).toBe(true);
  expect(await b.keys.tryLock('job')).toBeUndefined();
  expect(lock.isHeld).toBe(true);
  wire.close();
  const error = await untilLost(lock);
  expect(error).toBeInstanceOf(LockLostError);
  expect(error).toMatchObject({ key: 'job', loss: 'connection' });
  // Delayed by now: the session has ended.
  await expect.poll(async () => (await b.keys.get('job'))?.holder).toBeUndefined();
  await expect(b.keys.lock('job', { timeoutMs: 100 })).rejects.toMatchObject({ reason: 'delayed' });
  const next = await b.keys.lock('job');
  expect(next.fence).toBeGreaterThan(lock.fence);
  wire.open();
  await a.whenConnected();
  expect(await a.keys.tryLock('job')).toBeUndefined();
  expect(next.isHeld).toBe(true);
  await lock.release();
  expect(await b.keys.get('job')).toMatchObject({ fence: next.fence });
});

test('[KV7] a lock outlives restarts of the registry for whoever is patient enough', async () => {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'client-keys-'));
  stops.push(() => {
    rmSync(dataDir, { recursive: true, force: true });
  });
  const config = { port: await findFreePort(), httpPort: 0, dataDir, warmUpMs: 2000 };
  const first = await start(config);
  const { url } = first.address;
  const [a, b] = [open(url), open(url)];
  const lock = await a.keys.lock('job', { value: 'a', lostAfterMs: 16_000 });
  await b.keys.put('other', 'b');
  await first.stop();
  expect(lock.isHeld).toBe(true);
  const second = await start(config);
  await Promise.all([a.whenConnected(), b.whenConnected()]);
  await untilWarm(second);
  // Its session has only ever held a key, and is there again all the same.
  await second.stop();
  const third = await start(config);
  await Promise.all([a.whenConnected(), b.whenConnected()]);
  await untilWarm(third);
  expect(await b.keys.get('other')).toMatchObject({ text: 'b' });
  expect(await b.keys.get('job')).toMatchObject({ text: 'a', fence: lock.fence });
  expect(await b.keys.tryLock('job')).toBeUndefined();
  expect(lock.isHeld).toBe(true);
  await lock.release();
  expect((await b.keys.lock('job')).fence).toBeGreaterThan(lock.fence);
});

test('a leader that dies is followed by another, which leads until it resigns', async () => {
  const server = await start({ disconnectGraceMs: 50 });
  const wire = await Wire.start(server.address.port);
  stops.push(() => wire.stop());
  const terms = { lockDelayMs: 0 };
  const first = open(wire.url).keys.elect('leader', { value: 'first', ...terms });
  const losses: unknown[] = [];
  first.on('lost', (error) => losses.push(error));
  const leaders: (string | undefined)[] = [];
  await expect.poll(() => first.isLeader).toBe(true);
  const { fence } = first.lock!;
  const observer = open(server.address.url);
  const second = open(server.address.url).keys.elect('leader', { value: 'second', ...terms });
  second.on('leader', (leader) => leaders.push(leader?.text));
  expect(await observer.keys.get('leader')).toMatchObject({ text: 'first', fence });
  await expect.poll(() => second.leader?.text).toBe('first');
  wire.close();
  await expect.poll(() => second.isLeader, { timeout: 10_000 }).toBe(true);
  expect(second.lock!.fence).toBeGreaterThan(fence);
  expect(await observer.keys.get('leader')).toMatchObject({ text: 'second', fence: second.lock!.fence });
  await expect.poll(() => leaders).toEqual(['first', undefined, 'second']);
  await expect.poll(() => first.isLeader).toBe(false);
  expect(losses).toMatchObject([{ loss: 'connection' }]);
  wire.open();
  // It goes on, and leads again once it can.
  await second.resign();
  expect(second.isLeader).toBe(false);
  await expect.poll(() => first.isLeader, { timeout: 10_000 }).toBe(true);
  await first.resign();
  expect(await observer.keys.get('leader')).not.toHaveProperty('holder');
});

test('[KV9] a watch tells what changes, also what changed while its connection was away', async () => {
  const server = await start();
  const wire = await Wire.start(server.address.port);
  stops.push(() => wire.stop());
  const [watcher, writer] = [open(wire.url), open(server.address.url)];
  const watch = await watcher.keys.watch({ prefix: 'config/' });
  const seen: string[] = [];
  const reading = (async () => {
    for await (const event of watch) {
      if (event.kind === 'resync') seen.push('resync');
      else for (const { key, entry } of event.updates) seen.push(`${key}=${entry?.text ?? 'gone'}`);
    }
  })();
  await writer.keys.put('config/a', '1');
  await writer.keys.put('other', '1');
  await expect.poll(() => seen).toEqual(['config/a=1']);
  wire.close();
  await expect.poll(() => watcher.isConnected).toBe(false);
  await writer.keys.put('config/a', '2');
  await writer.keys.delete('config/a');
  wire.open();
  await expect.poll(() => seen).toEqual(['config/a=1', 'config/a=2', 'config/a=gone']);
  const { version } = watch;
  watch.close();
  await reading;
  await writer.keys.put('config/b', '3');
  const later = await watcher.keys.watch({ prefix: 'config/' }, { version });
  expect(await later.next()).toMatchObject({ value: { kind: 'changes', updates: [{ key: 'config/b' }] } });
  await watcher.close();
  expect(await later.next()).toEqual({ done: true, value: undefined });
});

test('a key can be followed, and a lock is lost at once when somebody deletes it', async () => {
  const { url } = (await start()).address;
  const [a, b] = [open(url), open(url)];
  const abort = new AbortController();
  const seen: (string | undefined)[] = [];
  const following = (async () => {
    for await (const entry of a.keys.follow('k', { signal: abort.signal })) seen.push(entry?.text);
  })();
  await expect.poll(() => seen).toEqual([undefined]);
  await b.keys.put('k', '1');
  await expect.poll(() => seen).toEqual([undefined, '1']);
  await b.keys.delete('k');
  await expect.poll(() => seen).toEqual([undefined, '1', undefined]);
  abort.abort();
  await following;
  const lock = await a.keys.lock('job');
  // It waits by a watch, not by chance.
  const waiting = b.keys.lock('job');
  await b.keys.delete('job');
  expect(await untilLost(lock)).toMatchObject({ loss: 'released' });
  expect((await waiting).fence).toBeGreaterThan(lock.fence);
});
