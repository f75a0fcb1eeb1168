import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';

import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { declarationSchema } from '../../src/protocol/service-declaration.ts';
import { runCommand, RunningCommand } from '../support/command.ts';
import { findFreePort } from '../support/free-port.ts';
import { slotcastBin } from '../support/launched-server.ts';
import { RawClient } from '../support/raw-client.ts';
import { runInTerminal } from '../support/terminal.ts';

let server: Server;
let provider: RawClient;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'slotcast-'));
  server = await startServer({ port: 0, partitions: 2, logLevel: 'silent', warmUpMs: 0 });
  provider = await RawClient.open(server.address.url);
  await provider.request('instance.register', { service: 'orders', instance: { host: '10.0.0.1', port: 80 } });
});
afterAll(async () => {
  provider.close();
  await server.stop();
  rmSync(folder, { recursive: true });
});

function address(): string[] {
  return ['--server', `ws://127.0.0.1:${server.address.port}`];
}

function run(...args: string[]): ReturnType<typeof runCommand> {
  return runCommand([...args, ...address()]);
}

test('ping says how long a session and each answer take', async () => {
  const { status, out } = await run('ping', '--count', '2', '--interval-ms', '1');
  expect(status).toBe(0);
  expect(out).toMatch(/^connected to ws:\S+ in \S+ ms\nanswer 1 in .*\nanswer 2 in .*\n2 answers: least .* most .*\n$/);
  const json = await run('ping', '--count', '1', '--json');
  const { minMs, meanMs, maxMs } = JSON.parse(json.out) as Record<string, number>;
  expect([minMs, meanMs]).toEqual([maxMs, maxMs]);
  expect(minMs).toBeGreaterThan(0);
});

test('stats shows every figure by its path', async () => {
  const { out } = await run('stats');
  expect(out).toMatch(/^NAME +VALUE\nversion /);
  expect(out).toMatch(/^registrations +1$/m);
  expect(out).toMatch(/^partitions\.1\.state +ready$/m);
});

test('goaway counts a single session as one, and watch of it does not say that the registry is away', async () => {
  const own = await startServer({ port: 0, partitions: 1, logLevel: 'silent', warmUpMs: 0 });
  try {
    const watch = new RunningCommand(['watch', 'orders', '--server', own.address.url]);
    await watch.waitFor(/^= 0 instances\n/);
    const { out } = await runCommand(['goaway', '--spread-ms', '1', '--server', own.address.url]);
    expect(out).toBe('asked 1 session to reconnect\n');
    await expect.poll(() => watch.err).toBe('the list may be out of date\nthe list is current again\n');
    watch.signal('SIGINT');
    expect(await watch.exited).toBe(0);
  } finally {
    await own.stop();
  }
});

test('declare --help names everything that may be declared', async () => {
  const { out } = await runCommand(['declare', '--help']);
  const names = Object.keys(declarationSchema['properties'] as object);
  expect(names.filter((name) => !out.includes(name))).toEqual([]);
});

test('guard shows what is held back, and releases it only if that is said', async () => {
  expect((await run('guard')).out).toBe(
    'the registry-wide guard holds nothing back\n0 of 1 sessions are missing; 0 are held back with 0 instances\n',
  );
  expect(JSON.parse((await run('guard', 'release', '--all', '--json')).out)).toMatchObject({ heldInstances: 0 });
  const { status, err } = await run('guard', 'release');
  expect([status, err]).toEqual([2, 'slotcast: Either a service or --all.\n']);
});

test('config show says where each setting comes from', async () => {
  const file = join(folder, 'settings.json');
  writeFileSync(file, JSON.stringify({ partitions: 4, leasesMax: 7, registrationsMax: 11 }));
  const { out } = await runCommand(['config', 'show', '--changed', '--json', '--config', file, '--partitions', '2'], {
    SLOTCAST_PARTITIONS: '3',
    SLOTCAST_REGISTRATIONS_MAX: '12',
  });
  expect(JSON.parse(out)).toEqual({
    settings: [
      { setting: 'partitions', value: 2, source: 'flag --partitions' },
      { setting: 'leasesMax', value: 7, source: `file ${file}` },
      { setting: 'registrationsMax', value: 12, source: 'environment SLOTCAST_REGISTRATIONS_MAX' },
    ],
  });
  const all = await runCommand(['config', 'show']);
  expect(all.out).toMatch(/^SETTING +VALUE +FROM\n/);
  expect(all.out).toMatch(/^dataDir +\.\/slotcast-data +default$/m);
  expect((await runCommand(['config', 'show', '--partitions', '0'])).status).toBe(2);
});

test('start --check says what would hinder a start, and starts nothing', async () => {
  const ports = ['--port', String(await findFreePort()), '--http-port', String(await findFreePort())];
  const dataDir = join(folder, 'not', 'there');
  const good = await runCommand(['start', '--check', '--data-dir', dataDir, ...ports]);
  expect(good.status).toBe(0);
  expect(good.out).toContain(`dataDir      ${dataDir} will be made`);
  const taken = await runCommand(['start', '--check', '--in-memory', '--port', String(server.address.port)]);
  expect(taken.out).toMatch(/^warning {2}port .* is in use$/m);
  expect(taken.status).toBe(0);
  const abroad = await runCommand(['start', '--check', '--in-memory', '--host', '203.0.113.1', '--insecure', ...ports]);
  expect(abroad.out).toContain('cannot listen on 203.0.113.1');
  expect(abroad.status).toBe(1);
  expect((await runCommand(['start', '--check', '--partitions', '0'])).status).toBe(2);
});

test('start --check names the process that has the data folder', async () => {
  const dataDir = join(folder, 'data');
  const holder = await startServer({ port: 0, partitions: 1, logLevel: 'silent', dataDir });
  const { out, status } = await runCommand(['start', '--check', '--data-dir', dataDir, '--port', '0']);
  await holder.stop();
  expect(out).toContain(`${dataDir} is in use by process ${process.pid}`);
  expect(status).toBe(0);
});

test('doctor looks at everything, and its status says how bad it is', async () => {
  const well = await run('doctor', '--json');
  const { worst, findings } = JSON.parse(well.out) as { worst: string; findings: { check: string; status: string }[] };
  expect(findings.map(({ check }) => check)).toEqual([
    'reachability',
    'requests',
    'http',
    'versions',
    'clock',
    'readiness',
    'deaths',
    'threads',
    'exposure',
    'store',
    'audit',
    'descriptors',
    'memory',
    'bounds',
    'guards',
    'switches',
    'sessions',
  ]);
  expect([well.status, worst]).toEqual(well.status === 0 ? [0, 'ok'] : [6, 'warning']);
  await run('off', 'orders', '--by', 'ann');
  const warned = await run('doctor');
  await run('on', 'orders');
  expect(warned.status).toBe(6);
  expect(warned.out).toMatch(
    /^warning {2}switches {6}service-off of public\/DEFAULT\/orders by ann for \d+s\n +→ .*`slotcast on orders`$/m,
  );
});

test('doctor of a registry that is not there ends with status 4, and says what to do', async () => {
  const { status, out } = await runCommand(['doctor', '--server', '127.0.0.1:1', '--timeout-ms', '300']);
  expect(status).toBe(4);
  expect(out).toMatch(/^failure {2}reachability .*\n +→ is it running there\?/);
});

test('top --once prints one look, without anything that a terminal obeys', async () => {
  const { status, out } = await run('top', '--once', '--interval-ms', '200');
  expect(status).toBe(0);
  expect(out).toMatch(/^slotcast \S+ at http:\S+ {2}ready {2}up /);
  expect(out).toMatch(/^partition-1 +\d+ %/m);
  expect(out).not.toContain('\u001B');
});

test('top --json prints a line for each look, until it is interrupted', async () => {
  const top = new RunningCommand(['top', '--json', '--interval-ms', '200', ...address()]);
  await top.waitFor(/\n.*\n/);
  top.signal('SIGTERM');
  expect(await top.exited).toBe(0);
  expect(JSON.parse(top.out.split('\n')[0] ?? '')).toMatchObject({ registrations: 1, state: 'ready' });
});

test('top needs a terminal, or is told not to', async () => {
  const { status, err } = await run('top');
  expect([status, err]).toEqual([2, expect.stringContaining('use --once')]);
});

test.each(['q', '\u0003'])('top in a terminal stays in it, and leaves it as it was: typed %j', async (key) => {
  const result = await runInTerminal([process.execPath, slotcastBin, 'top', '--interval-ms', '300', ...address()], {
    rows: 12,
    columns: 60,
    steps: [
      ['more lines', ''],
      ['more lines', key],
    ],
  });
  if (result === undefined) return;
  const { status, written } = result;
  expect(status).toBe(0);
  expect(written.startsWith('\u001B[?1049h\u001B[?25l\u001B[H')).toBe(true);
  expect(written.endsWith('\u001B[?25h\u001B[?1049l')).toBe(true);
  const frames = written
    .split('\u001B[H')
    .slice(1)
    .map((frame) => stripVTControlCharacters(frame).split(/\r+\n/));
  expect(frames.length).toBeGreaterThan(1);
  for (const lines of frames) {
    expect(lines.length).toBe(12);
    expect(Math.max(...lines.map(({ length }) => length))).toBeLessThanOrEqual(60);
  }
});

test.each([
  ['a terminal', {}, true],
  ['a terminal whose user wants no colours', { NO_COLOR: '1' }, false],
])('in %s tables fit, and their headings are bold or not', async (_, environment, isBold) => {
  const result = await runInTerminal([process.execPath, slotcastBin, 'sessions', ...address()], {
    rows: 24,
    columns: 100,
    environment,
  });
  if (result === undefined) return;
  const lines = result.written.trimEnd().split(/\r+\n/);
  expect(lines[0]?.startsWith('\u001B[1mSESSION ')).toBe(isBold);
  expect(lines[1]?.length).toBeLessThanOrEqual(100);
});
