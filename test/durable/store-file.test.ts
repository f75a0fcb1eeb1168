import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';

import { afterAll, expect, test } from 'vitest';

import { durableTables } from '../../src/durable/commits.ts';
import { readLmdbFile } from '../../src/durable/lmdb-file.ts';
import { decodeRow, encodeRow } from '../../src/durable/row-encoding.ts';
import type { RowChange, StoreBackend } from '../../src/durable/store-backend.ts';
import { openStoreFile, readStore } from '../../src/durable/store-file.ts';
import type { StoreDamage } from '../../src/durable/store-file.ts';
import { emptyHead, storeFormat } from '../../src/durable/store-head.ts';
import type { Migration } from '../../src/durable/store-head.ts';
import { Random } from '../support/random.ts';

// Nothing here is lost with the machine, so it need not wait for a disk.
const root = mkdtempSync(path.join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'slotcast-file-'));
const wallMs = Date.UTC(2026, 0, 1);
let folders = 0;

afterAll(() => {
  rmSync(root, { recursive: true, force: true });
});

interface Opened {
  readonly backend: StoreBackend;
  readonly damages: readonly StoreDamage[];
}

function createFolder(): string {
  folders += 1;
  const folder = path.join(root, String(folders));
  mkdirSync(folder);
  return folder;
}

function open(
  folder: string,
  options: { before?: StoreBackend; migrations?: ReadonlyMap<number, Migration> } = {},
): Opened {
  const damages: StoreDamage[] = [];
  const { before, ...more } = options;
  const onDamage = (damage: StoreDamage): void => {
    damages.push(damage);
  };
  const backend = openStoreFile({ folder, bytesMax: 2 ** 26, onDamage, readWallMs: () => wallMs, ...more }, before);
  return { backend, damages };
}

function put(key: string, text: string, version: number, table: RowChange['table'] = 'keys'): RowChange {
  return { table, key, row: { payload: Buffer.from(text), createVersion: version, modifyVersion: version } };
}

function readAll(backend: StoreBackend): Map<string, string> {
  const rows = durableTables.flatMap((table) =>
    backend
      .read({ table, from: '', to: '', bytesMax: Number.MAX_SAFE_INTEGER })
      .rows.map(({ key, ...row }) => ({ table, key, row })),
  );
  return describeRows(rows);
}

function describeRows(rows: readonly RowChange[]): Map<string, string> {
  return new Map(
    rows.map(({ table, key, row }) => [
      `${table}/${key}`,
      `${row!.modifyVersion} ${Buffer.from(row!.payload).toString()}`,
    ]),
  );
}

/** A small store with rows of every size, several versions of some, branches, and free pages; and what was in it after its last commit. */
function fill(folder: string): ReadonlyMap<string, string> {
  const { backend } = open(folder);
  for (let version = 1; version <= 12; version++) {
    const changes = Array.from({ length: 12 }, (_, i) =>
      put(`k${(version * 5 + i) % 40}`, `${version}-${i}`.padEnd(300, 'x'), version),
    );
    backend.commit(
      [
        ...changes,
        put('large', `${version}`.padEnd(20_000, 'y'), version),
        put(`s${version % 3}`, 'z', version, 'services'),
      ],
      version,
    );
    if (version % 4 === 0) backend.commit([{ table: 'keys', key: `k${version}`, row: undefined }], version);
  }
  const rows = readAll(backend);
  backend.close();
  return rows;
}

const source = createFolder();
const rows = fill(source);
const file = readFileSync(path.join(source, 'store.mdb'));
/** Behind what LMDB has written there are zeros, so that it finds room. */
const bytes = file.subarray(0, Math.ceil((file.findLastIndex((byte) => byte !== 0) + 1) / 8192) * 8192);
const lastVersion = 12;

/** What a file must show, unless it is found damaged. */
interface Content {
  readonly rows: ReadonlyMap<string, string>;
  readonly lastVersion: number;
}

const whole: Content = { rows, lastVersion };

/** Opens a store of these bytes: every row that it has is right, or what is wrong was found, and it can be used. */
function expectHarmless(
  content: Uint8Array,
  what: string,
  { rows, lastVersion }: Content = whole,
): 'found' | 'harmless' {
  const folder = createFolder();
  writeFileSync(path.join(folder, 'store.mdb'), content);
  const { backend, damages } = open(folder);
  const found = readAll(backend);
  if (damages.length === 0) {
    expect([what, found]).toEqual([what, rows]);
    expect([what, backend.lastVersion]).toEqual([what, lastVersion]);
  } else {
    expect([what, readFileSync(damages[0]!.setAside!).equals(content)]).toEqual([what, true]);
    expect([what, backend.lastVersion > lastVersion]).toEqual([what, true]);
    expect([what, damages[0]!.rowsKept]).toEqual([what, found.size]);
  }
  backend.commit([put('after', 'a', backend.lastVersion + 1)], backend.lastVersion + 1);
  expect([what, readAll(backend).get('keys/after')]).toEqual([what, `${backend.lastVersion} a`]);
  backend.close();
  const again = open(folder);
  expect([what, again.damages]).toEqual([what, []]);
  again.backend.close();
  rmSync(folder, { recursive: true });
  return damages.length === 0 ? 'harmless' : 'found';
}

const isLong = process.env['TEST_CHAOS'] !== undefined;

test(
  '[ST6] a byte that has changed, any, is found or harmless: no value is wrong in silence, and the store can be used',
  { timeout: 3_600_000 },
  async () => {
    const random = new Random(12);
    const outcomes = { found: 0, harmless: 0 };
    // Every byte would take hours.
    const places = Array.from({ length: isLong ? 2000 : 60 }, () => random.below(bytes.length));
    // What says where everything is, and the beginnings of pages, matter most.
    if (!isLong) for (let at = 0; at < 180; at += 4) places.push(at, 8192 + at, 8192 * (2 + (at % 17)) + (at % 24));
    for (const at of places) {
      const content = Buffer.from(bytes);
      content[at]! ^= 1 << random.below(8);
      outcomes[expectHarmless(content, `byte ${at}`)] += 1;
      await nextTurn();
    }
    expect(outcomes.found).toBeGreaterThan(places.length / 20);
    expect(outcomes.harmless).toBeGreaterThan(0);
  },
);

test('[ST6] whatever changes in the list of free pages is found or harmless: pages in use are not written to', () => {
  // Where the newer of the two pages that say where everything is has its transaction, and the list.
  const meta = bytes.readBigInt64LE(152) > bytes.readBigInt64LE(8192 + 152) ? 0 : 8192;
  const page = Number(bytes.readBigInt64LE(meta + 88));
  const random = new Random(14);
  let found = 0;
  for (let at = page * 8192; at < (page + 1) * 8192; at += 1 + random.below(6)) {
    if (bytes.subarray(at & ~7, (at & ~7) + 8).every((byte) => byte === 0)) continue;
    const content = Buffer.from(bytes);
    content[at]! ^= 1 << random.below(8);
    if (expectHarmless(content, `byte ${at}`) === 'found') found += 1;
  }
  expect(found).toBeGreaterThan(20);
});

test.runIf(isLong)(
  '[ST6] of a small store, each byte that has changed is found or harmless',
  { timeout: 3_600_000 },
  async () => {
    const folder = createFolder();
    const { backend } = open(folder);
    for (let version = 1; version <= 4; version++)
      backend.commit(
        [put('a', `${version}`, version), put(`b${version}`, 'y'.repeat(3000 * version), version)],
        version,
      );
    const content: Content = { rows: readAll(backend), lastVersion: backend.lastVersion };
    backend.close();
    const file = path.join(folder, 'store.mdb');
    // The room behind what is used is zeros; two pages of them stand for all.
    const whole = readFileSync(file);
    const usedBytes = Math.ceil((whole.findLastIndex((byte) => byte !== 0) + 1) / 8192) * 8192;
    const original = whole.subarray(0, Math.min(whole.length, usedBytes + 2 * 8192));
    const random = new Random(13);
    const outcomes = { found: 0, harmless: 0 };
    for (let at = 0; at < original.length; at++) {
      const changed = Buffer.from(original);
      changed[at]! ^= 1 << random.below(8);
      writeFileSync(file, changed);
      // As it is read before it is opened, which takes a fraction of the time; some are opened, too.
      const { problems, rows, lastVersion } = readStore({ readWallMs: () => wallMs }, file, true);
      if (problems.length === 0) expect([at, describeRows(rows), lastVersion]).toEqual([at, ...Object.values(content)]);
      const outcome = problems.length === 0 ? 'harmless' : 'found';
      outcomes[outcome] += 1;
      // Words that say something are what LMDB may understand in another way.
      const isWord = original.subarray(at & ~7, (at & ~7) + 8).some((byte) => byte !== 0);
      if (random.below(isWord && outcome === 'harmless' ? 4 : 32) > 0) continue;
      expect([at, expectHarmless(changed, `byte ${at}`, content)]).toEqual([at, outcome]);
      // What LMDB's binding holds of a file that is closed, it lets go of in a turn of its own.
      await nextTurn();
    }
    expect(outcomes.found).toBeGreaterThan(original.length / 20);
    expect(outcomes.harmless).toBeGreaterThan(0);
    rmSync(folder, { recursive: true });
  },
);

test('[ST6] a page that is torn, zeroed, or of an earlier time is found or harmless', () => {
  for (let page = 0; page < bytes.length / 8192; page++) {
    for (const other of isLong ? [undefined, 2, 5, 9] : [[undefined, 9][page % 2]]) {
      const content = Buffer.from(bytes);
      const from = other === undefined ? Buffer.alloc(8192) : bytes.subarray(other * 8192, other * 8192 + 8192);
      // A disk writes sectors: the first half is new, the second is not.
      from.copy(content, page * 8192, 0, 4096);
      expectHarmless(content, `page ${page} with half of ${other ?? 'nothing'}`);
      from.copy(content, page * 8192);
      expectHarmless(content, `page ${page} with ${other ?? 'nothing'}`);
    }
  }
});

test('[ST6] a file that was cut off anywhere is found', () => {
  for (let length = 0; length < bytes.length; length += isLong ? 512 : 7000) {
    expect(expectHarmless(bytes.subarray(0, length), `${length} bytes`)).toBe('found');
  }
});

test('[ST6] most rows are kept when one page is lost', () => {
  const folder = createFolder();
  const content = Buffer.from(bytes);
  // The large value is the only one with this letter.
  const at = content.lastIndexOf(`${lastVersion}yyyy`);
  content[at + 5]! ^= 1;
  writeFileSync(path.join(folder, 'store.mdb'), content);
  const { backend, damages } = open(folder);
  expect(damages).toMatchObject([
    { rowsKept: rows.size - 1, setAside: path.join(folder, 'store.mdb.damaged-2026-01-01T00-00-00.000Z') },
  ]);
  const expected = new Map(rows);
  expected.delete('keys/large');
  expect(readAll(backend)).toEqual(expected);
  backend.close();
});

test('[ST6] a file that is gone is said to be, and one that goes while it is open is written again', () => {
  const folder = createFolder();
  copyFileSync(path.join(source, 'store.mdb'), path.join(folder, 'store.mdb'));
  const { backend } = open(folder);
  rmSync(path.join(folder, 'store.mdb'));
  expect(() => {
    backend.commit([put('a', '1', 13)], 13);
  }).toThrow(expect.objectContaining({ fault: 'missing' }));
  expect(readAll(backend)).toEqual(rows);
  const again = open(folder, { before: backend });
  expect(again.damages).toMatchObject([{ rowsKept: rows.size, setAside: undefined }]);
  expect(readAll(again.backend)).toEqual(rows);
  again.backend.commit([put('a', '1', 13)], 13);
  again.backend.close();
  rmSync(path.join(folder, 'store.mdb'));
  const third = open(folder);
  expect(third.damages).toMatchObject([{ rowsKept: 0 }]);
  third.backend.close();
});

test('[ST6] a file that is cut off, or replaced, while it is open is not touched any more', () => {
  const folder = createFolder();
  const file = path.join(folder, 'store.mdb');
  copyFileSync(path.join(source, 'store.mdb'), file);
  const { backend } = open(folder);
  const other = createFolder();
  copyFileSync(path.join(source, 'store.mdb'), path.join(other, 'store.mdb'));
  renameSync(path.join(other, 'store.mdb'), file);
  expect(() => {
    backend.commit([put('a', '1', 13)], 13);
  }).toThrow(/another file has taken the place/);
  backend.close();
  const second = open(folder);
  truncateSync(file, 0);
  expect(() => readAll(second.backend)).toThrow(expect.objectContaining({ fault: 'damaged' }));
  expect(second.backend.usedBytes).toBeGreaterThan(0);
  const third = open(folder, { before: second.backend });
  expect(third.damages).toMatchObject([{ rowsKept: 0 }]);
  third.backend.close();
});

test('[ST6] a replacement that was not finished is dropped, one that only lacks its name gets it', () => {
  const unfinished = createFolder();
  copyFileSync(path.join(source, 'store.mdb'), path.join(unfinished, 'store.mdb'));
  for (const name of ['store.mdb.new', 'store.mdb.ready']) writeFileSync(path.join(unfinished, name), 'half of it');
  const first = open(unfinished);
  expect(first.damages).toEqual([]);
  expect(readAll(first.backend)).toEqual(rows);
  first.backend.close();
  const nameless = createFolder();
  copyFileSync(path.join(source, 'store.mdb'), path.join(nameless, 'store.mdb.ready'));
  const second = open(nameless);
  expect(second.damages).toEqual([]);
  expect(readAll(second.backend)).toEqual(rows);
  second.backend.close();
});

test('[ST7] a format that is not known is refused, and the file is left as it is', () => {
  const folder = createFolder();
  const { backend } = open(folder);
  backend.commit([put('a', '1', 1)], 1);
  backend.close();
  rewriteFormat(folder, storeFormat + 1);
  const before = readFileSync(path.join(folder, 'store.mdb'));
  expect(() => open(folder)).toThrow(/was written by a newer one/);
  expect(readFileSync(path.join(folder, 'store.mdb')).equals(before)).toBe(true);
});

test('[ST7] an older format is migrated, row by row, and its file is kept', () => {
  const folder = createFolder();
  const { backend } = open(folder);
  backend.commit([put('a', '1', 1), put('b', '2', 1)], 1);
  backend.close();
  rewriteFormat(folder, storeFormat - 1);
  const step: Migration = {
    decodeHead: (head) => {
      const view = new DataView(head.buffer, head.byteOffset);
      return {
        ...emptyHead,
        lastVersion: view.getFloat64(4, true),
        rows: 2,
        xor: view.getUint32(20, true),
        sum: view.getUint32(24, true),
      };
    },
    migrateRow: (change) => ({ ...change, key: `new/${change.key}` }),
  };
  const migrated = open(folder, { migrations: new Map([[storeFormat - 1, step]]) });
  expect(migrated.damages).toEqual([]);
  expect([...readAll(migrated.backend).keys()]).toEqual(['keys/new/a', 'keys/new/b']);
  expect(migrated.backend.lastVersion).toBe(1);
  migrated.backend.close();
  expect(readdirSync(folder)).toContain(`store.mdb.format-${storeFormat - 1}`);
  expect(readAll(open(folder).backend).size).toBe(2);
});

/** Writes another format into the head of a store, with its checksum. */
function rewriteFormat(folder: string, format: number): void {
  const file = path.join(folder, 'store.mdb');
  const content = readFileSync(file);
  readLmdbFile(file, (table, key, value) => {
    if (table !== 'head') return;
    const { payload, ...versions } = decodeRow(table, key, value)!;
    new DataView(payload.buffer).setUint32(0, format, true);
    const at = content.lastIndexOf(value);
    expect(at).toBeGreaterThan(0);
    encodeRow(table, key, { payload, ...versions }).copy(content, at);
  });
  writeFileSync(file, content);
}
