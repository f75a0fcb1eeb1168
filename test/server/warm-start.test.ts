import { cpSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { connect } from 'slotcast/client';
import type { Client } from 'slotcast/client';
import { afterEach, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';

import { RunningCommand } from '../support/command.ts';
import { findFreePort } from '../support/free-port.ts';
import { ioThreads } from '../support/io-threads.ts';
import { RawClient } from '../support/raw-client.ts';

const clients: Client[] = [];
let running: RunningCommand | undefined;
let folder = '';

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  running?.signal('SIGKILL');
  await running?.exited;
  rmSync(folder, { recursive: true, force: true });
});

/** A socket whose connection can be broken off. */
class CutSocket extends WebSocket {
  static readonly #open: Set<CutSocket> = new Set();

  constructor(url: string) {
    super(url);
    CutSocket.#open.add(this);
  }

  static cutAll(): void {
    for (const socket of CutSocket.#open) socket.terminate();
    CutSocket.#open.clear();
  }
}

interface Ports {
  readonly port: number;
  readonly httpPort: number;
}

interface List {
  readonly version: number;
  readonly instances: readonly { readonly id: string }[];
}

/** Starts the registry on its ports, with the data folder of its last life. */
async function start({ port, httpPort }: Ports, flags: Readonly<Record<string, string | number>>): Promise<void> {
  const settings = { port, httpPort, dataDir: folder, logLevel: 'silent', ...flags };
  const args = Object.entries(settings).flatMap(([name, value]) => [
    `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`,
    String(value),
  ]);
  running = new RunningCommand(['start', ...args], {}, { lifeMaxMs: 90_000 });
  await running.waitFor(/listens on/);
}

async function kill(): Promise<void> {
  running?.signal('SIGKILL');
  await running?.exited;
}

async function read<T>({ httpPort }: Ports, target: string): Promise<T> {
  const response = await fetch(`http://127.0.0.1:${httpPort}${target}`);
  return (await response.json()) as T;
}

async function readStates(ports: Ports): Promise<string[]> {
  const { sessions } = await read<{
    readonly sessions: readonly { readonly state: string; readonly registrations: number }[];
  }>(ports, '/v1/sessions');
  return sessions.filter(({ registrations }) => registrations > 0).map(({ state }) => state);
}

async function setUp(): Promise<Ports> {
  folder = mkdtempSync(path.join(tmpdir(), 'warm-start-'));
  return { port: await findFreePort(), httpPort: await findFreePort() };
}

test('[WS2] a journal of which more than journalBytesWaitingMax waits is given up, which is counted, and harms nobody', async () => {
  const ports = await setUp();
  await start(ports, { partitions: 1, journalBytesWaitingMax: 65_536 });
  const client = connect({ servers: [`ws://127.0.0.1:${ports.port}`] });
  clients.push(client);
  const note = 'x'.repeat(4000);
  await Promise.all(
    Array.from({ length: 200 }, (_, i) => client.register('pay', { host: 'h', port: 1 + i, metadata: { note } })),
  );
  await expect
    .poll(
      async () => (await read<{ counters: Record<string, number> }>(ports, '/v1/stats')).counters['journal_given_up'],
    )
    .toBeGreaterThan(0);
  expect((await read<List>(ports, '/v1/instances?service=pay')).instances).toHaveLength(200);
});

test('[WS3] [PU5] after SIGKILL the registry answers with the lists of before, at later versions, whatever the number of threads, and clients take their sessions over', async () => {
  const ports = await setUp();
  await start(ports, { partitions: 2, ioThreads, warmUpMs: 0 });
  const url = `ws://127.0.0.1:${ports.port}`;
  for (let i = 0; i < 6; i++) clients.push(connect({ servers: [url], backoffMinMs: 1500, backoffMaxMs: 3000 }));
  await Promise.all(
    clients.flatMap((client, i) =>
      ['pay', 'ship', 'mail'].map((name) => client.register(name, { host: `h${i}`, port: 1 })),
    ),
  );
  const view = await clients[0]!.subscribe('pay');
  await vi.waitFor(() => expect(view.instances.length).toBe(6), 10_000);
  const put = await fetch(`http://127.0.0.1:${ports.httpPort}/v1/instances`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ service: 'leased', instance: { host: 'l', port: 1 } }),
  });
  const { lease } = (await put.json()) as { readonly lease: string };
  const before = await Promise.all(
    ['pay', 'ship', 'mail', 'leased'].map((name) => read<List>(ports, `/v1/instances?service=${name}`)),
  );
  // Journals are written behind.
  await delay(500);
  const shown: number[] = [];
  view.on('change', ({ instances }) => shown.push(instances.length));
  await kill();
  await start(ports, { partitions: 3, ioThreads: ioThreads === 0 ? 1 : 0, warmUpMs: 10_000 });
  const after = await Promise.all(
    ['pay', 'ship', 'mail', 'leased'].map((name) => read<List>(ports, `/v1/instances?service=${name}`)),
  );
  for (const [i, { version }] of after.entries()) expect(version).toBeGreaterThan(before[i]!.version);
  const idsOf = ({ instances }: List): string[] => instances.map(({ id }) => id).toSorted();
  expect(after.map(idsOf)).toEqual(before.map(idsOf));
  expect(after.every((list) => 'warming' in list)).toBe(true);
  await vi.waitFor(
    async () => expect((await readStates(ports)).toSorted()).toEqual([...clients.map(() => 'connected'), 'leased']),
    30_000,
  );
  expect(await read(ports, '/v1/stats')).toMatchObject({ counters: { session_resumed: 6 } });
  await vi.waitFor(
    async () =>
      expect((await fetch(`http://127.0.0.1:${ports.httpPort}/v1/leases/${lease}`, { method: 'PUT' })).status).toBe(
        200,
      ),
    10_000,
  );
  // Nothing has changed, so nothing is pushed.
  expect(shown).toEqual([]);
  expect((await read<List>(ports, '/v1/instances?service=pay')).version).toBe(after[0]!.version);
  // The next change is above all versions of before.
  await clients[1]!.register('pay', { host: 'new', port: 1 });
  await vi.waitFor(() => expect(shown).toEqual([7]), 10_000);
  expect((await read<List>(ports, '/v1/instances?service=pay')).version).toBeGreaterThan(after[0]!.version);
}, 120_000);

test('[WS3] [PU1] no version goes back: after an orderly end it is the same, and after SIGKILL a higher one, though what happened last was not noted', async () => {
  const ports = await setUp();
  const flags = { partitions: 2, ioThreads, warmUpMs: 10_000 };
  await start(ports, { ...flags, warmUpMs: 0 });
  const options = { servers: [`ws://127.0.0.1:${ports.port}`], backoffMinMs: 20, backoffMaxMs: 100 };
  const client = connect(options);
  clients.push(client);
  const target = '/v1/instances?service=pay';
  let told = 0;
  for (let round = 0; round < 4; round++) {
    const isKill = round % 2 === 0;
    await vi.waitFor(() => expect(client.isConnected).toBe(true), 20_000);
    for (let port = 1; port <= 5; port++) {
      const { version } = await client.register('pay', { host: 'h', port, weight: round + 1 });
      expect(version).toBeGreaterThan(told);
      told = version;
    }
    expect((await read<List>(ports, target)).version).toBe(told);
    running?.signal(isKill ? 'SIGKILL' : 'SIGTERM');
    await running?.exited;
    await start(ports, flags);
    const { version } = await read<List>(ports, target);
    if (isKill) expect(version).toBeGreaterThan(told);
    else expect(version).toBe(told);
  }
}, 120_000);

test('[WS3] [PU1] a life without a journal leaves none that says what was before it', async () => {
  const ports = await setUp();
  const target = '/v1/instances?service=pay';
  await start(ports, { partitions: 1, warmUpMs: 0 });
  const client = connect({ servers: [`ws://127.0.0.1:${ports.port}`], backoffMinMs: 60_000, backoffMaxMs: 60_000 });
  clients.push(client);
  await client.register('pay', { host: 'h', port: 1 });
  running?.signal('SIGTERM');
  await running?.exited;
  await start(ports, { partitions: 1, warmUpMs: 0, warmStart: 'false' });
  const other = connect({ servers: [`ws://127.0.0.1:${ports.port}`], backoffMinMs: 60_000, backoffMaxMs: 60_000 });
  clients.push(other);
  const { version } = await other.register('pay', { host: 'h', port: 2 });
  await kill();
  // What lies in the folder beside the journal's files does no harm.
  mkdirSync(path.join(folder, 'journal', 'claims-5-0-9.part'));
  await start(ports, { partitions: 1, warmUpMs: 10_000 });
  const list = await read<List>(ports, target);
  expect(list.version).toBeGreaterThan(version);
  expect(list.instances).toEqual([]);
}, 60_000);

test('[WS3] [PU1] a journal that ended in order counts only for the next start', async () => {
  const ports = await setUp();
  await start(ports, { partitions: 1, warmUpMs: 0 });
  const client = connect({ servers: [`ws://127.0.0.1:${ports.port}`], backoffMinMs: 60_000, backoffMaxMs: 60_000 });
  clients.push(client);
  const { version } = await client.register('pay', { host: 'h', port: 1 });
  running?.signal('SIGTERM');
  await running?.exited;
  const kept = path.join(folder, 'kept');
  cpSync(path.join(folder, 'journal'), kept, { recursive: true });
  await start(ports, { partitions: 1, warmUpMs: 10_000 });
  expect((await read<List>(ports, '/v1/instances?service=pay')).version).toBe(version);
  await kill();
  // As if that life had not been able to write there.
  rmSync(path.join(folder, 'journal'), { recursive: true });
  renameSync(kept, path.join(folder, 'journal'));
  await start(ports, { partitions: 1, warmUpMs: 10_000 });
  expect((await read<List>(ports, '/v1/instances?service=pay')).version).toBeGreaterThan(version);
}, 60_000);

test('[WS3] [PU1] who waits over HTTP from a version of before SIGKILL is woken by the next change only', async () => {
  const ports = await setUp();
  await start(ports, { partitions: 1, warmUpMs: 0 });
  const client = connect({ servers: [`ws://127.0.0.1:${ports.port}`], backoffMinMs: 20, backoffMaxMs: 100 });
  clients.push(client);
  await client.register('pay', { host: 'h', port: 1 });
  const { version } = await read<List>(ports, '/v1/instances?service=pay');
  await delay(500);
  await kill();
  await start(ports, { partitions: 1, warmUpMs: 10_000 });
  await vi.waitFor(() => expect(client.isConnected).toBe(true), 20_000);
  const began = read<List>(ports, `/v1/instances?service=pay&index=${version}&wait=30s`);
  const early = await Promise.race([began, delay(1000, undefined)]);
  expect(early).toBeUndefined();
  await client.register('pay', { host: 'h', port: 2 });
  expect((await began).instances).toHaveLength(2);
}, 60_000);

test('[PU5] nobody has to wait at the first start in a folder, unless a client shows that it was here before', async () => {
  const ports = await setUp();
  const url = `ws://127.0.0.1:${ports.port}`;
  const readReady = async (): Promise<unknown> => {
    const response = await fetch(`http://127.0.0.1:${ports.httpPort}/health/ready`);
    return { code: response.status, ...((await response.json()) as object) };
  };
  await start(ports, { partitions: 1, ioThreads });
  expect(await readReady()).toEqual({ code: 200, status: 'ready', waitingFor: [], store: { available: true } });
  const options = { servers: [url], backoffMinMs: 20, backoffMaxMs: 100 };
  const [provider, subscriber] = [connect(options), connect({ ...options, backoffMinMs: 1000, backoffMaxMs: 2000 })];
  clients.push(provider, subscriber);
  await provider.register('pay', { host: 'h', port: 1 });
  const view = await subscriber.subscribe('pay');
  expect(await read<List>(ports, '/v1/instances?service=pay')).not.toHaveProperty('warming');
  await kill();
  // As in a container without a volume.
  rmSync(folder, { recursive: true });
  const lengths: number[] = [];
  view.on('change', ({ instances }) => lengths.push(instances.length));
  await start(ports, { partitions: 1, ioThreads });
  await vi.waitFor(() => expect(provider.isConnected).toBe(true), 20_000);
  expect(await readReady()).toMatchObject({ code: 503, status: 'warming' });
  expect(await read<List>(ports, '/v1/instances?service=pay')).toMatchObject({ warming: true });
  await vi.waitFor(() => expect(subscriber.isConnected && !view.isStale).toBe(true), 20_000);
  expect(view.instances).toHaveLength(1);
  expect(lengths.every((length) => length === 1)).toBe(true);
}, 90_000);

test('[WS3] what nobody comes back for goes when earlier clients have had their time', async () => {
  const ports = await setUp();
  await start(ports, { partitions: 1, warmUpMs: 0 });
  const client = connect({ servers: [`ws://127.0.0.1:${ports.port}`], backoffMinMs: 60_000, backoffMaxMs: 60_000 });
  clients.push(client);
  await client.register('pay', { host: 'h', port: 1 });
  await delay(500);
  await kill();
  await start(ports, { partitions: 1, warmUpMs: 1500, disconnectGraceMs: 300 });
  expect((await read<List>(ports, '/v1/instances?service=pay')).instances.length).toBe(1);
  expect(await readStates(ports)).toEqual(['unconfirmed']);
  await vi.waitFor(
    async () => expect((await read<List>(ports, '/v1/instances?service=pay')).instances.length).toBe(0),
    20_000,
  );
  expect(await readStates(ports)).toEqual([]);
}, 60_000);

test('[SE2] [KV6] [PU5] who leaves in order while the registry stops is gone in its next life, and nobody is told before', async () => {
  const ports = await setUp();
  const flags = { partitions: 2, ioThreads, drainTimeoutMs: 5000 };
  await start(ports, { ...flags, warmUpMs: 0 });
  const options = { servers: [`ws://127.0.0.1:${ports.port}`], backoffMinMs: 60_000, backoffMaxMs: 60_000 };
  const leaving = Array.from({ length: 5 }, () => connect(options));
  const [staying, cut] = [connect(options), connect({ ...options, WebSocket: CutSocket })];
  clients.push(...leaving, staying, cut);
  await Promise.all(
    [...leaving, staying, cut].map((client, i) => client.register('pay', { id: `i${i}`, host: 'h', port: 1 })),
  );
  await leaving[0]!.keys.lock('left', { onEnd: 'delete' });
  await staying.keys.lock('kept');
  const view = await staying.subscribe('pay');
  await vi.waitFor(() => expect(view.instances.length).toBe(7), 10_000);
  const lengths: number[] = [];
  view.on('change', ({ instances }) => lengths.push(instances.length));
  const stopping = new Promise((resolve) => staying.on('goaway', resolve));
  running?.signal('SIGTERM');
  await stopping;
  await Promise.all(leaving.map((client) => client.close()));
  CutSocket.cutAll();
  expect(await running?.exited).toBe(0);
  expect(lengths).toEqual([]);
  await start(ports, { ...flags, warmUpMs: 60_000 });
  await vi.waitFor(async () => {
    const { instances } = await read<List>(ports, '/v1/instances?service=pay');
    expect(instances.map(({ id }) => id).toSorted()).toEqual(['i5', 'i6']);
  }, 10_000);
  expect(await readStates(ports)).toEqual(['unconfirmed', 'unconfirmed']);
  expect((await read<{ readonly missingSessions: number }>(ports, '/v1/guard')).missingSessions).toBe(0);
  await vi.waitFor(async () => expect(await read(ports, '/v1/keys/left')).not.toHaveProperty('entry'), 10_000);
  expect(await read(ports, '/v1/keys/kept')).toHaveProperty('entry.holder');
}, 90_000);

test('[WS2] a journal that cannot be read costs what it had, and the registry starts without', async () => {
  const ports = await setUp();
  await start(ports, { partitions: 1, warmUpMs: 0 });
  const client = connect({ servers: [`ws://127.0.0.1:${ports.port}`], backoffMinMs: 60_000, backoffMaxMs: 60_000 });
  clients.push(client);
  await client.register('pay', { host: 'h', port: 1 });
  await delay(500);
  await kill();
  const journal = path.join(folder, 'journal');
  for (const file of readdirSync(journal)) writeFileSync(path.join(journal, file), 'nothing of ours');
  await start(ports, { partitions: 1, warmUpMs: 0 });
  expect((await read<List>(ports, '/v1/instances?service=pay')).instances).toEqual([]);
}, 60_000);

test('[WS3] [PI3] a registration that was newer than a persistent instance is still shown after a restart, though nobody registers it again', async () => {
  const ports = await setUp();
  await start(ports, { partitions: 1 });
  const client = connect({ servers: [`ws://127.0.0.1:${ports.port}`], backoffMinMs: 20, backoffMaxMs: 100 });
  clients.push(client);
  const instance = { id: 'x', host: 'h', port: 1 };
  await client.register('pay', { ...instance, weight: 1 }, { persistent: true });
  await client.register('pay', { ...instance, weight: 2 });
  const expectShown = async (): Promise<void> => {
    expect(await read(ports, '/v1/instances?service=pay')).toMatchObject({ instances: [{ id: 'x', weight: 2 }] });
  };
  await expectShown();
  await delay(500);
  await kill();
  await start(ports, { partitions: 1, warmUpMs: 10_000 });
  await expectShown();
  await vi.waitFor(() => expect(client.isConnected).toBe(true), 20_000);
  await expectShown();
}, 60_000);
test.each([1000, 0])(
  '[WS3] [KV7] who comes back after a warm-up of %i ms, but in time for its session, still holds its keys',
  async (warmUpMs) => {
    const ports = await setUp();
    const url = `ws://127.0.0.1:${ports.port}/v1/session`;
    const open = { client: 'test/1', protocol: 1, capabilities: ['resume', 'warming'] };
    await start(ports, { partitions: 1 });
    const before = await RawClient.open(url);
    const { secret } = await before.request<{ readonly secret: string }>('session.open', open);
    await before.request('kv.put', { key: 'lock', acquire: true, lockDelayMs: 60_000 });
    await delay(500);
    await kill();
    await start(ports, { partitions: 1, warmUpMs, disconnectGraceMs: 30_000 });
    await vi.waitFor(async () => expect(await read(ports, '/v1/stats')).toMatchObject({ warming: false }), 20_000);
    await delay(500);
    const after = await RawClient.open(url);
    expect(await after.request('session.open', { ...open, resume: secret })).toHaveProperty('resumed');
    const operations = [{ op: 'check', key: 'lock', held: true }];
    expect(await after.request('kv.transact', { operations })).toMatchObject({ applied: true });
    after.terminate();
  },
  60_000,
);
