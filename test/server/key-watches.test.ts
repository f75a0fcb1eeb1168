import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { startFaultyServer } from 'slotcast/testing';
import type { FaultyServer } from 'slotcast/testing';
import { afterEach, expect, test } from 'vitest';

import { ioThreads } from '../support/io-threads.ts';
import { RawClient } from '../support/raw-client.ts';

interface Shown {
  readonly key: string;
  readonly value?: string;
  readonly deleted?: true;
  readonly modifyVersion: number;
}

interface Read {
  readonly version: number;
  readonly entry?: Shown;
  readonly entries?: readonly Shown[];
  readonly keys?: readonly string[];
}

const folder = mkdtempSync(path.join(tmpdir(), 'slotcast-watches-'));
const clients: RawClient[] = [];
let server: FaultyServer | undefined;

afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await server?.stop();
  server = undefined;
  rmSync(folder, { recursive: true, force: true });
});

async function start(config: Parameters<typeof startFaultyServer>[0] = {}): Promise<FaultyServer> {
  const usual = { port: 0, httpPort: 0, ioThreads, partitions: 2, logLevel: 'silent', warmUpMs: 0 } as const;
  server = await startFaultyServer({ ...usual, dataDir: folder, partitionRestartBackoffMs: 1, ...config });
  return server;
}

async function connect({ address }: FaultyServer): Promise<RawClient> {
  const client = await RawClient.open(address.url);
  clients.push(client);
  return client;
}

function encode(text: string): string {
  return Buffer.from(text).toString('base64');
}

async function fetchRead(url: string): Promise<Read> {
  const response = await fetch(url);
  expect(response.status).toBe(200);
  return (await response.json()) as Read;
}

async function countSessions({ address }: FaultyServer): Promise<number> {
  const response = await fetch(`${address.httpUrl}/v1/stats`);
  return ((await response.json()) as { sessions: number }).sessions;
}

test('[KV9] [KV10] a watch tells of what others put, whichever thread holds it, and goes on when the thread of the store has died', async () => {
  const started = await start();
  const [writer, ...watchers] = await Promise.all([connect(started), connect(started), connect(started)]);
  const { version } = await writer.request<Read>('kv.get', { key: 'a/1' });
  const heard = watchers.map((watcher) => {
    const changes: Shown[] = [];
    let resyncs = 0;
    watcher.onNotification = (_method, params): void => {
      if (params['resync'] === true) resyncs += 1;
      changes.push(...((params['changes'] ?? []) as Shown[]));
    };
    return { changes, countResyncs: () => resyncs };
  });
  for (const watcher of watchers) {
    expect(await watcher.request('kv.watch', { prefix: 'a/', version })).toEqual({ version, changes: [] });
  }
  const put = async (key: string, value: string): Promise<void> => {
    await expect
      .poll(() => writer.request('kv.put', { key, value: encode(value) }).catch(() => ({ applied: false })))
      .toMatchObject({ applied: true });
  };
  await put('a/1', '1');
  await put('b', '2');
  started.store.kill();
  for (let i = 3; i < 30; i++) await put(`a/${i % 3}`, String(i));
  await writer.request('kv.delete', { key: 'a/1' });
  for (const { changes, countResyncs } of heard) {
    await expect.poll(() => changes.at(-1)).toMatchObject({ key: 'a/1', deleted: true });
    // What was stored when it died may be told as that it is not known; nothing is told twice, and nothing is left out in silence.
    const versions = changes.map(({ modifyVersion }) => modifyVersion);
    expect(versions).toEqual([...new Set(versions)].toSorted((a, b) => a - b));
    if (countResyncs() === 0) expect(changes.length).toBeGreaterThanOrEqual(29);
  }
});

test('[KV12] over HTTP a read waits for a change after the version that it is given', async () => {
  const started = await start();
  const base = `${started.address.httpUrl}/v1/keys`;
  const writer = await connect(started);
  const put = (key: string, value: string): Promise<{ version: number }> =>
    writer.request('kv.put', { key, value: encode(value) });

  // One that does not exist yet, one that is changed, and one that is deleted.
  const missing = await fetchRead(`${base}/a`);
  expect(missing).not.toHaveProperty('entry');
  const created = fetchRead(`${base}/a?index=${missing.version}&wait=20s`);
  await expect.poll(() => countSessions(started)).toBe(2);
  await put('b', '0');
  const { version: first } = await put('a', '1');
  expect(await created).toMatchObject({ version: first, entry: { key: 'a', value: encode('1') } });
  const changed = fetchRead(`${base}/a?index=${first}`);
  await expect.poll(() => countSessions(started)).toBe(2);
  // Nothing changes.
  await put('a', '1');
  const { version: second } = await put('a', '2');
  expect(await changed).toMatchObject({ version: second, entry: { value: encode('2') } });
  const deleted = fetchRead(`${base}/a?index=${second}`);
  await expect.poll(() => countSessions(started)).toBe(2);
  await writer.request('kv.delete', { key: 'a' });
  const gone = await deleted;
  expect(gone).not.toHaveProperty('entry');
  expect(gone.version).toBeGreaterThan(second);

  // What has happened since is answered at once, and so is what is above all versions.
  expect(await fetchRead(`${base}/a?index=${first}`)).toEqual(gone);
  expect(await fetchRead(`${base}/a?index=${Number.MAX_SAFE_INTEGER}`)).toEqual(gone);

  // A wait that ends answers the same, under the same version, whatever else has been stored.
  const waiting = fetchRead(`${base}/a?index=${gone.version}&wait=300ms`);
  await put('b', '1');
  expect(await waiting).toEqual(gone);
  await expect.poll(() => countSessions(started)).toBe(1);
});

test('[KV12] over HTTP a list waits for a change below its prefix; callers that leave are forgotten, and indexes never go back', async () => {
  const started = await start();
  const base = `${started.address.httpUrl}/v1/keys`;
  const writer = await connect(started);
  await writer.request('kv.put', { key: 'p/1', value: encode('1') });
  const list = await fetchRead(`${base}?prefix=p%2F`);
  expect(list.entries).toHaveLength(1);
  const waits = [
    `${base}?prefix=p%2F&index=${list.version}`,
    `${base}?prefix=p%2F&keysOnly=true&index=${list.version}`,
  ];
  const answers = Promise.all(waits.map(fetchRead));
  const gone = new AbortController();
  const left = fetch(waits[0]!, { signal: gone.signal });
  await expect.poll(() => countSessions(started)).toBe(4);
  gone.abort();
  await expect(left).rejects.toThrow();
  await expect.poll(() => countSessions(started)).toBe(3);
  await writer.request('kv.put', { key: 'q', value: encode('1') });
  await writer.request('kv.put', { key: 'p/2', value: encode('2') });
  const [whole, names] = await answers;
  expect(whole!.entries!.map(({ key }) => key)).toEqual(['p/1', 'p/2']);
  expect(names!.keys).toEqual(['p/1', 'p/2']);
  await expect.poll(() => countSessions(started)).toBe(1);

  // With a tag, the same answer is not sent again.
  const quiet = `${base}?prefix=p%2F&index=${whole!.version}&wait=100ms`;
  const answered = await fetch(quiet);
  const again = await fetch(quiet, { headers: { 'If-None-Match': answered.headers.get('etag')! } });
  expect([answered.status, again.status]).toEqual([200, 304]);

  // However they come, and whichever partition has them.
  let highest = 0;
  const read = async (url: string): Promise<void> => {
    const before = highest;
    const { version } = await fetchRead(url);
    expect(version).toBeGreaterThanOrEqual(before);
    highest = Math.max(highest, version);
  };
  for (let i = 0; i < 50; i++) {
    await writer.request('kv.put', { key: `k${i}`, value: encode('x') });
    await read(`${base}/k${(i * 7) % 11}`);
    await read(`${base}?prefix=k&limit=1`);
  }
});

test('[KV12] a poll that follows a key over deaths of threads misses no state that lasts', async () => {
  const started = await start();
  const base = `${started.address.httpUrl}/v1/keys`;
  const writer = await connect(started);
  const stop = new AbortController();
  const seen: number[] = [];
  const poll = (async (): Promise<void> => {
    let index = 0;
    while (!stop.signal.aborted) {
      try {
        const response = await fetch(`${base}/counter?index=${index}&wait=2s`);
        if (response.status !== 200) continue;
        const { version, entry } = (await response.json()) as Read;
        expect(version).toBeGreaterThanOrEqual(index);
        index = version;
        if (entry?.value !== undefined) seen.push(Number(Buffer.from(entry.value, 'base64').toString()));
      } catch {
        // The thread that serves HTTP has just died.
      }
    }
  })();
  for (let i = 1; i <= 60; i++) {
    if (i === 20) started.store.kill();
    if (i === 40) started.killEdge(0);
    if (i === 50) started.inflict(0, 'throw');
    if (i === 51) started.inflict(1, 'throw');
    await expect
      .poll(() =>
        writer.request('kv.put', { key: 'counter', value: encode(String(i)) }).catch(() => ({ applied: false })),
      )
      .toMatchObject({ applied: true });
  }
  await expect.poll(() => seen.at(-1), { timeout: 30_000 }).toBe(60);
  stop.abort();
  await writer.request('kv.put', { key: 'counter', value: encode('61') });
  await poll;
  expect(seen).toEqual(seen.toSorted((a, b) => a - b));
});
