import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { checkAuditFiles, findAuditFiles } from '../../src/audit/audit-reading.ts';
import { RunningCommand } from '../support/command.ts';
import { findFreePort } from '../support/free-port.ts';

let dataDir: string;

beforeEach(() => {
  dataDir = mkdtempSync(path.join(tmpdir(), 'slotcast-audit-'));
});
afterEach(() => {
  rmSync(dataDir, { recursive: true });
});

interface Life {
  readonly command: RunningCommand;
  readonly url: string;
}

async function start(): Promise<Life> {
  const httpPort = await findFreePort();
  const args = ['start', '--port', '0', '--http-port', String(httpPort), '--data-dir', dataDir, '--log-level', 'error'];
  const command = new RunningCommand(args);
  await command.waitFor(/listens on/);
  return { command, url: `http://127.0.0.1:${httpPort}` };
}

/** Registers instances for good, until the server is gone. `ids`: gets those that it has answered. */
async function registerUntilGone({ url }: Life, prefix: string, ids: string[]): Promise<void> {
  for (let i = 0; ; i++) {
    const id = `${prefix}-${i}`;
    const instance = { host: '10.0.0.1', port: 80, id };
    try {
      const response = await fetch(`${url}/v1/instances`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ service: 'orders', instance, persistent: true }),
      });
      await response.arrayBuffer();
      if (response.status === 200) ids.push(id);
    } catch {
      return;
    }
  }
}

test(
  '[AU1] [AU3] whatever was answered before the process was killed is in the log, which is one chain in the next life',
  { timeout: 60_000 },
  async () => {
    const answered: string[] = [];
    for (const after of [5, 20]) {
      const life = await start();
      const registering = Promise.all(
        ['a', 'b', 'c'].map((name) => registerUntilGone(life, `${after}-${name}`, answered)),
      );
      const before = answered.length;
      await expect.poll(() => answered.length - before, { timeout: 20_000, interval: 5 }).toBeGreaterThan(after);
      life.command.signal('SIGKILL');
      await life.command.exited;
      await registering;
    }
    const last = await start();
    last.command.signal('SIGTERM');
    await last.command.exited;
    const files = await findAuditFiles(path.join(dataDir, 'audit'));
    expect((await checkAuditFiles(files)).firstBreak).toBeUndefined();
    const noted = new Set(
      files
        .flatMap((file) => readFileSync(file, 'utf8').split('\n').slice(0, -1))
        .map((line) => (JSON.parse(line) as { target?: { id?: string } }).target?.id),
    );
    expect(answered.filter((id) => !noted.has(id))).toEqual([]);
  },
);
