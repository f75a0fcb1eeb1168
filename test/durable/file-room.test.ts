import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterEach, beforeEach, expect, test, vi } from 'vitest';

import { FileRoom } from '../../src/durable/file-room.ts';
import { LmdbBackend } from '../../src/durable/lmdb-backend.ts';
import type { RowChange } from '../../src/durable/store-backend.ts';
import { Random } from '../support/random.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'slotcast-room-'));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

test.each([20, 300, 5000, 30_000])(
  '[ST3] no commit takes more room than was seen to before it: rows of %i bytes',
  (largest) => {
    const asked: { readonly used: number; readonly bytes: number }[] = [];
    vi.spyOn(FileRoom.prototype, 'has').mockReturnValue(false);
    vi.spyOn(FileRoom.prototype, 'reserve').mockImplementation((used, bytes) => void asked.push({ used, bytes }));
    const backend = new LmdbBackend(path.join(folder, 'store.mdb'), 1e9);
    const random = new Random(7);
    let version = 0;
    let snapshot = backend.takeSnapshot();
    for (let at = 0; at < 400; at++) {
      const count = at % 10 === 9 ? 1 + random.below(1000) : 1 + random.below(8);
      version += 1;
      const changes = Array.from({ length: count }, (): RowChange => {
        const key = `${random.below(100_000)}`;
        if (random.below(4) === 0 && at > 100) return { table: 'keys', key, row: undefined };
        const payload = Buffer.alloc(random.below(largest), 'v');
        return { table: 'keys', key, row: { payload, createVersion: version, modifyVersion: version } };
      });
      backend.commit(changes, version);
      // Pages that a reader needs are not used again.
      if (at % 50 === 49) {
        snapshot.close();
        snapshot = backend.takeSnapshot();
      }
    }
    snapshot.close();
    backend.close();
    const excesses = asked.slice(1).map(({ used }, at) => used - asked[at]!.used - asked[at]!.bytes);
    expect(asked).toHaveLength(400);
    expect(Math.max(...excesses)).toBeLessThanOrEqual(0);
    // It grew at all.
    expect(asked.at(-1)!.used).toBeGreaterThan(40 * 8192);
    console.log(
      largest,
      asked.at(-1)!.used,
      Math.max(...asked.slice(1).map(({ used }, at) => (used - asked[at]!.used) / asked[at]!.bytes)),
    );
  },
);

test('[ST3] room is zeros behind what is used, and rows leave some to deletions', () => {
  const file = path.join(folder, 'file');
  closeSync(openSync(file, 'w'));
  const room = new FileRoom(file);
  expect(room.has(0, 1, false)).toBe(false);
  room.reserve(0, 1, false);
  const { size, blocks } = statSync(file);
  expect(blocks * 512).toBeGreaterThanOrEqual(size);
  expect(room.has(0, size, false)).toBe(true);
  expect(room.has(0, size, true)).toBe(false);
  room.reserve(0, size, false);
  expect(statSync(file).size).toBe(size);
  room.reserve(0, size, true);
  expect(statSync(file).size).toBeGreaterThan(size);
  ftruncateSync(openSync(file, 'r+'), 0);
  expect(room.has(0, 1, false)).toBe(false);
});
