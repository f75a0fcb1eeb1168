import { expect, test } from 'vitest';

import { BackupReader } from '../../src/durable/backup-format.ts';
import type { BackupContent } from '../../src/durable/backup-format.ts';
import type { BackupReply, BackupRequest } from '../../src/durable/commits.ts';
import { put, StoreBench } from '../support/store-bench.ts';

const origin = { slotcast: '0.1.0', createdAt: '2026-11-27T09:00:00.000Z' };
let lastRequest = 1_000_000;

type Asked = BackupRequest extends infer R ? (R extends BackupRequest ? Omit<R, 'request'> : never) : never;

function ask(bench: StoreBench, asked: Asked): BackupReply {
  lastRequest += 1;
  bench.core.handle(1, { ...asked, request: lastRequest }, bench.nowMs);
  bench.run();
  return bench.replyTo(1, lastRequest) as BackupReply;
}

function begin(bench: StoreBench): { readonly backup: number; readonly part: Uint8Array } {
  const reply = ask(bench, { kind: 'beginBackup', origin });
  if (reply.kind !== 'backup' || reply.part === undefined) throw new Error(`not begun: ${JSON.stringify(reply)}`);
  return { backup: reply.backup, part: reply.part };
}

/** Reads a backup to its end; something else happens before each part. */
function readRest(
  bench: StoreBench,
  backup: number,
  first: Uint8Array,
  meanwhile: () => void = () => undefined,
): {
  readonly content: BackupContent;
  readonly rows: readonly string[];
} {
  const reader = new BackupReader();
  const rows: string[] = [];
  for (let part: Uint8Array | undefined = first; part !== undefined;) {
    for (const { key, payload } of reader.read(part)) rows.push(`${key}=${Buffer.from(payload).toString()}`);
    meanwhile();
    const reply = ask(bench, { kind: 'readBackup', backup });
    if (reply.kind !== 'backup') throw new Error(`not read: ${JSON.stringify(reply)}`);
    ({ part } = reply);
  }
  return { content: reader.end(), rows };
}

function createBench(): StoreBench {
  const bench = new StoreBench(undefined, { storeRowBytesMax: 1_048_576, storeQueueBytesMax: 64 * 1_048_576 });
  bench.core.attach(1);
  return bench;
}

test('[AR1] a backup has whole commits up to one moment, though commits go on while it is read', () => {
  const bench = createBench();
  const large = 'x'.repeat(100_000);
  let round = 0;
  const write = (): void => {
    round += 1;
    // The same in each, in one commit.
    bench.ask(1, { writes: Array.from({ length: 20 }, (_, i) => put(`k${i}`, `${round} ${large}`)) });
    bench.run();
  };
  write();
  write();
  const { backup, part } = begin(bench);
  const { content, rows } = readRest(bench, backup, part, write);
  expect(round).toBeGreaterThan(8);
  expect(rows).toHaveLength(20);
  expect(rows.every((row) => /^k\d+=2 x/.test(row))).toBe(true);
  expect(content).toMatchObject({ ...origin, version: 2, rows: { keys: 20, instances: 0 } });
});

test('[AR1] a commit that came before is in the backup, and one that came after is not', () => {
  const bench = createBench();
  bench.ask(1, { writes: [put('before', '1')] });
  bench.core.handle(1, { kind: 'beginBackup', request: 7_000_000, origin }, 0);
  bench.ask(1, { writes: [put('after', '2')] });
  bench.run();
  const reply = bench.replyTo(1, 7_000_000) as BackupReply | undefined;
  if (reply?.kind !== 'backup' || reply.part === undefined) throw new Error('not begun');
  expect(readRest(bench, reply.backup, reply.part).rows).toEqual(['before=1']);
});

test('[LI1] one backup at a time: another gets busy, until the first has been read, or is ended', () => {
  const bench = createBench();
  const first = begin(bench);
  expect(ask(bench, { kind: 'beginBackup', origin })).toMatchObject({ kind: 'refused', failure: { code: 'busy' } });
  readRest(bench, first.backup, first.part);
  const second = begin(bench);
  expect(ask(bench, { kind: 'endBackup', backup: first.backup })).toMatchObject({ part: undefined });
  expect(ask(bench, { kind: 'beginBackup', origin })).toMatchObject({ kind: 'refused' });
  ask(bench, { kind: 'endBackup', backup: second.backup });
  begin(bench);
});

test('[LI1] a backup that nobody reads is given up after backupIdleTimeoutMs', () => {
  const bench = createBench();
  const { backup } = begin(bench);
  bench.wait(4999);
  expect(ask(bench, { kind: 'readBackup', backup })).toMatchObject({ kind: 'backup' });
  bench.wait(5000);
  expect(ask(bench, { kind: 'readBackup', backup })).toMatchObject({ kind: 'refused', failure: { code: 'not_found' } });
  begin(bench);
});

test('[ST3] a backup of rows that cannot be read is refused', () => {
  const bench = createBench();
  bench.ask(1, { writes: [put('a', '1')] });
  const { backup } = begin(bench);
  bench.disk.isUnreadable = true;
  const reply = ask(bench, { kind: 'readBackup', backup });
  expect(reply).toMatchObject({ kind: 'refused', failure: { code: 'storage_unavailable' } });
});
