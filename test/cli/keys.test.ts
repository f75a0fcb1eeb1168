import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { connect } from 'slotcast/client';
import type { Client } from 'slotcast/client';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { runCommand, RunningCommand } from '../support/command.ts';

let server: Server;
let client: Client;
let folder: string;

beforeAll(async () => {
  server = await startServer({ port: 0, partitions: 2, logLevel: 'silent', warmUpMs: 0, disconnectGraceMs: 50 });
  client = connect({ servers: [server.address.url] });
  folder = mkdtempSync(path.join(tmpdir(), 'cli-keys-'));
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await client.close();
  await server.stop();
});

function withServer([command = '', ...args]: readonly string[]): string[] {
  return ['kv', command, '--server', server.address.url, ...args];
}

function run(...args: string[]): ReturnType<typeof runCommand> {
  return runCommand(withServer(args));
}

/** A program for `kv lock` to run, in JavaScript. */
function script(name: string, code: string): string {
  const file = path.join(folder, name);
  writeFileSync(file, code);
  return file;
}

test('put and get keys, as text and as JSON', async () => {
  const put = await run('put', 'config/limit', '10', '--flags', '18446744073709551615');
  expect(put).toMatchObject({ status: 0, out: expect.stringMatching(/^config\/limit is at version \d+\n$/) });
  expect(await run('get', 'config/limit')).toEqual({ status: 0, out: '10', err: '' });
  const json = JSON.parse((await run('get', 'config/limit', '--json')).out) as object;
  expect(json).toMatchObject({ key: 'config/limit', value: 'MTA=', text: '10', flags: '18446744073709551615' });
  const file = path.join(folder, 'value');
  writeFileSync(file, Uint8Array.of(0, 255, 10));
  const stored = JSON.parse((await run('put', 'config/raw', '--file', file, '--json')).out) as object;
  expect(stored).toMatchObject({ key: 'config/raw', flags: '0' });
  const raw = JSON.parse((await run('get', 'config/raw', '--json')).out) as object;
  expect(raw).toMatchObject({ value: 'AP8K' });
  expect(raw).not.toHaveProperty('text');
});

test('list and delete keys, and change them on conditions', async () => {
  await client.keys.deletePrefix('');
  await client.keys.put('config/limit', '10', { flags: 2n ** 64n - 1n });
  const { modifyVersion } = (await client.keys.get('config/limit'))!;
  await client.keys.put('config/raw', Uint8Array.of(0, 255, 10));
  const list = await run('list', 'config/');
  expect(list.out).toMatch(
    /^KEY +BYTES +FLAGS +VERSION +HOLDER +FENCE\nconfig\/limit +2 +18446744073709551615 +\d+ +- +-\nconfig\/raw +3 +0 /,
  );
  expect((await run('list', '--keys-only')).out).toBe('config/limit\nconfig/raw\n');
  expect(JSON.parse((await run('list', '--separator', '/', '--json')).out)).toEqual({ keys: [], cut: ['config/'] });
  const unmet = await run('put', 'config/limit', '11', '--cas', '0');
  expect(unmet).toEqual({ status: 1, out: '', err: 'config/limit was not changed: its version is another one\n' });
  const refused = await run('delete', 'config/limit', '--cas', '1', '--json');
  expect(JSON.parse(refused.out)).toMatchObject({ applied: false, reason: 'version' });
  expect(refused.status).toBe(1);
  expect(await run('delete', 'config/limit', '--cas', String(modifyVersion))).toMatchObject({ status: 0 });
  expect(await run('get', 'config/limit')).toEqual({ status: 3, out: '', err: 'there is no key config/limit\n' });
  expect(await run('delete', '--prefix', 'config/')).toMatchObject({ status: 0, out: 'deleted 1 key\n' });
});

test('what the command line cannot mean is refused with status 2', async () => {
  for (const args of [
    ['put', 'k', 'v', '--file', 'f'],
    ['put', 'k', 'v', '--flags', '18446744073709551616'],
    ['delete', 'k', '--prefix', '--cas', '1'],
    ['lock'],
  ]) {
    const { status, err } = await run(...args);
    expect([args, status, err]).toEqual([args, 2, expect.stringMatching(/\S/)]);
  }
});

test('no more is read of a value than it may have', async () => {
  const big = path.join(folder, 'big');
  writeFileSync(big, Buffer.alloc(524_289));
  const refused = { status: 2, out: '', err: 'slotcast: A value has at most 524288 bytes.\n' };
  expect(await run('put', 'big', '--file', big)).toEqual(refused);
  // It never ends.
  expect(await run('put', 'big', '--file', '/dev/zero')).toEqual(refused);
  const piped = new RunningCommand(withServer(['put', 'big', '--file', '-']), {}, { stdin: 'pipe' });
  piped.process.stdin?.on('error', () => undefined);
  const pour = (): void => {
    if (piped.process.stdin?.write(Buffer.alloc(65_536)) === true) setImmediate(pour);
  };
  piped.process.stdin?.on('drain', pour);
  pour();
  expect([await piped.exited, piped.err]).toEqual([2, refused.err]);
  writeFileSync(big, Buffer.alloc(524_288));
  expect(await run('put', 'big', '--file', big)).toMatchObject({ status: 0 });
  expect(await run('put', 'big', '--file', path.join(folder, 'nothing'))).toMatchObject({
    status: 1,
    err: expect.stringContaining('ENOENT'),
  });
});

test('a variable that is empty counts as unset', async () => {
  const environment = { SLOTCAST_SERVER: '', SLOTCAST_HTTP: '' };
  // Whoever is at the default address is asked, if anybody is there.
  const { status } = await runCommand(['kv', 'get', 'k', '--timeout-ms', '200'], environment);
  expect(status).not.toBe(2);
  const sessions = await runCommand(['sessions', '--server', server.address.url], environment);
  expect(sessions).toMatchObject({ status: 0, err: '' });
});

test('a command runs while the key is held, knows its number, and its status is passed on', async () => {
  const show = script(
    'show.mjs',
    'console.log(process.env.SLOTCAST_LOCK_KEY, process.env.SLOTCAST_LOCK_FENCE); process.exit(7);',
  );
  const first = await run('lock', 'job', '--value', 'me', '--', process.execPath, show);
  expect(first).toMatchObject({ status: 7, err: '' });
  const second = await run('lock', 'job', '--', process.execPath, show);
  const [before, after] = [first, second].map(({ out }) => Number(/^job (\d+)\n$/.exec(out)![1]));
  expect(after).toBeGreaterThan(before!);
  expect(await client.keys.get('job')).not.toHaveProperty('holder');
  expect(await run('lock', 'job', '--delete-after', '--', process.execPath, '-e', '0')).toMatchObject({ status: 0 });
  expect(await client.keys.get('job')).toBeUndefined();
  expect(await run('lock', 'job', '--', path.join(folder, 'nothing'))).toMatchObject({
    status: 1,
    err: expect.stringContaining('ENOENT'),
  });
});

test('a lock that is held is waited for, or not', async () => {
  const lock = await client.keys.lock('busy');
  expect(await run('lock', 'busy', '--no-wait', '--', process.execPath, '-e', '0')).toEqual({
    status: 1,
    out: '',
    err: 'busy is held, or its lock delay is not over\n',
  });
  expect(await run('lock', 'busy', '--wait-ms', '50', '--', process.execPath, '-e', '0')).toMatchObject({ status: 1 });
  const waiting = new RunningCommand(withServer(['lock', 'busy']));
  const interrupted = new RunningCommand(withServer(['lock', 'busy']));
  await Promise.all([waiting.waitForError(/waiting/), interrupted.waitForError(/waiting/)]);
  interrupted.signal('SIGINT');
  expect(await interrupted.exited).toBe(130);
  const command = ['lock', 'busy', '--', process.execPath, '-e', 'console.log("ran")'];
  const ended = new RunningCommand(withServer(command));
  await ended.waitForError(/waiting/);
  ended.signal('SIGTERM');
  expect([await ended.exited, ended.out]).toEqual([143, '']);
  await lock.release();
  await waiting.waitFor(/^holding busy, fencing number \d+\n/);
  waiting.signal('SIGTERM');
  expect(await waiting.exited).toBe(0);
  expect(await client.keys.get('busy')).not.toHaveProperty('holder');
});

test('when the lock is lost, the command is ended by SIGTERM, and the status says so', async () => {
  const stay = script(
    'stay.mjs',
    "process.on('SIGTERM', () => { console.log('asked to end'); process.exit(0); });\nconsole.log('running');\nsetInterval(() => {}, 1000);",
  );
  const command = new RunningCommand(withServer(['lock', 'taken', '--', process.execPath, stay]));
  await command.waitFor(/running/);
  await client.keys.delete('taken');
  expect(await command.exited).toBe(1);
  expect(command.out).toContain('asked to end');
  expect(command.err).toContain('the key was deleted or released by others; ending the command');
});

test('signals are the command’s, and a holder that is killed leaves its lock delay behind', async () => {
  const stay = script('signals.mjs', "console.log('running');\nsetInterval(() => {}, 1000);");
  const command = new RunningCommand(withServer(['lock', 'job2', '--', process.execPath, stay]));
  await command.waitFor(/running/);
  command.signal('SIGTERM');
  expect(await command.exited).toBe(143);
  expect(await client.keys.get('job2')).not.toHaveProperty('holder');
  const killed = new RunningCommand(withServer(['lock', 'job2', '--lock-delay-ms', '300']));
  const [, fence] = await killed.waitFor(/fencing number (\d+)/);
  killed.signal('SIGKILL');
  await killed.exited;
  await expect.poll(async () => (await client.keys.get('job2'))?.holder).toBeUndefined();
  await expect(client.keys.lock('job2', { timeoutMs: 50 })).rejects.toMatchObject({ reason: 'delayed' });
  const next = await client.keys.lock('job2');
  expect(next.fence).toBeGreaterThan(Number(fence));
});

test('a command that ignores a signal is killed at the second one', async () => {
  const deaf = script(
    'deaf.mjs',
    "process.on('SIGTERM', () => console.log('ignored'));\nconsole.log('running');\nsetInterval(() => {}, 1000);",
  );
  const command = new RunningCommand(withServer(['lock', 'job3', '--', process.execPath, deaf]));
  await command.waitFor(/running/);
  command.signal('SIGTERM');
  await command.waitFor(/ignored/);
  command.signal('SIGINT');
  expect(await command.exited).toBe(130);
  expect(await client.keys.get('job3')).not.toHaveProperty('holder');
});

test('the status of a command is passed on, also if the registry cannot be told of the release', async () => {
  const other = await startServer({ port: 0, partitions: 1, logLevel: 'silent', warmUpMs: 0, drainTimeoutMs: 50 });
  const seven = script(
    'seven.mjs',
    "process.on('SIGTERM', () => process.exit(7));\nconsole.log('running');\nsetInterval(() => {}, 1000);",
  );
  const options = ['--server', other.address.url, '--timeout-ms', '1000', '--lost-after-ms', '60000'];
  const command = new RunningCommand(['kv', 'lock', 'job', ...options, '--', process.execPath, seven]);
  await command.waitFor(/running/);
  await other.stop();
  command.signal('SIGTERM');
  expect(await command.exited).toBe(7);
  expect(command.err).toMatch(/^slotcast: job may still be held: /m);
});

test('watch prints what there is, and each change as it comes, until it is interrupted', async () => {
  await client.keys.put('w/a', 'one');
  const text = new RunningCommand(withServer(['watch', 'w/', '--prefix']));
  const json = new RunningCommand(withServer(['watch', 'w/b', '--json']));
  await text.waitFor(/^\+ w\/a one version \d+\n/);
  await client.keys.put('w/b', 'two');
  await text.waitFor(/\n\+ w\/b two version \d+\n/);
  await client.keys.delete('w/a');
  await text.waitFor(/\n- w\/a\n/);
  await json.waitFor(/"text":"two"/);
  await client.keys.delete('w/b');
  await json.waitFor(/"deleted":true/);
  const [first, last] = json.out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as object);
  expect(first).toMatchObject({ key: 'w/b', value: 'dHdv', flags: '0' });
  expect(last).toMatchObject({ key: 'w/b', deleted: true, modifyVersion: expect.any(Number) });
  for (const watch of [text, json]) watch.signal('SIGINT');
  expect(await Promise.all([text.exited, json.exited])).toEqual([0, 0]);
});
