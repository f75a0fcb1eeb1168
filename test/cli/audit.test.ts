import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { AuditLog } from '../../src/audit/audit-log.ts';
import { AuditState } from '../../src/audit/audit-state.ts';
import { runCommand } from '../support/command.ts';

let dataDir: string;
let hash: string;

/** Three files with two lines each of what was done, a minute apart. */
beforeEach(async () => {
  dataDir = mkdtempSync(path.join(tmpdir(), 'slotcast-audit-'));
  let nowMs = Date.parse('2030-01-01T00:00:00Z');
  const log = new AuditLog({
    folder: path.join(dataDir, 'audit'),
    config: {
      auditFileBytesMax: 1024,
      auditFilesMax: 0,
      auditQueueBytesMax: 100_000,
      auditRequired: true,
      storeRetryMaxMs: 1000,
    },
    state: new AuditState(),
    readWallMs: () => (nowMs += 60_000),
    onEvent: () => undefined,
  });
  await log.begin();
  for (const [key, principal] of [
    ['a', 'alice'],
    ['b', 'bob'],
    ['c\u001b[31m', 'alice'],
    ['d', 'alice'],
  ] as const)
    await log.note({ actor: { principal, address: '::1' }, what: 'key.put', target: { key }, outcome: 'done' });
  await log.stop();
  ({ hash } = log.summary);
});
afterEach(() => {
  rmSync(dataDir, { recursive: true });
});

const file = (number: number): string => path.join(dataDir, 'audit', `audit-00000${number}.jsonl`);

test('[AU2] audit verify says that nothing was changed, and knows the last hash', async () => {
  const { status, out } = await runCommand(['audit', 'verify', '--data-dir', dataDir]);
  expect([status, out]).toEqual([0, expect.stringContaining('none changed, removed or put in')]);
  expect(out).toContain(`hash ${hash}`);
  const expected = await runCommand(['audit', 'verify', '--data-dir', dataDir, '--expect', hash, '--json']);
  expect([expected.status, JSON.parse(expected.out)]).toMatchObject([0, { hash, hasExpected: true, firstSeq: 1 }]);
});

test('[AU2] audit verify names the file and the line of a break', async () => {
  writeFileSync(file(1), readFileSync(file(1), 'utf8').replace('bob', 'eve'));
  const { status, err } = await runCommand(['audit', 'verify', '--data-dir', dataDir]);
  expect([status, err]).toEqual([1, expect.stringContaining(`${file(1)}, line 4`)]);
});

test('[AU2] lines that were cut off at the end are missed by who knows the hash', async () => {
  const lines = readFileSync(file(2), 'utf8').split('\n');
  writeFileSync(file(2), `${lines.slice(0, 2).join('\n')}\n`);
  expect((await runCommand(['audit', 'verify', '--data-dir', dataDir])).status).toBe(0);
  const { status, err } = await runCommand(['audit', 'verify', '--data-dir', dataDir, '--expect', hash]);
  expect([status, err]).toEqual([1, expect.stringContaining('lines at the end are missing')]);
});

test('[AU3] a line that is being written is no break', async () => {
  appendFileSync(file(2), '{"seq":');
  const { status, out } = await runCommand(['audit', 'verify', file(2), file(1)]);
  expect([status, out]).toEqual([0, expect.stringContaining('7 bytes at the end are no whole line')]);
});

test('audit show prints the lines that are meant', async () => {
  const show = async (...args: string[]): Promise<{ lines: { target: { key: string } }[] }> => {
    const { out, status } = await runCommand(['audit', 'show', '--data-dir', dataDir, '--json', ...args]);
    expect(status).toBe(0);
    return JSON.parse(out) as { lines: { target: { key: string } }[] };
  };
  const keys = async (...args: string[]): Promise<string[]> =>
    (await show(...args)).lines.map(({ target }) => target.key);
  expect(await keys('--what', 'key')).toHaveLength(4);
  expect(await keys('--who', 'bob')).toEqual(['b']);
  expect(await keys('--what', 'key', '--who', 'alice', '--since', '2030-01-01T00:05:00Z')).not.toContain('a');
  expect(await keys('--what', 'ke')).toEqual([]);
  expect(await keys('--what', 'key', '--limit', '1')).toEqual(['d']);
  expect(await keys('--what', 'key', '--limit', '3')).toHaveLength(3);
  const { out } = await runCommand(['audit', 'show', '--data-dir', dataDir, '--who', 'alice']);
  expect(out).toContain('key.put');
  expect(out).not.toContain('\u001b');
});

test('what cannot be read is said', async () => {
  const none = await runCommand(['audit', 'verify', '--data-dir', path.join(dataDir, 'none')]);
  expect([none.status, none.err]).toEqual([1, expect.stringContaining('ENOENT')]);
  expect((await runCommand(['audit', 'verify', '--expect', 'x', '--data-dir', dataDir])).status).toBe(2);
  expect((await runCommand(['audit', 'show', '--since', 'yesterday', '--data-dir', dataDir])).status).toBe(2);
});
