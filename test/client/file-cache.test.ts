import { execFile } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { startServer } from 'slotcast';
import { connect } from 'slotcast/client';
import type { CachedList, Instance, ServiceName } from 'slotcast/client';
import { FileCache } from 'slotcast/client/file-cache';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { findFreePort } from '../support/free-port.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'slotcast-cache-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function serviceOf(name: string): ServiceName {
  return { namespace: 'public', group: 'DEFAULT', service: name };
}

function instance(id: string, metadata: Record<string, string> = {}): Instance {
  return { id, host: 'h', port: 1, weight: 1, enabled: true, metadata };
}

function list(name: string, instances: Instance[], version = 1): CachedList {
  return { service: serviceOf(name), filter: { zone: 'z' }, registry: 'r', version, instances };
}

function files(): string[] {
  return readdirSync(folder).toSorted();
}

test('a list comes back as it was saved, whatever is in it, also through another cache', async () => {
  const text = 'é\u{1f600}\n"\u2028\ud800';
  const saved = list(
    'one',
    Array.from({ length: 1234 }, (_, n) => instance(`i${n}`, { text })),
  );
  await new FileCache(join(folder, 'deep', 'down')).save(saved);
  expect(await new FileCache(join(folder, 'deep', 'down')).load(serviceOf('one'))).toEqual(saved);
  expect(await new FileCache(folder).load(serviceOf('two'))).toBeUndefined();
});

test('of lists that wait to be saved the last one of each service is', async () => {
  const cache = new FileCache(folder);
  await Promise.all(
    Array.from({ length: 50 }, (_, n) => cache.save(list(n % 2 === 0 ? 'one' : 'two', [instance('a')], n))),
  );
  expect(await cache.load(serviceOf('one'))).toMatchObject({ version: 48 });
  expect(await cache.load(serviceOf('two'))).toMatchObject({ version: 49 });
  expect(files()).toHaveLength(2);
});

test('no name of a service leads out of the folder', async () => {
  const inner = join(folder, 'inner');
  const cache = new FileCache(inner);
  for (const name of ['../../x', '/etc/x', '..', 'a/b', 'a\\b', 'x\0y', '%2e%2e%2f', 'n'.repeat(4000)]) {
    await cache.save(list(name, [instance('a')]));
    expect(await cache.load(serviceOf(name))).toMatchObject({ service: serviceOf(name) });
  }
  expect(files()).toEqual(['inner']);
  for (const name of readdirSync(inner)) expect(name).toMatch(/^[0-9a-f]{40}\.list$/);
});

test('a file that was cut off, changed, or written by another program is refused, wherever it was cut', async () => {
  const cache = new FileCache(folder);
  await cache.save(list('one', [instance('a'), instance('b')]));
  const path = join(folder, files()[0]!);
  const whole = readFileSync(path);
  for (let bytes = 0; bytes < whole.length; bytes++) {
    writeFileSync(path, whole.subarray(0, bytes));
    await expect(cache.load(serviceOf('one'))).rejects.toThrow('damaged');
  }
  for (let at = 0; at < whole.length; at += 7) {
    const changed = Buffer.from(whole);
    changed[at]! ^= 1;
    writeFileSync(path, changed);
    await expect(cache.load(serviceOf('one'))).rejects.toThrow('damaged');
  }
  writeFileSync(path, '{"some":"other program"}\n');
  await expect(cache.load(serviceOf('one'))).rejects.toThrow('damaged');
  await cache.save(list('one', [instance('c')]));
  expect(await cache.load(serviceOf('one'))).toMatchObject({ instances: [{ id: 'c' }] });
});

test('a link or a folder in the place of a list is not followed', async () => {
  const cache = new FileCache(folder);
  await cache.save(list('one', [instance('a')]));
  const [name] = files();
  const path = join(folder, name!);
  writeFileSync(join(folder, 'elsewhere'), readFileSync(path));
  rmSync(path);
  symlinkSync(join(folder, 'elsewhere'), path);
  await expect(cache.load(serviceOf('one'))).rejects.toThrow('ELOOP');
  rmSync(path);
  mkdirSync(path);
  await expect(cache.load(serviceOf('one'))).rejects.toThrow('is not a file');
});

test('listBytesMax bounds what is written and what is read, and leaves what was there', async () => {
  await new FileCache(folder).save(list('one', [instance('a')]));
  const small = new FileCache(folder, { listBytesMax: 400 });
  const long = list('one', [instance('b', { long: 'x'.repeat(300) })]);
  await expect(small.save(long)).rejects.toThrow('listBytesMax');
  expect(await small.load(serviceOf('one'))).toMatchObject({ instances: [{ id: 'a' }] });
  await new FileCache(folder).save(long);
  await expect(small.load(serviceOf('one'))).rejects.toThrow('listBytesMax is 400');
  expect(files()).toHaveLength(1);
});

test('listsMax bounds the files: the oldest goes that is not in use, and when all are, the new one is refused', async () => {
  const before = new FileCache(folder);
  for (const [index, name] of ['one', 'two', 'three'].entries()) {
    await before.save(list(name, [instance('a')]));
    const path = files()
      .map((each) => join(folder, each))
      .find((each) => readFileSync(each, 'utf8').includes(`"${name}"`));
    utimesSync(path!, index, index);
  }
  writeFileSync(join(folder, 'notes.txt'), 'not a list');
  const cache = new FileCache(folder, { listsMax: 3 });
  expect(await cache.load(serviceOf('one'))).toBeDefined();
  await cache.save(list('four', [instance('a')]));
  expect(await cache.load(serviceOf('two'))).toBeUndefined();
  expect(await cache.load(serviceOf('one'))).toBeDefined();
  await cache.save(list('five', [instance('a')]));
  await expect(cache.save(list('six', [instance('a')]))).rejects.toThrow('listsMax is 3');
  await cache.save(list('one', [instance('b')]));
  expect(files()).toHaveLength(4);
});

test('what a process left that died while it wrote is removed, and nothing else', async () => {
  const left = `${'a'.repeat(40)}.list.${'b'.repeat(8)}-0000-0000-0000-${'c'.repeat(12)}.part`;
  const fresh = left.replace('aaaa', 'bbbb');
  for (const name of [left, fresh, 'mine.part']) writeFileSync(join(folder, name), 'half');
  utimesSync(join(folder, left), 1, 1);
  utimesSync(join(folder, 'mine.part'), 1, 1);
  await new FileCache(folder).save(list('one', [instance('a')]));
  expect(files()).not.toContain(left);
  expect(files()).toEqual(expect.arrayContaining([fresh, 'mine.part']));
});

test('a folder that cannot be written is said, and used once it can', async () => {
  const path = join(folder, 'taken');
  writeFileSync(path, 'a file');
  const cache = new FileCache(path);
  await expect(cache.save(list('one', [instance('a')]))).rejects.toThrow();
  rmSync(path);
  await cache.save(list('one', [instance('a')]));
  expect(await cache.load(serviceOf('one'))).toBeDefined();
});

test.each([
  ['', {}],
  ['x', { listsMax: 0 }],
  ['x', { listBytesMax: 1.5 }],
])('options that it cannot use are refused: %j, %j', (path, options) => {
  expect(() => new FileCache(path, options)).toThrow(/^option /);
});

/** A program that starts anew while there is no registry, says what it sees, and then what it sees once there is one. */
const program = `
  import { connect } from 'slotcast/client';
  import { FileCache } from 'slotcast/client/file-cache';
  const [port, folder] = process.argv.slice(1);
  const client = connect({ servers: ['ws://127.0.0.1:' + port], cache: new FileCache(folder), cacheAfterMs: 200, backoffMaxMs: 200, confirmWithinMs: 300 });
  const say = (text) => console.log(JSON.stringify(text));
  client.on('cache', ({ service, action, cause }) => say({ problem: service.service, action, cause }));
  const orders = await client.subscribe('orders');
  const show = () => say({ ids: orders.instances.map(({ id }) => id).sort(), unconfirmed: orders.unconfirmed.length, isStale: orders.isStale });
  show();
  await client.subscribe('broken', { timeoutMs: 500 }).catch(({ name }) => say(name));
  orders.on('change', show);
  orders.on('fresh', async () => { show(); await client.close(); });
`;

test('[PU5] a process that is started anew while the registry is down goes on with the lists of its life before', async () => {
  const port = await findFreePort();
  const settings = { port, partitions: 1, logLevel: 'silent', warmUpMs: 200 } as const;
  const server = await startServer(settings);
  const client = connect({ servers: [`ws://127.0.0.1:${port}`], cache: new FileCache(folder) });
  for (const n of [1, 2, 3]) await client.register('orders', { host: 'h', port: n });
  await client.register('broken', { host: 'h', port: 1 });
  await client.subscribe('orders');
  await client.subscribe('broken');
  await client.close();
  await server.stop();
  const broken = readdirSync(folder)
    .map((name) => join(folder, name))
    .find((path) => readFileSync(path, 'utf8').includes('"broken"'));
  writeFileSync(broken!, 'no list');

  const arguments_ = ['--input-type=module', '-e', program, String(port), folder];
  const restarted = run(process.execPath, arguments_, { cwd: root, timeout: 30_000 });
  let out = '';
  const hasBegun = new Promise<void>((resolve) => {
    restarted.child.stdout?.on('data', (chunk) => {
      out += String(chunk);
      if (out.includes('ConnectionLostError')) resolve();
    });
  });
  await Promise.race([hasBegun, restarted]);
  const again = await startServer(settings);
  try {
    const other = connect({ servers: [`ws://127.0.0.1:${port}`] });
    await other.register('orders', { host: 'h', port: 2 });
    await restarted;
    await other.close();
  } finally {
    await again.stop();
  }
  const said = out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(said[0]).toEqual({ ids: ['h:1', 'h:2', 'h:3'], unconfirmed: 3, isStale: true });
  expect(said[1]).toMatchObject({ problem: 'broken', action: 'load', cause: expect.stringContaining('damaged') });
  expect(said[2]).toBe('ConnectionLostError');
  expect(said.at(-1)).toEqual({ ids: ['h:2'], unconfirmed: 0, isStale: false });
});
