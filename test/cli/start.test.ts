import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';

import { runCommand, RunningCommand } from '../support/command.ts';
import { ioThreads } from '../support/io-threads.ts';
import { RawClient } from '../support/raw-client.ts';

let folder: string;
const started: RunningCommand[] = [];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'slotcast-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});
afterEach(async () => {
  for (const command of started.splice(0)) {
    command.signal('SIGKILL');
    await command.exited;
  }
});

function start(args: readonly string[], environment: Record<string, string> = {}): RunningCommand {
  const command = new RunningCommand(
    ['start', '--in-memory', '--port', '0', '--io-threads', String(ioThreads), ...args],
    environment,
  );
  started.push(command);
  return command;
}

const listening =
  /^slotcast (\S+) listens on (ws:\S+) and (http:\S+) with (\d+) partitions?(?: and (\d+) I\/O threads?)?\n$/;

test('start says in one line where it listens and with how many partitions, and logs to stderr as JSON', async () => {
  const command = start(['--partitions', '2', '--warm-up-ms', '0']);
  const [, , , http, partitions, threads] = await command.waitFor(listening);
  expect([partitions, Number(threads ?? 0)]).toEqual(['2', ioThreads]);
  expect((await fetch(`${http}/health/ready`)).status).toBe(200);
  const [line = ''] = command.err.split('\n');
  expect(JSON.parse(line)).toMatchObject({ level: 30, msg: 'listening', partitions: 2, ioThreads });
});

test.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
  '%s stops it cleanly: users first, with status 0',
  async (signal) => {
    const command = start([]);
    const [, , url = ''] = await command.waitFor(listening);
    const client = await RawClient.open(url);
    const goaway = client.nextNotification((method) => method === 'session.goaway');
    command.signal(signal);
    await goaway;
    expect(await command.exited).toBe(0);
    expect((await client.closed).code).toBe(1001);
  },
);

test('a second signal ends it at once', async () => {
  const command = start(['--drain-timeout-ms', '60000']);
  const [, , url = ''] = await command.waitFor(listening);
  const client = await RawClient.open(url);
  const goaway = client.nextNotification((method) => method === 'session.goaway');
  command.signal('SIGTERM');
  await goaway;
  command.signal('SIGINT');
  expect(await command.exited).toBe(130);
});

test('a flag goes before the environment, that before the file, that before the default', async () => {
  const file = join(folder, 'settings.json');
  writeFileSync(file, JSON.stringify({ partitions: 4, leasesMax: 7, registrationsMax: 11 }));
  const command = start(['--config', file, '--partitions', '2'], {
    SLOTCAST_PARTITIONS: '3',
    SLOTCAST_REGISTRATIONS_MAX: '12',
  });
  const [, , url = '', , partitions] = await command.waitFor(listening);
  expect(partitions).toBe('2');
  const client = await RawClient.open(url);
  const opened = await client.request<{ limits: object }>('session.open', { client: 'test' });
  expect(opened.limits).toMatchObject({ registrationsMax: 12 });
  client.terminate();
});

test.each([
  [
    'an ill-typed flag',
    ['--partitions', 'many'],
    {},
    'command line: partitions must be a whole number from 1 to 256, not "many"',
  ],
  [
    'a flag out of range',
    ['--disconnect-grace-ms', '-1'],
    {},
    'command line: disconnectGraceMs must be a whole number from 0',
  ],
  ['an unknown flag', ['--partition', '2'], {}, "unknown option '--partition'"],
  [
    'an ill-typed variable',
    [],
    { SLOTCAST_LOG_LEVEL: 'loud' },
    'environment: SLOTCAST_LOG_LEVEL: logLevel must be one of fatal',
  ],
  ['an unknown variable', [], { SLOTCAST_PARTITION: '2' }, 'environment: SLOTCAST_PARTITION names no setting'],
  [
    'an Origin that never matches',
    ['--allowed-origins', 'https://a.example,https://b.example/'],
    {},
    'command line: allowedOrigins: "https://b.example/" matches no Origin: browsers send it as "https://b.example"',
  ],
  ['a file that is not there', ['--config', '/nowhere/settings.json'], {}, '/nowhere/settings.json: ENOENT'],
])('[LI1] %s is refused by name, with what was expected, and status 2', async (_, args, environment, message) => {
  const { status, out, err } = await runCommand(['start', '--in-memory', '--port', '0', ...args], environment);
  expect(err).toContain(message);
  expect([status, out]).toEqual([2, '']);
});

test.each([
  ['{ "prot": 1 }', 'unknown setting "prot"'],
  ['{ "port": "80" }', 'port must be a whole number from 0 to 65535, not "80"'],
  ['[]', 'must contain a JSON object'],
  ['{', 'JSON'],
])('[LI1] a file that holds %s is refused', async (content, message) => {
  const file = join(folder, 'bad.json');
  writeFileSync(file, content);
  const { status, err } = await runCommand(['start', '--in-memory', '--config', file]);
  expect(status).toBe(2);
  expect(err).toContain(message);
});

test('a port that is in use is refused with status 1', async () => {
  const command = start([]);
  const [, , , http = ''] = await command.waitFor(listening);
  const { status, err } = await runCommand(['start', '--in-memory', '--port', new URL(http).port]);
  expect(status).toBe(1);
  expect(err).toContain('cannot listen on 127.0.0.1');
});

test('a data folder that is in use is refused with status 5, and nothing else is said', async () => {
  const dataDir = join(folder, 'data');
  const command = new RunningCommand(['start', '--data-dir', dataDir, '--port', '0', '--http-port', '0']);
  started.push(command);
  await command.waitFor(listening);
  const second = await runCommand(['start', '--data-dir', dataDir, '--port', '0', '--http-port', '0']);
  expect(second).toEqual({
    status: 5,
    out: '',
    err: `slotcast: ${dataDir} is in use by process ${command.process.pid}\n`,
  });
});

test('what Kubernetes sets for a service of this name is passed over with a warning', async () => {
  const command = start([], { SLOTCAST_PORT: 'tcp://10.96.0.7:7070', SLOTCAST_SERVICE_HOST: '10.96.0.7' });
  await command.waitFor(listening);
  const [line = ''] = command.err.split('\n');
  expect(JSON.parse(line)).toMatchObject({ level: 40, msg: expect.stringContaining('Kubernetes') });
  expect((JSON.parse(line) as { variables: string[] }).variables.sort()).toEqual([
    'SLOTCAST_PORT',
    'SLOTCAST_SERVICE_HOST',
  ]);
});
