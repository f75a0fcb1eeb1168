import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import fc from 'fast-check';
import { startFaultyServer } from 'slotcast/testing';
import type { FaultyServer } from 'slotcast/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { formatExportEnd, formatExportRecord, formatExportStart } from '../../src/archive/json-lines.ts';
import type { ArchiveRecord } from '../../src/archive/records.ts';
import { toKeyRecord, toServiceRecords } from '../../src/archive/registry-records.ts';
import type { DeclarationList } from '../../src/protocol/service-declaration.ts';
import { serviceKey } from '../../src/protocol/service-key.ts';
import type { KeyEntry, KeyListResult } from '../../src/protocol/types.ts';
import { archiveRecord } from '../support/archive-records.ts';
import { runCommand } from '../support/command.ts';
import { ioThreads } from '../support/io-threads.ts';
import { readDump } from '../support/read-dump.ts';

type Ran = Awaited<ReturnType<typeof runCommand>>;

const dumps = fileURLToPath(new URL('../archive/dumps/', import.meta.url));
const servers: FaultyServer[] = [];
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'slotcast-archives-'));
});
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.stop()));
  rmSync(folder, { recursive: true, force: true });
});

async function start(settings: object = {}): Promise<FaultyServer> {
  const server = await startFaultyServer({ port: 0, partitions: 2, ioThreads, logLevel: 'silent', ...settings });
  servers.push(server);
  return server;
}

function run({ address }: FaultyServer, ...args: string[]): Promise<Ran> {
  return runCommand([...args, '--server', `ws://127.0.0.1:${address.port}`]);
}

async function exportLines(server: FaultyServer, ...args: string[]): Promise<string[]> {
  const { status, out, err } = await run(server, 'export', ...args);
  expect(err).toMatch(/^exported: /);
  expect(status).toBe(0);
  return out.split('\n').slice(0, -1);
}

async function importRecords(server: FaultyServer, records: readonly ArchiveRecord[]): Promise<Ran> {
  const file = path.join(folder, 'records.jsonl');
  writeFileSync(
    file,
    [formatExportStart(), ...records.map(formatExportRecord), formatExportEnd(records.length)].join(''),
  );
  return run(server, 'import', '--from', 'slotcast', file);
}

async function get<T>({ address }: FaultyServer, target: string): Promise<T> {
  return (await (await fetch(`${address.httpUrl}${target}`)).json()) as T;
}

async function listKeys(server: FaultyServer): Promise<readonly KeyEntry[]> {
  return (await get<KeyListResult>(server, '/v1/keys?limit=1000')).entries ?? [];
}

test('[AR2] an export that is imported into an empty registry is exported again with the same lines', async () => {
  const first = await start();
  const records = fc.sample(archiveRecord, { numRuns: 300, seed: 4 });
  expect(await importRecords(first, records)).toMatchObject({ status: 0, err: '' });
  const file = path.join(folder, 'export.jsonl');
  const exported = await run(first, 'export', file, '--json');
  expect(exported).toMatchObject({ status: 0, err: '' });
  const { services, instances, keys } = (
    JSON.parse(exported.out) as { exported: Record<'services' | 'instances' | 'keys', number> }
  ).exported;
  expect(Math.min(services, instances, keys)).toBeGreaterThan(20);
  const lines = readFileSync(file, 'utf8').split('\n').slice(0, -1);
  expect(lines.at(-1)).toBe(JSON.stringify({ kind: 'end', records: services + instances + keys }));
  expect(lines).toHaveLength(services + instances + keys + 2);

  const second = await start();
  expect(await run(second, 'import', '--from', 'slotcast', file)).toMatchObject({ status: 0, err: '' });
  expect(await exportLines(second)).toEqual(lines);
  // Importing it again changes nothing, not even versions.
  const before = await listKeys(second);
  expect(await run(second, 'import', '--from', 'slotcast', file)).toMatchObject({ status: 0, err: '' });
  expect(await listKeys(second)).toEqual(before);
  expect(await exportLines(second)).toEqual(lines);

  expect(listKinds(await exportLines(second, '--only', 'keys'))).toEqual(new Set([undefined, 'key', 'end']));
  expect(listKinds(await exportLines(second, '--only', 'services,instances'))).toEqual(
    new Set([undefined, 'service', 'instance', 'end']),
  );
});

function listKinds(lines: readonly string[]): Set<unknown> {
  return new Set(lines.map((line) => (JSON.parse(line) as { kind?: string }).kind));
}

test('[AR2] an export has many pages, and what lives by a session is not in it', async () => {
  const server = await start({ storeReadBytesMax: 1024 });
  const records: ArchiveRecord[] = [
    ...Array.from({ length: 1100 }, (_, i) => ({
      kind: 'service' as const,
      namespace: 'public',
      group: 'DEFAULT',
      service: `s${String(i).padStart(4, '0')}`,
      settings: { owner: 'o' },
    })),
    ...Array.from({ length: 30 }, (_, i) => ({
      kind: 'key' as const,
      key: `k${String(i).padStart(2, '0')}`,
      value: Buffer.alloc(100_000, i).toString('base64'),
      flags: '0',
    })),
  ];
  expect(await importRecords(server, records)).toMatchObject({ status: 0 });
  const body = JSON.stringify({ service: 'leased', instance: { host: 'h', port: 1 } });
  const headers = { 'content-type': 'application/json' };
  const leased = await fetch(`${server.address.httpUrl}/v1/instances`, { method: 'PUT', headers, body });
  const { lease } = (await leased.json()) as { lease: string };
  const held = await fetch(`${server.address.httpUrl}/v1/keys/k00?acquire=${lease}`, {
    method: 'PUT',
    body: Buffer.alloc(100_000, 0),
  });
  expect(await held.json()).toMatchObject({ applied: true });
  const page = await get<DeclarationList>(server, '/v1/declarations?limit=1000');
  expect(page.declarations.length).toBeLessThan(100);
  const { out, err } = await run(server, 'export');
  expect(err).toBe(
    'exported: 1100 services with settings, 0 instances and 30 keys\naltered 1:\n  1 × the key is exported, but not the lock on it: k00\n',
  );
  expect(out.split('\n').slice(1, -2)).toEqual(records.map((record) => JSON.stringify(record)));
});

test('a registry that cannot be reached leaves the export of before as it was, and none that is unfinished', async () => {
  const file = path.join(folder, 'export');
  writeFileSync(file, 'before');
  const { status, err } = await runCommand(['export', file, '--server', '127.0.0.1:9']);
  expect(err).toContain('cannot reach http://127.0.0.1:9');
  expect(status).toBe(4);
  expect(readdirSync(folder)).toEqual(['export']);
  expect(readFileSync(file, 'utf8')).toBe('before');
  const nowhere = await runCommand(['export', path.join(folder, 'none', 'export')]);
  expect(nowhere).toMatchObject({ status: 1, err: expect.stringMatching(/none\/export.unfinished: ENOENT/) });
});

test('[AR2] keys are imported whatever their names, bytes and flags', async () => {
  const server = await start();
  const names = [
    '.',
    '..',
    'a/../b',
    '/',
    '//a//',
    'a b',
    '%2F',
    '?q=1#f',
    'a\\b',
    '"',
    'ü😀',
    '{tag}/x',
    'x'.repeat(1024),
    '__proto__',
  ];
  const records = names.map((key, i) => ({
    kind: 'key' as const,
    key,
    // No text in any encoding.
    value: Buffer.from([0xff, 0, 0xc3, i]).toString('base64'),
    flags: String(2n ** 64n - 1n - BigInt(i)),
  }));
  const large = { kind: 'key' as const, key: 'large', value: Buffer.alloc(524_288, 7).toString('base64'), flags: '1' };
  expect(await importRecords(server, [...records, large])).toEqual({
    status: 0,
    err: '',
    out: 'taken: 0 services with settings, 0 instances and 15 keys\n',
  });
  const found = new Map((await listKeys(server)).map(({ key, value, flags }) => [key, { value, flags }]));
  expect(found).toEqual(new Map([...records, large].map(({ key, value, flags }) => [key, { value, flags }])));
});

function makeKey(key: string, value: string | Buffer): ArchiveRecord {
  return { kind: 'key', key, value: Buffer.from(value).toString('base64'), flags: '0' };
}

test('[AR2] of several records of one thing the last counts, and one that the registry refuses is in the report', async () => {
  const server = await start({ bodyBytesMax: 65_536 });
  const records = [
    ...Array.from({ length: 50 }, (_, i) => makeKey('again', String(i))),
    makeKey('too large', Buffer.alloc(100_000)),
    makeKey('after', 'x'),
  ];
  const { status, out } = await importRecords(server, records);
  expect(out.split('\n')).toEqual([
    'taken: 0 services with settings, 0 instances and 51 keys',
    'left out 1:',
    expect.stringMatching(/^ {2}1 × the registry refused it: limit_exceeded: "key too large: .*65536/),
    '',
  ]);
  expect(status).toBe(1);
  expect((await listKeys(server)).map(({ key, value }) => [key, Buffer.from(value, 'base64').toString()])).toEqual([
    ['after', 'x'],
    ['again', '49'],
  ]);
});

const template = '/services/{service}/{*} => {"Addr":"{host}:{port}","Metadata":"{metadata}"}';

/** What a registry has stored, as its export has it. */
async function readRecords(server: FaultyServer): Promise<ArchiveRecord[]> {
  const { declarations, cursor } = await get<DeclarationList>(server, '/v1/declarations?limit=1000');
  expect(cursor).toBeUndefined();
  return [...declarations.flatMap(toServiceRecords), ...(await listKeys(server)).map(toKeyRecord)];
}

test.each([
  [
    'consul',
    ['consul-kv.json', 'consul-kv-recurse.json', 'consul-health.json', 'consul-catalog.json', 'consul-agent.json'],
    [],
  ],
  ['nacos', ['nacos-v1.json', 'nacos-v3.json'], []],
  ['eureka', ['eureka.json'], []],
  ['eureka', ['eureka.xml'], []],
  ['etcd', ['etcd.json'], ['--template', template]],
  ['etcd', ['etcd.json'], []],
  ['dubbo', ['dubbo-tree.txt', 'dubbo-providers.txt'], []],
] as const)(
  '[AR2] %s: %j %j are imported as their dry run says, and importing them again changes nothing',
  async (format, files, more) => {
    const server = await start();
    const dump = Buffer.concat(files.map((file) => readFileSync(`${dumps}${file}`)));
    const file = path.join(folder, 'dump');
    writeFileSync(file, dump);
    const args = ['import', '--from', format, file, ...more, '--json'];
    const dry = await run(server, ...args, '--dry-run');
    expect(await readRecords(server)).toEqual([]);
    const real = await run(server, ...args);
    expect(real).toMatchObject({ status: 0, err: '' });
    expect(JSON.parse(real.out)).toEqual({ ...(JSON.parse(dry.out) as object), dryRun: false });

    // The registry has what the dump says, the last record of each thing.
    const { records } = readDump(format, dump, { partBytes: 65_536, ...(more.length === 0 ? {} : { template }) });
    expect(records.length).toBeGreaterThan(2);
    const expected = new Map(records.map((record) => [nameRecord(record), formatExportRecord(record)]));
    const found = await readRecords(server);
    expect(found.map(formatExportRecord).sort()).toEqual([...expected.values()].sort());

    const versions = await listKeys(server);
    expect((await run(server, ...args)).out).toBe(real.out);
    expect(await readRecords(server)).toEqual(found);
    expect(await listKeys(server)).toEqual(versions);
  },
);

function nameRecord(record: ArchiveRecord): string {
  if (record.kind === 'key') return `key ${record.key}`;
  return `${record.kind} ${serviceKey(record)} ${record.kind === 'instance' ? record.instance.id : ''}`;
}
