import fc from 'fast-check';
import { expect, test } from 'vitest';

import { BackupError, BackupReader, BackupWriter } from '../../src/durable/backup-format.ts';
import type { BackupContent, TableRow } from '../../src/durable/backup-format.ts';
import { durableTables } from '../../src/durable/commits.ts';

const info = { slotcast: '0.1.0', createdAt: '2026-11-27T09:00:00.000Z', version: 42 };

function write(rows: readonly TableRow[]): Buffer {
  const writer = new BackupWriter();
  const start = writer.begin(info);
  const blocks = rows.map(({ table, ...row }) => writer.addRows(table, [row]));
  return Buffer.concat([start, ...blocks, writer.end()]);
}

function read(backup: Uint8Array, partBytes = 1000): { rows: TableRow[]; content: BackupContent } {
  const reader = new BackupReader();
  const rows: TableRow[] = [];
  for (let at = 0; at < backup.length; at += partBytes) rows.push(...reader.read(backup.subarray(at, at + partBytes)));
  return { rows, content: reader.end() };
}

function rowOf(table: TableRow['table'], key: string, text: string): TableRow {
  return { table, key, payload: new TextEncoder().encode(text), createVersion: 3, modifyVersion: 42 };
}

const small = write([rowOf('registry', 'starts', '7'), rowOf('keys', '00042/config/limits', '{"rate":100}')]);

test('[AR1] what is written is read, wherever its bytes are divided', () => {
  const row = fc.record({
    table: fc.constantFrom(...durableTables),
    key: fc.string({ unit: 'grapheme' }),
    payload: fc.uint8Array(),
    createVersion: fc.nat(2 ** 50),
    modifyVersion: fc.nat(2 ** 50),
  });
  fc.assert(
    fc.property(fc.array(row, { maxLength: 10 }), fc.integer({ min: 1, max: 300 }), (rows, partBytes) => {
      const backup = write(rows);
      const { rows: found, content } = read(backup, partBytes);
      expect(found).toEqual(rows);
      expect(content).toMatchObject({ ...info, bytes: backup.length });
      for (const table of durableTables)
        expect(content.rows[table]).toBe(rows.filter((each) => each.table === table).length);
    }),
  );
});

test('[AR1] several rows in one block', () => {
  const writer = new BackupWriter();
  const rows = [rowOf('instances', 'a', '1'), rowOf('instances', 'b', '')];
  const backup = Buffer.concat([writer.begin(info), writer.addRows('instances', rows), writer.end()]);
  expect(read(backup).rows).toEqual(rows);
});

test('[AR1] a backup of which any bit of any byte has changed is refused, with the place', () => {
  for (let at = 0; at < small.length; at += 1) {
    for (let bit = 0; bit < 8; bit += 1) {
      const damaged = Buffer.from(small);
      damaged[at]! ^= 1 << bit;
      expect(() => read(damaged), `byte ${at}, bit ${bit}`).toThrow(BackupError);
      expect(() => read(damaged)).toThrow(/byte \d+/);
    }
  }
});

test('[AR1] a backup that was cut off anywhere is refused, with the place', () => {
  for (let bytes = 0; bytes < small.length; bytes += 1) {
    expect(() => read(small.subarray(0, bytes)), `${bytes} bytes`).toThrow(
      bytes < 8 ? 'byte 0, block 0: it is no backup of slotcast' : `it was cut off: it ends at byte ${bytes}, in block`,
    );
  }
});

test('[AR1] a backup with anything after its end, or a block twice, is refused', () => {
  expect(() => read(Buffer.concat([small, Buffer.from([0])]))).toThrow('there is more after its end');
  expect(() => read(Buffer.concat([small, small]))).toThrow('there is more after its end');
  const writer = new BackupWriter();
  const [start, block, end] = [writer.begin(info), writer.addRows('keys', [rowOf('keys', 'k', 'v')]), writer.end()];
  expect(() => read(Buffer.concat([start, block, block, end]))).toThrow('the checksum is not that of the block');
  expect(() => read(Buffer.concat([start, end]))).toThrow('the checksum is not that of the block');
});
