import { spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';

import { exitCodes } from '../../src/cli/exit-codes.ts';
import { resolveConfig } from '../../src/config/config-checking.ts';
import { RunningCommand } from '../support/command.ts';
import { slotcastBin } from '../support/launched-server.ts';
import { root } from '../support/source-files.ts';
import { hasTool, runTool } from '../support/tools.ts';

const unit = readFileSync(`${root}deploy/systemd/slotcast.service`, 'utf8');
const listener = fileURLToPath(new URL('../support/notify-socket.py', import.meta.url));

let folder: string;
const started: { kill: () => unknown }[] = [];
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'slotcast-'));
});
afterEach(() => {
  for (const each of started.splice(0)) each.kill();
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

function readValue(name: string): string | undefined {
  return new RegExp(`^${name}=(.*)$`, 'm').exec(unit)?.[1];
}

const start = ['start', '--in-memory', '--port', '0', '--partitions', '1', '--log-level', 'warn'];

test('the unit waits for longer than a stop takes, and does not start again what cannot start', () => {
  expect(Number(readValue('TimeoutStopSec')) * 1000).toBeGreaterThan(resolveConfig({}).drainTimeoutMs + 5000);
  expect(readValue('RestartPreventExitStatus')).toBe(`${exitCodes.usage} ${exitCodes.dataFolder}`);
  expect(readValue('Type')).toBe('notify');
});

test.skipIf(!hasTool('systemd-analyze', "Debian's package systemd"))('systemd accepts the unit', () => {
  const file = join(folder, 'slotcast.service');
  // It looks for the program.
  writeFileSync(file, unit.replace(/^ExecStart=.*$/m, `ExecStart=${process.execPath} ${slotcastBin} start`));
  expect(runTool('systemd-analyze', ['verify', '--man=no', file])).toEqual({ status: 0, said: '' });
});

const canNotify = hasTool('systemd-notify', "Debian's package systemd") && hasTool('python3', 'which makes the socket');

test.skipIf(!canNotify)('a service manager is told when it listens, that it is alive, and that it stops', async () => {
  const socket = join(folder, 'notify.sock');
  const manager = spawn('python3', [listener, socket], { stdio: ['ignore', 'pipe', 'inherit'] });
  started.push(manager);
  const lines = createInterface({ input: manager.stdout })[Symbol.asyncIterator]();
  const next = async (): Promise<string> => (await lines.next()).value as string;
  expect(await next()).toBe('listening');
  const command = new RunningCommand(start, { NOTIFY_SOCKET: socket, WATCHDOG_USEC: '600000' });
  started.push(command.process);
  const [, url] = await command.waitFor(/ listens on (ws:\S+) and /);
  expect(JSON.parse(await next())).toMatch(`READY=1\nSTATUS=listens on ${url}`);
  expect(JSON.parse(await next())).toBe('WATCHDOG=1');
  expect(JSON.parse(await next())).toBe('WATCHDOG=1');
  command.signal('SIGTERM');
  let told = JSON.parse(await next()) as string;
  while (told === 'WATCHDOG=1') told = JSON.parse(await next()) as string;
  expect(told).toContain('STOPPING=1');
  expect(await command.exited).toBe(0);
  expect(command.err).toBe('');
});

test('where nobody can be told, that is said once, and the registry serves', async () => {
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  writeFileSync(join(bin, 'systemd-notify'), '#!/bin/sh\nexit 3\n');
  chmodSync(join(bin, 'systemd-notify'), 0o755);
  for (const [path, why] of [
    [bin, 'systemd-notify ended with 3'],
    ['/nowhere', 'spawn systemd-notify ENOENT'],
  ]) {
    const command = new RunningCommand(start, { NOTIFY_SOCKET: '/nowhere', WATCHDOG_USEC: '100000', PATH: path! });
    await command.waitFor(/ listens on /);
    const [line] = await command.waitForError(/.*service manager.*\n/);
    expect(JSON.parse(line)).toMatchObject({ level: 40, why });
    // Several times as long as a ping takes.
    await new Promise((resolve) => {
      setTimeout(resolve, 500);
    });
    command.signal('SIGTERM');
    expect(await command.exited).toBe(0);
    expect(command.err.match(/service manager/g)).toHaveLength(1);
  }
});
