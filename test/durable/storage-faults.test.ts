import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';

import { LaunchedServer, slotcastBin } from '../support/launched-server.ts';

/*
 * What an operating system may refuse to a registry that stores: it says what is wrong, goes on with all that need not be stored, keeps what it has acknowledged, and
 * stores again once it may.
 */
const keyBytes = 20_000;
let folder: string;
let server: LaunchedServer | undefined;
const mounts: string[] = [];

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'slotcast-faults-'));
  // Others have to find what lies in it.
  chmodSync(folder, 0o755);
});
afterEach(async () => {
  await server?.kill();
  server = undefined;
  for (const mount of mounts.splice(0)) spawnSync('umount', [mount]);
  rmSync(folder, { recursive: true, force: true });
});

async function start(data: string, launcher?: readonly string[]): Promise<LaunchedServer> {
  await server?.kill();
  server = await LaunchedServer.start(data, launcher);
  return server;
}

function valueOf(key: string): Buffer {
  return Buffer.alloc(keyBytes, key);
}

/** Puts some keys, each of which is stored or refused for the right reason. Resolves to those that were stored. */
async function putKeys(server: LaunchedServer, keys: readonly string[]): Promise<string[]> {
  const stored: string[] = [];
  for (const key of keys) {
    const answer = await server.call('PUT', `/v1/keys/${key}`, valueOf(key));
    if (answer['applied'] === true) stored.push(key);
    else expect(answer).toMatchObject({ error: { code: 'storage_unavailable' } });
  }
  return stored;
}

async function listKeys(server: LaunchedServer): Promise<Map<string, Buffer>> {
  const found = new Map<string, Buffer>();
  for (let cursor: string | undefined, isFirst = true; isFirst || cursor !== undefined; isFirst = false) {
    const page = await server.call('GET', `/v1/keys${cursor === undefined ? '' : `?cursor=${cursor}`}`);
    for (const { key, value } of page['entries'] as { key: string; value: string }[])
      found.set(key, Buffer.from(value, 'base64'));
    cursor = page['cursor'] as string | undefined;
  }
  return found;
}

/** All of these are there, with their values, and nothing that was never asked for. */
async function expectKeys(server: LaunchedServer, keys: readonly string[]): Promise<void> {
  const found = await listKeys(server);
  expect([...found.keys()]).toEqual(expect.arrayContaining([...keys]));
  for (const [key, value] of found) expect([key, value.equals(valueOf(key))]).toEqual([key, true]);
}

async function expectEphemeralWork(server: LaunchedServer): Promise<void> {
  const instances = Array.from({ length: 200 }, (_, i) => `h${i}`);
  for (const host of instances) {
    const instance = { host, port: 1, metadata: { filler: 'x'.repeat(1000) } };
    expect(await server.call('PUT', '/v1/instances', { service: 's', instance })).toMatchObject({ id: `${host}:1` });
  }
  expect((await server.call('GET', '/v1/instances?service=s'))['instances']).toHaveLength(instances.length);
  expect(await server.call('GET', '/health/ready')).toMatchObject({ status: 'ready' });
  expect(server.isAlive).toBe(true);
}

async function readAvailable(server: LaunchedServer): Promise<string | undefined> {
  const text = await (await fetch(`${server.httpUrl}/metrics`)).text();
  return /^slotcast_store_available (\d)$/m.exec(text)?.[1];
}

const names = (prefix: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${prefix}${i}`);

function limitFiles(kilobytes: number): string[] {
  return ['bash', '-c', `ulimit -f ${kilobytes}; exec "$@"`, 'bash'];
}

describe('[ST3] with a limit for the size of files', () => {
  test.each([0, 4, 16, 64, 512])('of %i KiB', async (kilobytes) => {
    const data = path.join(folder, 'data');
    const limited = await start(data, limitFiles(kilobytes));
    const stored = await putKeys(limited, names('k', 40));
    expect(stored.length).toBeLessThan(kilobytes / 10 + 1);
    expect(stored.length > 0).toBe(kilobytes >= 512);
    expect(limited.out).toMatch(
      new RegExp(
        `nothing can be stored that must .*: no file may have more than ${kilobytes * 1024} bytes \\(ulimit -f\\)`,
      ),
    );
    expect(limited.out.match(/what is persistent could not be read/g)?.length ?? 0).toBeLessThan(2);
    await expectEphemeralWork(limited);
    if (kilobytes >= 512) await expectKeys(limited, stored);
    const free = await start(data);
    await expectKeys(free, stored);
    expect(await putKeys(free, names('after', 5))).toHaveLength(5);
  });

  test('that is less than there is: all is read, and nothing is added', async () => {
    const data = path.join(folder, 'data');
    const keys = await putKeys(await start(data), names('k', 40));
    expect(keys).toHaveLength(40);
    const limited = await start(data, limitFiles(256));
    expect(await putKeys(limited, names('more', 10))).toEqual([]);
    await expectKeys(limited, keys);
    await expectEphemeralWork(limited);
    const free = await start(data);
    await expectKeys(free, keys);
    expect(await putKeys(free, names('more', 10))).toHaveLength(10);
  });
});

const canLimit = spawnSync('prlimit', ['--version']).status === 0;
if (!canLimit) console.log('left out: a limit that comes and goes: there is no prlimit');

test.runIf(canLimit)(
  '[ST3] hundreds of commits for which there is no room harm neither the process nor what is stored',
  () => {
    const script = fileURLToPath(new URL('../support/refused-commits.mjs', import.meta.url));
    const { stdout, status } = spawnSync(process.execPath, [script, path.join(folder, 'store.mdb')], {
      encoding: 'utf8',
    });
    expect({ status, counts: JSON.parse(stdout || '{}') as unknown }).toEqual({
      status: 0,
      counts: { stored: 600, refused: 900 },
    });
  },
);

const asNobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'];
const canDrop =
  process.getuid?.() === 0 &&
  spawnSync(asNobody[0]!, [...asNobody.slice(1), process.execPath, slotcastBin, '--version']).status === 0;
if (!canDrop) console.log('left out: folders of another user: this process cannot run another as nobody');

describe.runIf(canDrop)('[ST3] with a folder that belongs to another user', () => {
  test('what is stored is served, nothing is added, and the lock of a process that is gone is none', async () => {
    const data = path.join(folder, 'data');
    mkdirSync(data, { mode: 0o755 });
    const keys = await putKeys(await start(data), names('k', 5));
    const other = await start(data, asNobody);
    expect(await putKeys(other, names('more', 5))).toEqual([]);
    expect(other.out).toContain(`nothing can be stored that must outlive the process: ${data} must not be written to`);
    await expectKeys(other, keys);
    await expectEphemeralWork(other);
    expect(await readAvailable(other)).toBe('0');
    spawnSync('chown', ['-R', '65534:65534', data]);
    await expect.poll(() => readAvailable(other), { timeout: 20_000 }).toBe('1');
    expect(await putKeys(other, names('more', 5))).toHaveLength(5);
    await expectKeys(await start(data), [...keys, ...names('more', 5)]);
  });

  test('who is still there, it is not started', async () => {
    const data = path.join(folder, 'data');
    mkdirSync(data, { mode: 0o755 });
    await start(data);
    await expect(LaunchedServer.start(data, asNobody)).rejects.toThrow(`${data} is in use by process `);
  });

  test.each([
    ['that it must not read', 0o700],
    ['that it must not enter', 0o644],
  ])('%s', async (_, mode) => {
    const data = path.join(folder, 'data');
    mkdirSync(data, { mode: 0o755 });
    const keys = await putKeys(await start(data), names('k', 5));
    await server!.kill();
    chmodSync(data, mode);
    const other = await start(data, asNobody);
    expect(await putKeys(other, names('more', 5))).toEqual([]);
    expect(other.out).toContain('nothing can be stored that must outlive the process');
    expect(other.out).toContain('EACCES');
    await expectEphemeralWork(other);
    await other.kill();
    chmodSync(data, 0o755);
    await expectKeys(await start(data), keys);
  });

  test('and cannot be made', async () => {
    const data = path.join(folder, 'none', 'data');
    const other = await start(data, asNobody);
    expect(await putKeys(other, ['k'])).toEqual([]);
    expect(other.out).toContain('EACCES: permission denied, mkdir');
    await expectEphemeralWork(other);
    expect(existsSync(path.dirname(data))).toBe(false);
  });
});

/** A disk of 2 MiB, where this process may mount one. */
function mountDisk(place: string): boolean {
  mkdirSync(place, { recursive: true });
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', place]).status !== 0) return false;
  mounts.push(place);
  return true;
}

const probe = mkdtempSync(path.join(tmpdir(), 'slotcast-faults-'));
const canMount = mountDisk(path.join(probe, 'disk'));
for (const mount of mounts.splice(0)) spawnSync('umount', [mount]);
afterAll(() => {
  rmSync(probe, { recursive: true });
});
if (!canMount) console.log('left out: disks that are full or read-only: this process cannot mount one');

describe.runIf(canMount)('[ST3] on a disk', () => {
  test('that is read-only, what is stored is served; once it can be written to, more is stored', async () => {
    const disk = path.join(folder, 'disk');
    expect(mountDisk(disk)).toBe(true);
    const data = path.join(disk, 'data');
    const keys = await putKeys(await start(data), names('k', 5));
    // It leaves its lock behind.
    await server!.kill();
    spawnSync('mount', ['-o', 'remount,ro', disk]);
    const confined = await start(data);
    expect(await putKeys(confined, names('more', 5))).toEqual([]);
    expect(confined.out).toContain(`${data} must not be written to`);
    await expectKeys(confined, keys);
    await expectEphemeralWork(confined);
    spawnSync('mount', ['-o', 'remount,rw', disk]);
    await expect.poll(() => readAvailable(confined), { timeout: 20_000 }).toBe('1');
    // The audit log, without which nothing is stored, is tried again at times of its own.
    await expect.poll(() => putKeys(confined, names('more', 5)), { timeout: 20_000 }).toHaveLength(5);
    await expectKeys(await start(data), [...keys, ...names('more', 5)]);
  });

  test.each([false, true])('that is full when it starts, with a store on it: %s', async (hasStore) => {
    const disk = path.join(folder, 'disk');
    expect(mountDisk(disk)).toBe(true);
    const data = path.join(disk, 'data');
    let keys: string[] = [];
    if (hasStore) {
      keys = await putKeys(await start(data), names('k', 5));
      await server!.kill();
      // As one that was brought back from a copy may lie there.
      cpSync(path.join(data, 'store.mdb'), path.join(folder, 'store.mdb'));
      rmSync(data, { recursive: true });
      mkdirSync(data);
      cpSync(path.join(folder, 'store.mdb'), path.join(data, 'store.mdb'));
    }
    const filler = path.join(disk, 'filler');
    spawnSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=4096']);
    const full = await start(data);
    expect(await putKeys(full, names('more', 5))).toEqual([]);
    expect(full.out).toContain('nothing can be stored that must outlive the process');
    await expectEphemeralWork(full);
    rmSync(filler);
    // The partition reads its keys again when it comes to that.
    await expect.poll(() => putKeys(full, names('more', 5)), { timeout: 20_000 }).toHaveLength(5);
    await expectKeys(await start(data), [...keys, ...names('more', 5)]);
  });
});
