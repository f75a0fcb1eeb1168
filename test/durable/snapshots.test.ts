import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { afterEach, describe, expect, test } from 'vitest';

import { LmdbBackend } from '../../src/durable/lmdb-backend.ts';
import { MemoryBackend } from '../../src/durable/memory-backend.ts';
import type { RowChange, RowRange, RowsRead } from '../../src/durable/store-backend.ts';

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

function put(key: string, text: string, version: number): RowChange {
  const row = { payload: Buffer.from(text), createVersion: version, modifyVersion: version };
  return { table: 'keys', key, row };
}

function readKeys(from: { read(range: RowRange): RowsRead }): string[] {
  const rows: string[] = [];
  let next: string | undefined = '';
  while (next !== undefined) {
    // As small as can be, so that it goes on in between.
    const read: RowsRead = from.read({ table: 'keys', from: next, to: '', bytesMax: 1 });
    for (const { key, payload } of read.rows) rows.push(`${key}=${Buffer.from(payload).toString()}`);
    next = read.next;
  }
  return rows;
}

describe.each([
  ['in memory', () => new MemoryBackend(bytesMax)],
  ['on disk', () => new LmdbBackend(path.join(createFolder(), 'store.mdb'), bytesMax)],
] as const)('%s', (_, create) => {
  test('[AR1] a snapshot shows what was stored when it was taken, whatever is stored later', () => {
    const backend = create();
    backend.commit([put('a', '1', 1), put('b', '1', 1), put('c', '1', 1)], 1);
    const first = backend.takeSnapshot();
    backend.commit([put('a', '2', 2), { table: 'keys', key: 'b', row: undefined }, put('d', '2', 2)], 2);
    const second = backend.takeSnapshot();
    for (let version = 3; version < 50; version++) backend.commit([put('a', String(version), version)], version);
    expect(readKeys(first)).toEqual(['a=1', 'b=1', 'c=1']);
    expect(readKeys(second)).toEqual(['a=2', 'c=1', 'd=2']);
    expect(readKeys(backend)).toEqual(['a=49', 'c=1', 'd=2']);
    expect([first.lastVersion, second.lastVersion, backend.lastVersion]).toEqual([1, 2, 49]);
    first.close();
    backend.commit([put('a', 'x', 50)], 50);
    expect(readKeys(second)).toEqual(['a=2', 'c=1', 'd=2']);
    second.close();
    expect(readKeys(backend)).toEqual(['a=x', 'c=1', 'd=2']);
    backend.close();
  });
});

test('[AR1] a snapshot whose file has been closed cannot be read any more', () => {
  const backend = new LmdbBackend(path.join(createFolder(), 'store.mdb'), bytesMax);
  backend.commit([put('a', '1', 1)], 1);
  const snapshot = backend.takeSnapshot();
  backend.close();
  expect(() => readKeys(snapshot)).toThrow('the snapshot has been given up');
  snapshot.close();
});
