import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';

import { durableTables } from '../../src/durable/commits.ts';
import { LmdbBackend } from '../../src/durable/lmdb-backend.ts';
import { MemoryBackend } from '../../src/durable/memory-backend.ts';
import type { RowChange, StoreBackend } from '../../src/durable/store-backend.ts';

const bytesMax = 8 * 1_048_576;
const folders: string[] = [];

function createFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'slotcast-store-'));
  folders.push(folder);
  return folder;
}

afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function put(key: string, text: string, version: number, table: RowChange['table'] = 'keys'): RowChange {
  return { table, key, row: { payload: Buffer.from(text), createVersion: version, modifyVersion: version } };
}

function readAll(backend: StoreBackend, table: RowChange['table'] = 'keys', from = '', to = ''): [string, string][] {
  const { rows } = backend.read({ table, from, to, bytesMax: Number.MAX_SAFE_INTEGER });
  return rows.map(({ key, payload }) => [key, Buffer.from(payload).toString()]);
}

describe.each([
  ['in memory', () => new MemoryBackend(bytesMax)],
  ['on disk', () => new LmdbBackend(path.join(createFolder(), 'store.mdb'), bytesMax)],
] as const)('%s', (_, create) => {
  test('[ST1] rows are read in the order of their bytes, by ranges, and in parts', () => {
    const backend = create();
    backend.commit(
      [put('é', '1', 1), put('b', '2', 1), put('a', '3', 1), put('\u{ffff}', '4', 1), put('\u{10000}', '5', 1)],
      1,
    );
    backend.commit([{ table: 'keys', key: 'b', row: undefined }, put('a', '6', 2, 'services')], 2);
    expect(readAll(backend).map(([key]) => key)).toEqual(['a', 'é', '\u{ffff}', '\u{10000}']);
    expect(readAll(backend, 'keys', 'b', '\u{ffff}')).toEqual([['é', '1']]);
    expect(readAll(backend, 'services')).toEqual([['a', '6']]);
    const first = backend.read({ table: 'keys', from: '', to: '', bytesMax: 1 });
    expect(first).toMatchObject({ rows: [{ key: 'a', createVersion: 1, modifyVersion: 1 }], next: 'é' });
    expect(backend.lastVersion).toBe(2);
    expect(backend.usedBytes).toBeGreaterThan(0);
    backend.close();
  });

  test('[ST3] what has no room is refused as a whole, and what is deleted makes room', () => {
    const backend = create();
    let version = 0;
    const fill = (): void => {
      for (let i = 0; i < 1000; i++) {
        backend.commit([put(`k${i}`, 'x'.repeat(65_536), version + 1), put(`last`, `${i}`, version + 1)], version + 1);
        version += 1;
      }
    };
    expect(fill).toThrow(expect.objectContaining({ name: 'StorageError', fault: 'full' }));
    expect(backend.lastVersion).toBe(version);
    expect(readAll(backend, 'keys', 'last')).toEqual([['last', String(version - 1)]]);
    for (let i = 0; i < 20; i++) {
      version += 1;
      backend.commit([{ table: 'keys', key: `k${i}`, row: undefined }], version);
    }
    backend.commit([put('again', 'x'.repeat(65_536), version + 1)], version + 1);
    expect(readAll(backend, 'keys', 'again', 'b')).toHaveLength(1);
    backend.close();
  });
});

const change = fc.record({
  table: fc.constantFrom(...durableTables),
  key: fc.oneof(fc.constantFrom('a', 'b', 'c/d', 'é'), fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 })),
  text: fc.option(fc.oneof(fc.string(), fc.constant('x'.repeat(20_000))), { nil: undefined }),
});

test('[ST1] rows on disk are those in memory, whatever is committed, and after they are opened again', () => {
  fc.assert(
    fc.property(fc.array(fc.array(change, { maxLength: 8 }), { maxLength: 6 }), (commits) => {
      const folder = createFolder();
      const file = path.join(folder, 'store.mdb');
      const memory = new MemoryBackend(bytesMax);
      let disk = new LmdbBackend(file, bytesMax);
      for (const [at, changes] of commits.entries()) {
        const rows = changes.map(({ table, key, text }) =>
          text === undefined ? { table, key, row: undefined } : put(key, text, at + 1, table),
        );
        for (const backend of [memory, disk]) backend.commit(rows, at + 1);
        if (at % 2 === 0) {
          disk.close();
          disk = new LmdbBackend(file, bytesMax);
        }
      }
      expect(disk.lastVersion).toBe(commits.length);
      for (const table of durableTables) expect(readAll(disk, table)).toEqual(readAll(memory, table));
      disk.close();
      rmSync(folder, { recursive: true });
    }),
    { numRuns: 20 },
  );
});
