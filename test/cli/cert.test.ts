import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { startServer } from 'slotcast';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { runCommand } from '../support/command.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'slotcast-cert-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

function fileOf(name: string): string {
  return path.join(folder, 'certs', name);
}

function readAll(): Record<string, string> {
  return Object.fromEntries(readdirSync(fileOf('')).map((name) => [name, readFileSync(fileOf(name), 'utf8')]));
}

function makeCertificates(...args: string[]): ReturnType<typeof runCommand> {
  return runCommand(['cert', 'dev', '--out', fileOf(''), ...args]);
}

test('certificates of cert dev let clients in where they are required', async () => {
  expect(
    (await makeCertificates('--host', 'registry.example', '--host', '10.0.0.7', '--client', 'orders')).status,
  ).toBe(0);
  expect(Object.keys(readAll())).toEqual(['ca.crt', 'ca.key', 'orders.crt', 'orders.key', 'server.crt', 'server.key']);
  for (const name of ['ca', 'orders', 'server']) expect(statSync(fileOf(`${name}.key`)).mode & 0o777).toBe(0o600);
  const { subjectAltName } = new X509Certificate(readFileSync(fileOf('server.crt')));
  expect(subjectAltName?.split(', ').toSorted()).toEqual([
    'DNS:localhost',
    'DNS:registry.example',
    'IP Address:0:0:0:0:0:0:0:1',
    'IP Address:10.0.0.7',
    'IP Address:127.0.0.1',
  ]);
  const server = await startServer({
    port: 0,
    partitions: 1,
    logLevel: 'silent',
    tlsCert: fileOf('server.crt'),
    tlsKey: fileOf('server.key'),
    tlsCa: fileOf('ca.crt'),
    tlsClientCertificate: 'require',
  });
  const own = ['--ca', fileOf('ca.crt'), '--cert', fileOf('orders.crt'), '--key', fileOf('orders.key')];
  const { status, err } = await runCommand(['services', '--server', `wss://localhost:${server.address.port}`, ...own]);
  await server.stop();
  expect([status, err]).toEqual([0, '']);
});

test('what is there is kept, and further certificates are of the same authority', async () => {
  await makeCertificates('--client', 'orders');
  const before = readAll();
  const { status, out } = await makeCertificates('--client', 'orders', '--client', 'billing', '--days', '30', '--json');
  expect(status).toBe(0);
  expect(JSON.parse(out)).toMatchObject({ made: ['billing'], kept: ['ca', 'server', 'orders'] });
  const after = readAll();
  expect(after).toMatchObject(before);
  const authority = new X509Certificate(after['ca.crt']!);
  const billing = new X509Certificate(after['billing.crt']!);
  expect([billing.checkIssued(authority), billing.verify(authority.publicKey)]).toEqual([true, true]);
});

test('half of a pair is said, and nothing is written', async () => {
  await makeCertificates();
  rmSync(fileOf('server.crt'));
  const before = readAll();
  const { status, err } = await makeCertificates('--client', 'other');
  expect(status).toBe(1);
  expect(err).toContain('server.key is there, and');
  expect(readAll()).toEqual(before);
});

test.each([
  [['--client', '../orders'], 'It must be up to 64 letters'],
  [['--client', 'ca'], '--client cannot be ca'],
  [['--host', 'a b'], 'It must be a host name or an address.'],
  [['--days', '0'], 'It must be from 1 to 3650.'],
])('%j is refused, and nothing is written', async (args, words) => {
  const { status, err } = await makeCertificates(...args);
  expect(err).toContain(words);
  expect(status).toBe(2);
  expect(readdirSync(folder)).toEqual([]);
});

test('a folder that cannot be made is named', async () => {
  writeFileSync(path.join(folder, 'certs'), '');
  const { status, err } = await makeCertificates();
  expect(err).toContain(fileOf('').replace(/\/$/, ''));
  expect(status).toBe(1);
});
