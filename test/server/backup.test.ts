import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { startFaultyServer } from 'slotcast/testing';
import type { FaultyServer } from 'slotcast/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { runCommand } from '../support/command.ts';
import { ioThreads } from '../support/io-threads.ts';

let folder: string;
const servers: FaultyServer[] = [];

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'slotcast-backup-'));
});
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.stop()));
  rmSync(folder, { recursive: true, force: true });
});

async function start(dataDir: string, settings: object = {}): Promise<FaultyServer> {
  const server = await startFaultyServer({
    port: 0,
    partitions: 1,
    ioThreads,
    dataDir,
    logLevel: 'silent',
    ...settings,
  });
  servers.push(server);
  return server;
}

function run(server: FaultyServer, ...args: string[]): ReturnType<typeof runCommand> {
  return runCommand([...args, '--server', `ws://127.0.0.1:${server.address.port}`]);
}

type Write = Parameters<FaultyServer['store']['commit']>[0][0];

function put(key: string, text: string, table: Write['table'] = 'keys'): Write {
  return { table, key, payload: Buffer.from(text), createVersion: 0 };
}

async function readRows({ store }: FaultyServer): Promise<string[]> {
  const found: string[] = [];
  for (const table of ['services', 'instances', 'keys', 'lockDelays'] as const) {
    for await (const rows of store.load(table)) {
      for (const { key, payload, createVersion, modifyVersion } of rows)
        found.push(`${table} ${key}=${Buffer.from(payload).toString()} ${createVersion} ${modifyVersion}`);
    }
  }
  return found;
}

test('[AR1] a backup is restored into a new folder, with which a registry starts with the same rows and goes on', async () => {
  const first = await start(`${folder}/first`);
  await first.store.commit([put('a', '1'), put('s', '{}', 'lockDelays')]);
  await first.store.commit([put('b', '2'), { ...put('a', '3'), createVersion: 2 }]);
  const rows = await readRows(first);
  const backup = await run(first, 'backup', `${folder}/backup`, '--json');
  expect(backup).toMatchObject({ status: 0, err: '' });
  const content = JSON.parse(backup.out) as { rows: object };
  expect(content.rows).toMatchObject({ keys: 2, lockDelays: 1, registry: 1 });
  expect(readdirSync(folder).sort()).toEqual(['backup', 'first']);
  // Commits that are not in the backup, and locks under their numbers.
  for (let i = 0; i < 20; i++) await first.store.commit([put('later', String(i))]);
  const last = await first.store.commit([put('later', 'last')]);

  const inspected = await runCommand(['inspect', `${folder}/backup`]);
  expect(inspected.out).toMatch(/^a backup of slotcast \S+, made at \S+, up to commit \d+, of \d+ B\nTABLE +ROWS\n/);
  const restored = await runCommand(['restore', `${folder}/backup`, '--data-dir', `${folder}/second`]);
  expect(restored).toMatchObject({ status: 0, err: '' });
  expect(readdirSync(folder).sort()).toEqual(['backup', 'first', 'second']);
  const second = await start(`${folder}/second`);
  expect(await readRows(second)).toEqual(rows);
  const outcome = await second.store.commit([put('c', '4')]);
  expect('version' in outcome && 'version' in last && outcome.version > last.version).toBe(true);
});

test('[AR1] a backup that is made while commits go on has whole commits only', async () => {
  const server = await start(`${folder}/first`);
  const large = 'x'.repeat(50_000);
  let round = 0;
  const write = async (): Promise<void> => {
    round += 1;
    const text = `${round} ${large}`;
    await server.store.commit(Array.from({ length: 40 }, (_, i) => put(`k${String(i).padStart(2, '0')}`, text)));
  };
  await write();
  const signal = { isOver: false };
  const writer = (async () => {
    while (!signal.isOver) await write();
  })();
  const backups = [];
  for (let i = 0; i < 2; i++) backups.push(await run(server, 'backup', `${folder}/backup${i}`));
  signal.isOver = true;
  await writer;
  expect(backups.map(({ status }) => status)).toEqual([0, 0]);
  const restoredRounds: number[] = [];
  for (let i = 0; i < 2; i++) {
    await runCommand(['restore', `${folder}/backup${i}`, '--data-dir', `${folder}/restored${i}`]);
    const restored = await start(`${folder}/restored${i}`);
    const rounds = new Set((await readRows(restored)).map((row) => /=(\d+) /.exec(row)?.[1]));
    expect(rounds.size).toBe(1);
    restoredRounds.push(Number([...rounds][0]));
  }
  expect(restoredRounds).toEqual(restoredRounds.toSorted((a, b) => a - b));
  expect(restoredRounds[1]).toBeLessThanOrEqual(round);
  expect(restoredRounds[1]).toBeGreaterThan(restoredRounds[0]!);
});

test('[AR1] what is damaged is not restored, nor is anything into a folder that holds something', async () => {
  const server = await start('');
  await server.store.commit([put('a', '1')]);
  await run(server, 'backup', `${folder}/backup`);
  const bytes = readFileSync(`${folder}/backup`);
  bytes[bytes.length >> 1]! ^= 1;
  writeFileSync(`${folder}/damaged`, bytes);
  const damaged = await runCommand(['restore', `${folder}/damaged`, '--data-dir', `${folder}/data`]);
  expect(damaged.err).toMatch(/^slotcast: \S+damaged: byte \d+, block \d+: it is damaged/);
  expect(damaged.status).toBe(1);
  expect(existsSync(`${folder}/data`)).toBe(false);
  expect(await runCommand(['inspect', `${folder}/damaged`])).toEqual({ ...damaged, out: '' });

  const full = await runCommand(['restore', `${folder}/backup`, '--data-dir', folder]);
  expect(full.err).toContain(`${folder} is not empty`);
  expect(full.status).toBe(1);
  const missing = await runCommand(['inspect', `${folder}/missing`]);
  expect(missing).toMatchObject({ status: 1, err: `slotcast: ${folder}/missing: ENOENT\n` });
});

test('[AR1] a backup is restored within storeBytesMax, given as to the server, or not at all', async () => {
  const server = await start('');
  for (let i = 0; i < 3; i++) await server.store.commit([put(`k${i}`, 'x'.repeat(500_000))]);
  await run(server, 'backup', `${folder}/backup`);
  const restore = ['restore', `${folder}/backup`, '--data-dir', `${folder}/data`];
  const config = `${folder}/config.json`;
  writeFileSync(config, '{"storeBytesMax":1048576}');
  const variables = { SLOTCAST_STORE_BYTES_MAX: '1048576' };
  const refused = await runCommand([...restore, '--store-bytes-max', '1048576']);
  expect(refused.err).toMatch(/^slotcast: \S+backup: the rows take \d+ bytes: storeBytesMax is 1048576\n$/);
  expect(refused.status).toBe(1);
  expect(await runCommand(restore, variables)).toEqual(refused);
  expect(await runCommand([...restore, '--config', config])).toEqual(refused);
  expect(readdirSync(folder).sort()).toEqual(['backup', 'config.json']);
  // A flag counts more than what stands elsewhere.
  const { status } = await runCommand([...restore, '--config', config, '--store-bytes-max', '4194304'], variables);
  expect(status).toBe(0);
  const invalid = await runCommand([...restore, '--store-bytes-max', '1']);
  expect(invalid).toMatchObject({ status: 2, err: expect.stringContaining('storeBytesMax must be') });
});

test('a backup that cannot be made leaves the file of before as it was', async () => {
  writeFileSync(`${folder}/backup`, 'before');
  const { status, err } = await runCommand(['backup', `${folder}/backup`, '--server', '127.0.0.1:9']);
  expect(err).toContain('cannot reach http://127.0.0.1:9');
  expect(status).toBe(4);
  expect(readdirSync(folder)).toEqual(['backup']);
  expect(readFileSync(`${folder}/backup`, 'utf8')).toBe('before');
});

/** So that a backup is more than the kernel takes: it cannot be compressed. */
async function fill({ store }: FaultyServer): Promise<void> {
  for (let i = 0; i < 300; i++) {
    const text = Buffer.from(crypto.getRandomValues(new Uint8Array(48_000))).toString('base64');
    await store.commit([put(`k${i}`, text)]);
  }
}

function openBackup(server: FaultyServer): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request(`${server.address.httpUrl}/v1/backup`, { agent: false }, resolve).once('error', reject).end();
  });
}

async function readStatus(server: FaultyServer): Promise<number | undefined> {
  const response = await openBackup(server);
  response.resume();
  await new Promise((resolve) => {
    response.once('close', resolve);
  });
  return response.statusCode;
}

test('[LI1] a caller that reads nothing of a backup is cut off, and another can make one', async () => {
  const server = await start('', { backupIdleTimeoutMs: 300 });
  await fill(server);
  const response = await openBackup(server);
  expect(response.statusCode).toBe(200);
  // Another one may not be made meanwhile.
  expect(await readStatus(server)).toBe(503);
  await expect.poll(() => readStatus(server), { timeout: 10_000 }).toBe(200);
  const { counters } = (await (await fetch(`${server.address.httpUrl}/v1/stats`)).json()) as {
    counters: Record<string, number>;
  };
  expect(counters['limit_backupIdleTimeoutMs']).toBe(1);
  response.destroy();
});

test('a caller that leaves in the middle of a backup makes room for another at once', async () => {
  const server = await start('');
  await fill(server);
  const response = await openBackup(server);
  response.destroy();
  await expect.poll(() => readStatus(server)).toBe(200);
});
