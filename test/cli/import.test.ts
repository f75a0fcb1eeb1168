import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterAll, beforeAll, expect, test } from 'vitest';

import { runCommand } from '../support/command.ts';

const dumps = fileURLToPath(new URL('../archive/dumps/', import.meta.url));
const bin = fileURLToPath(new URL('../../dist/src/cli/slotcast.js', import.meta.url));
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'slotcast-import-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

test('[AR2] a dry run needs no registry, and says what would be taken and what would not', async () => {
  const { status, out, err } = await runCommand(['import', '--from', 'eureka', `${dumps}eureka.xml`, '--dry-run']);
  expect(err).toBe('');
  expect(out.split('\n')).toEqual([
    'would be taken: 0 services with settings, 4 instances and 0 keys',
    'would be left out 1:',
    '  1 × instance.port must be >= 1: "LEGACY legacy-a"',
    'would be altered 2:',
    '  1 × disabled: its status is OUT_OF_SERVICE: "ORDERS orders:8081"',
    '  1 × disabled: its status is STARTING: "STOCK stock:2"',
    '',
  ]);
  expect(status).toBe(0);
});

test('a dry run with --json prints one object', async () => {
  const template = '/services/{service}/{*} => {"Addr":"{host}:{port}"}';
  const args = ['import', '--from', 'etcd', `${dumps}etcd.json`, '--dry-run', '--json', '--template', template];
  const { out } = await runCommand(args);
  expect(JSON.parse(out)).toMatchObject({
    dryRun: true,
    taken: { services: 0, instances: 3, keys: 5 },
    leftOut: [{ reason: 'its key is not UTF-8 in base64', count: 1 }],
  });
});

test('a dump may be piped in', async () => {
  const child = spawn(process.execPath, [bin, 'import', '--from', 'consul', '-', '--dry-run']);
  let out = '';
  child.stdout.on('data', (part) => {
    out += String(part);
  });
  child.stdin.end(readFileSync(`${dumps}consul-kv.json`));
  const status = await new Promise((resolve) => {
    child.on('close', resolve);
  });
  expect(out).toBe('would be taken: 0 services with settings, 0 instances and 5 keys\n');
  expect(status).toBe(0);
});

test('a dump of something else, of which nothing can be taken, ends with status 1', async () => {
  const { status, err } = await runCommand(['import', '--from', 'consul', `${dumps}eureka.json`, '--dry-run']);
  expect(err).toContain('eureka.json could be taken: is it what --from says?');
  expect(status).toBe(1);
});

test('a file that cannot be read, or is no dump, ends with status 1 and its place', async () => {
  const missing = await runCommand(['import', '--from', 'nacos', `${folder}/missing`, '--dry-run']);
  expect(missing).toEqual({ status: 1, out: '', err: `slotcast: ${folder}/missing: ENOENT\n` });
  writeFileSync(`${folder}/broken`, '{"hosts":[}');
  const broken = await runCommand(['import', '--from', 'nacos', `${folder}/broken`, '--dry-run']);
  expect(broken).toEqual({ status: 1, out: '', err: `slotcast: ${folder}/broken: it is not JSON, near byte 10\n` });
});

test.each([
  [['import', 'file'], /required option '--from <format>' not specified/],
  [['import', '--from', 'redis', 'file'], /Allowed choices are slotcast, consul, nacos, eureka, etcd, dubbo/],
  [['import', '--from', 'consul', 'file', '--template', '{host}'], /--template is for --from etcd/],
  [['import', '--from', 'etcd', 'file', '--template', '{host}'], /it lacks \{service\}/],
])('%j is refused with status 2', async (args, message) => {
  const { status, err } = await runCommand(args);
  expect(err).toMatch(message);
  expect(status).toBe(2);
});

test('an import ends with status 4 where no registry is', async () => {
  const { status, err } = await runCommand([
    'import',
    '--from',
    'consul',
    `${dumps}consul-kv.json`,
    '--server',
    '127.0.0.1:9',
  ]);
  expect(err).toContain('cannot reach http://127.0.0.1:9: ECONNREFUSED');
  expect(status).toBe(4);
});
