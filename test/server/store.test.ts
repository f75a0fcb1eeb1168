import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { startFaultyServer } from 'slotcast/testing';
import type { FaultyServer } from 'slotcast/testing';
import { afterEach, expect, test } from 'vitest';

import { ioThreads } from '../support/io-threads.ts';

type ServerConfig = NonNullable<Parameters<typeof startFaultyServer>[0]>;

const folder = mkdtempSync(path.join(tmpdir(), 'slotcast-data-'));
let server: FaultyServer | undefined;

afterEach(async () => {
  await server?.stop();
  server = undefined;
  rmSync(folder, { recursive: true, force: true });
});

async function start(dataDir: string, config: Partial<ServerConfig> = {}): Promise<FaultyServer> {
  server = await startFaultyServer({
    port: 0,
    partitions: 1,
    ioThreads,
    dataDir,
    logLevel: 'silent',
    partitionRestartBackoffMs: 1,
    ...config,
  });
  return server;
}

function put(key: string, text: string): Parameters<FaultyServer['store']['commit']>[0][0] {
  return { table: 'keys', key, payload: Buffer.from(text), createVersion: 0 };
}

async function readKeys({ store }: FaultyServer, prefix = ''): Promise<string[]> {
  const keys: string[] = [];
  for await (const rows of store.load('keys', prefix))
    for (const { key, payload } of rows) keys.push(`${key}=${Buffer.from(payload).toString()}`);
  return keys;
}

test('[ST1] what is stored in a folder is there after a restart, and versions continue', async () => {
  const first = await start(folder);
  const outcomes = await Promise.all([
    first.store.commit([put('a', '1'), put('b', '2')]),
    first.store.commit([put('c', '3')]),
  ]);
  // The registry's own row was the first.
  expect(outcomes).toEqual([{ version: 2 }, { version: 3 }]);
  await first.stop();
  const second = await start(folder);
  expect(await readKeys(second)).toEqual(['a=1', 'b=2', 'c=3']);
  expect(await readKeys(second, 'b')).toEqual(['b=2']);
  expect(await second.store.commit([])).toEqual({ version: 5 });
});

test('[ST1] without a folder it works the same, and ends with the process', async () => {
  const first = await start('');
  expect(await first.store.commit([put('a', '1')])).toEqual({ version: 2 });
  expect(await readKeys(first)).toEqual(['a=1']);
  await first.stop();
  expect(await readKeys(await start(''))).toEqual([]);
});

test('[ST3] a store that is full refuses, and goes on once there is room', async () => {
  const { store } = await start('', { storeBytesMax: 1_048_576, storeRetryMaxMs: 100 });
  const large = 'x'.repeat(500_000);
  expect(await store.commit([put('a', large)])).toMatchObject({ version: expect.any(Number) });
  expect(await store.commit([put('b', large), put('c', large)])).toMatchObject({
    failure: { code: 'storage_unavailable', message: expect.stringContaining('storeBytesMax') },
  });
  await expect
    .poll(() => store.commit([{ table: 'keys', key: 'a', payload: undefined, createVersion: 0 }]))
    .toMatchObject({ version: expect.any(Number) });
  expect(await store.commit([put('b', large)])).toMatchObject({ version: expect.any(Number) });
});

test('[ST2] a transaction of which a part does not come is given up after jointCommitTimeoutMs', async () => {
  const { store } = await start('', { jointCommitTimeoutMs: 100 });
  const reply = new Promise((resolve) => {
    store.connect((port) => {
      port.once('message', resolve);
      const joint = { id: 1, partitions: [6, 7], isRefused: false };
      port.postMessage([{ kind: 'commit', request: 1, writes: [put('a', '1')], joint }]);
    }, 6);
  });
  expect(await reply).toEqual([{ kind: 'abandoned', request: 1 }]);
});

test('[ST4] when the thread of the store dies, the fate of what it was asked is unknown; it is started again, and callers get a new port', async () => {
  const running = await start(folder);
  const ports: unknown[] = [];
  const closed: Promise<void>[] = [];
  running.store.connect((port) => {
    ports.push(port);
    closed.push(new Promise((resolve) => port.once('close', resolve)));
  }, 0);
  expect(ports).toHaveLength(1);
  await running.store.commit([put('a', '1')]);
  const pending = running.store.commit([put('b', '2')]);
  running.store.kill();
  await closed[0];
  const outcome = await pending;
  expect('version' in outcome || outcome.failure.code === 'internal').toBe(true);
  expect(await running.store.commit([])).toMatchObject({ failure: { code: 'storage_unavailable' } });
  await expect.poll(() => ports.length).toBe(2);
  await expect.poll(async () => running.store.commit([])).toMatchObject({ version: expect.any(Number) });
  expect(await readKeys(running)).toContain('a=1');
});

test('[ST7] a second server on the same folder is refused, and told who has it', async () => {
  await start(folder);
  const second = startFaultyServer({ port: 0, partitions: 1, ioThreads, dataDir: folder, logLevel: 'silent' });
  await expect(second).rejects.toMatchObject({
    name: 'DataFolderError',
    message: expect.stringContaining(`another server of this process, ${process.pid}`),
  });
  expect(await server!.store.commit([])).toMatchObject({ version: expect.any(Number) });
});

test('[ST6] a registry whose store was damaged starts, says so, and stores', async () => {
  const first = await start(folder);
  for (let i = 0; i < 10; i++) await first.store.commit([put(`k${i}`, String(i))]);
  await first.stop();
  const file = path.join(folder, 'store.mdb');
  const content = readFileSync(file);
  content.fill(0, 5 * 8192);
  writeFileSync(file, content);
  const second = await start(folder);
  expect(readdirSync(folder).filter((name) => name.includes('.damaged-'))).toHaveLength(1);
  const stats = (await (await fetch(`${second.address.httpUrl}/v1/stats`)).json()) as {
    counters: Record<string, number>;
  };
  expect(stats.counters['store_damaged']).toBe(1);
  expect(await second.store.commit([put('after', '1')])).toMatchObject({ version: expect.any(Number) });
  expect(await readKeys(second)).toContain('after=1');
});

test('[ST3] a folder that goes away is made again with all that was in it', async () => {
  const running = await start(folder);
  await running.store.commit([put('a', '1')]);
  rmSync(folder, { recursive: true });
  expect(await running.store.commit([put('b', '2')])).toMatchObject({ failure: { code: 'storage_unavailable' } });
  expect(running.store.state).toMatchObject({ kind: 'unavailable', fault: 'missing' });
  await expect.poll(() => running.store.state.kind, { timeout: 20_000 }).toBe('available');
  expect(await readKeys(running)).toEqual(['a=1']);
  expect(await running.store.commit([put('b', '2')])).toMatchObject({ version: expect.any(Number) });
});
