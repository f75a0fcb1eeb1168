import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import fc from 'fast-check';
import { afterEach, expect, test, vi } from 'vitest';

import { AuditLog } from '../../src/audit/audit-log.ts';
import type { AuditEvent, AuditLogOptions } from '../../src/audit/audit-log.ts';
import { checkAuditFiles, findAuditFiles } from '../../src/audit/audit-reading.ts';
import type { AuditRecord } from '../../src/audit/audit-record.ts';
import { AuditState } from '../../src/audit/audit-state.ts';
import type { ChainCheck } from '../../src/audit/chain-check.ts';

const config = {
  auditFileBytesMax: 1_048_576,
  auditFilesMax: 0,
  auditQueueBytesMax: 100_000,
  auditRequired: true,
  storeRetryMaxMs: 1000,
};

const folders: string[] = [];

const lives: Life[] = [];

afterEach(async () => {
  await Promise.all(lives.splice(0).map(({ log }) => log.stop()));
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function makeFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'slotcast-audit-'));
  folders.push(folder);
  return path.join(folder, 'audit');
}

/** An audit log in a folder of its own, or in that of a life before. */
class Life {
  readonly folder: string;
  readonly state: AuditState = new AuditState();
  readonly events: AuditEvent[] = [];
  readonly log: AuditLog;
  #nowMs = 0;

  constructor(folder: string = makeFolder(), settings: Partial<AuditLogOptions['config']> = {}) {
    this.folder = folder;
    this.log = new AuditLog({
      folder,
      config: { ...config, ...settings },
      state: this.state,
      readWallMs: () => Date.parse('2030-01-01T00:00:00Z'),
      onEvent: (event) => this.events.push(event),
    });
    lives.push(this);
  }

  tick(ms: number): void {
    this.#nowMs += ms;
    this.log.tick(this.#nowMs);
  }

  /** The disk is tried again, and takes what waits. */
  async recover(): Promise<void> {
    this.tick(10_000);
    await vi.waitFor(
      () => {
        if (this.log.summary.state !== 'on') throw new Error('it cannot be written');
      },
      { timeout: 5000, interval: 5 },
    );
  }

  async check(): Promise<ChainCheck> {
    return checkAuditFiles(await findAuditFiles(this.folder));
  }

  file(number: number): string {
    return path.join(this.folder, `audit-00000${number}.jsonl`);
  }

  /** What was said last of why it cannot be written; undefined: it can. */
  get trouble(): string | undefined {
    const last = this.events.findLast(({ kind }) => kind === 'failed' || kind === 'recovered');
    if ((last?.kind === 'failed') !== (this.log.summary.state === 'failing')) throw new Error('it says two things');
    return last?.kind === 'failed' ? last.message : undefined;
  }

  /** What is in its files. */
  lines(): { readonly seq: number; readonly what: string; readonly target?: object }[] {
    return readdirSync(this.folder)
      .sort()
      .flatMap((name) => readFileSync(path.join(this.folder, name), 'utf8').split('\n').slice(0, -1))
      .map((line) => JSON.parse(line) as { seq: number; what: string });
  }
}

const put = (key: string): AuditRecord => ({
  actor: { principal: 'anonymous', address: '127.0.0.1' },
  what: 'key.put',
  target: { key },
  outcome: 'done',
});

test('[AU1] what was noted is in the file when that is answered, and the next life continues the chain', async () => {
  const life = new Life();
  await life.log.begin();
  await life.log.note(put('a'));
  expect(life.lines().map(({ what }) => what)).toEqual(['audit.file', 'server.start', 'key.put']);
  await life.log.stop();
  const next = new Life(life.folder);
  await next.log.begin();
  await next.log.note(put('b'));
  const { head, firstBreak, lines } = await next.check();
  expect([firstBreak, lines, head.hash]).toEqual([undefined, 6, next.log.summary.hash]);
  expect(next.lines().map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5, 6]);
  expect(statSync(life.file(1)).mode & 0o777).toBe(0o600);
});

test('[AU3] a line that was torn is cut off at the next start, which notes that', async () => {
  const life = new Life();
  await life.log.begin();
  await life.log.note(put('a'));
  const whole = readFileSync(life.file(1));
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: whole.length }), async (bytes) => {
      const folder = makeFolder();
      mkdirSync(folder, { recursive: true });
      writeFileSync(path.join(folder, 'audit-000001.jsonl'), whole.subarray(0, bytes));
      const next = new Life(folder);
      await next.log.begin();
      await next.log.stop();
      const check = await next.check();
      expect(check.firstBreak).toBeUndefined();
      expect(check.tornBytes).toBe(0);
      const kept = whole.lastIndexOf('\n', bytes - 1) + 1;
      const torn = next.lines().filter(({ what }) => what === 'audit.torn');
      expect(torn.map(({ target }) => (target as { bytes: number }).bytes)).toEqual(kept < bytes ? [bytes - kept] : []);
      expect(readFileSync(next.file(1)).subarray(0, kept)).toEqual(whole.subarray(0, kept));
    }),
    { numRuns: 30 },
  );
});

test('[AU4] files are rotated by their size, and the oldest go by their number', async () => {
  const life = new Life(undefined, { auditFileBytesMax: 1024, auditFilesMax: 3 });
  await life.log.begin();
  for (let i = 0; i < 40; i++) await life.log.note(put(`key ${i}`));
  await life.log.stop();
  const names = readdirSync(life.folder).sort();
  expect(names).toHaveLength(3);
  expect(names).not.toContain('audit-000001.jsonl');
  for (const name of names) expect(statSync(path.join(life.folder, name)).size).toBeLessThan(2048);
  const check = await life.check();
  expect([check.firstBreak, check.head.hash]).toEqual([undefined, life.log.summary.hash]);
  expect(check.firstSeq).toBeGreaterThan(10);
  expect(life.events.find(({ kind }) => kind === 'removed')).toEqual({
    kind: 'removed',
    files: ['audit-000001.jsonl'],
  });
});

/** A disk that is full: what is written to the next file is refused. */
function fill(life: Life, number: number): void {
  symlinkSync('/dev/full', life.file(number));
}

test('[AU5] a full disk refuses what must be noted, and what was under way is in the log once there is room', async () => {
  const life = new Life();
  mkdirSync(life.folder, { recursive: true });
  fill(life, 1);
  await life.log.begin();
  expect(life.log.refusal).toMatchObject({ code: 'storage_unavailable' });
  expect(life.trouble).toContain('ENOSPC');
  // It is done already.
  await life.log.note(put('a'));
  life.tick(300);
  await expect.poll(() => life.log.counts.failures).toBeGreaterThan(1);
  expect(life.events.filter(({ kind }) => kind === 'failed')).toHaveLength(1);
  rmSync(life.file(1));
  await life.recover();
  expect(life.log.refusal).toBeUndefined();
  expect(life.lines().map(({ what }) => what)).toEqual(['audit.file', 'server.start', 'key.put']);
  expect((await life.check()).firstBreak).toBeUndefined();
});

test('[AU5] a disk that fills up in the middle of a file is gone on with after the last whole line', async () => {
  const life = new Life(undefined, { auditFileBytesMax: 1024 });
  await life.log.begin();
  fill(life, 2);
  for (let i = 0; i < 8; i++) await life.log.note(put(`key ${i}`));
  expect(life.log.refusal).toBeDefined();
  rmSync(life.file(2));
  await life.recover();
  expect(life.log.refusal).toBeUndefined();
  await life.log.stop();
  expect((await life.check()).firstBreak).toBeUndefined();
  expect(life.lines().filter(({ what }) => what === 'key.put')).toHaveLength(8);
});

test('[AU5] without auditRequired a full disk refuses nothing, and what found no room is counted and noted', async () => {
  const life = new Life(undefined, { auditRequired: false, auditQueueBytesMax: 1024 });
  mkdirSync(life.folder, { recursive: true });
  fill(life, 1);
  await life.log.begin();
  expect(life.log.refusal).toBeUndefined();
  for (let i = 0; i < 20; i++) await life.log.note(put(`key ${i}`));
  const { leftOut } = life.log.counts;
  expect(leftOut).toBeGreaterThan(5);
  rmSync(life.file(1));
  await life.recover();
  const gaps = life.lines().filter(({ what }) => what === 'audit.gap');
  expect(gaps.map(({ target }) => target)).toEqual([{ leftOut }]);
  expect(life.lines().filter(({ what }) => what === 'key.put')).toHaveLength(20 - leftOut);
});

test('[AU5] a queue that is full refuses until it has been written', async () => {
  const life = new Life(undefined, { auditQueueBytesMax: 1024 });
  await life.log.begin();
  life.log.takeBatch(
    Array.from({ length: 20 }, (_, i) => `"at":"","what":"key.put","target":{"key":"key number ${i}"}`),
    3,
  );
  expect(life.log.refusal).toBeDefined();
  await life.log.note(put('last'));
  expect(life.log.refusal).toBeUndefined();
  expect(life.log.counts).toMatchObject({ leftOut: 3, lines: 23 });
});

test('[AU2] a file that somebody removes or changes while the server runs is noticed', async () => {
  const life = new Life();
  await life.log.begin();
  rmSync(life.file(1));
  await life.log.note(put('a'));
  expect(life.trouble).toContain('removed or changed');
  await life.recover();
  await life.log.note(put('b'));
  // The next file follows on what was removed.
  expect(readdirSync(life.folder)).toEqual(['audit-000002.jsonl']);
  appendFileSync(life.file(2), 'x');
  await life.log.note(put('c'));
  expect(life.trouble).toContain('removed or changed');
  await life.recover();
  truncateSync(life.file(2), 10);
  await life.log.note(put('d'));
  await life.recover();
  expect((await life.check()).firstBreak).toMatchObject({ line: 1 });
});

test('[AU2] a file that ends with what is no line is left as it is, and the next one begins', async () => {
  const life = new Life();
  await life.log.begin();
  await life.log.stop();
  appendFileSync(life.file(1), 'what is this?\n');
  const next = new Life(life.folder);
  await next.log.begin();
  await next.log.stop();
  expect(next.events[0]).toEqual({ kind: 'damaged', file: 'audit-000001.jsonl' });
  expect(readdirSync(life.folder)).toHaveLength(2);
  expect((await next.check()).firstBreak).toMatchObject({ file: life.file(1), line: 4 });
});
