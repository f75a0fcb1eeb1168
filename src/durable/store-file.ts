import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';

import { durableTables } from './commits.ts';
import type { DurableTable } from './commits.ts';
import { requireRoomForNew } from './file-room.ts';
import { headKey, headTable, LmdbBackend, lockSuffix } from './lmdb-backend.ts';
import { pageBytes, readLmdbFile } from './lmdb-file.ts';
import { MemoryBackend } from './memory-backend.ts';
import { decodeRow } from './row-encoding.ts';
import { toStorageError } from './storage-fault.ts';
import { StorageError } from './store-backend.ts';
import type { RowChange, RowRange, RowsRead, StoreBackend, StoreSnapshot } from './store-backend.ts';
import {
  countRow,
  decodeHead,
  emptyHead,
  migrations as knownMigrations,
  readFormat,
  storeFormat,
} from './store-head.ts';
import type { Migration } from './store-head.ts';

/** A file was found damaged, or not at all, and has been replaced. */
export interface StoreDamage {
  readonly reason: string;
  /** Where the damaged file is now; undefined: there was none. */
  readonly setAside: string | undefined;
  /** Rows that could be read, and are kept. */
  readonly rowsKept: number;
}

export interface StoreFileOptions {
  readonly folder: string;
  readonly bytesMax: number;
  readonly onDamage: (damage: StoreDamage) => void;
  /** Milliseconds since the epoch: names what is set aside, and is more than there can have been commits. */
  readonly readWallMs: () => number;
  /** For tests: those that there will be. */
  readonly migrations?: ReadonlyMap<number, Migration>;
}

/** The file of the store in its folder. */
export const storeFileName = 'store.mdb';
/** One that is being written to replace it, and one that may. */
const newSuffix = '.new';
const readySuffix = '.ready';
/** Bytes of rows that are copied in one commit. */
const copyBytes = 4 * 1_048_576;
/** How far versions are moved on when the last one is not known: further than commits can have come since the last that is. */
const versionGap = 1_000_000;

/** A version above all that a store can have had, of which this one is known. `wallMs`: milliseconds since the epoch, which are more than there can have been commits. */
export function leapAhead(lastKnown: number, wallMs: number): number {
  return Math.max(wallMs, lastKnown) + versionGap;
}

/** The store's format is none that this version knows: only an operator can tell what to do. */
class StoreFormatError extends Error {
  constructor(file: string, format: number) {
    super(
      `${file} has format ${format}, and this version of slotcast knows formats up to ${storeFormat}: it was written by a newer one`,
    );
    this.name = 'StoreFormatError';
  }
}

/** What a file has that could be read, and what is wrong with it. */
interface Reading {
  readonly format: number;
  readonly lastVersion: number;
  /** Empty if they were not wanted. */
  readonly rows: readonly RowChange[];
  readonly problems: readonly string[];
}

/**
 * Opens the file of a store, once all of it has been read and checked: LMDB may crash the process on one that is damaged. A damaged file is set aside, never
 * deleted, and what could be read of it is kept in a new one. `before`: what the file was open as, if it has been lost since. Throws a {@link StorageError}, or a
 * {@link StoreFormatError}.
 */
export function openStoreFile(options: StoreFileOptions, before: StoreBackend | undefined): StoreBackend {
  const { folder, bytesMax } = options;
  const file = path.join(folder, storeFileName);
  try {
    mkdirSync(folder, { recursive: true });
    finishReplacement(file);
    if (!existsSync(file)) return openMissing(options, file, before);
    before?.close();
    const { problems, format } = readStore(options, file, false);
    if (problems.length > 0) replace(options, file);
    else if (format < storeFormat) migrate(options, file, format);
    const backend = tryToOpen(file, bytesMax) ?? new ReadOnlyBackend(folder, readStore(options, file, true));
    syncFolder(folder);
    return backend;
  } catch (error) {
    if (error instanceof StoreFormatError) throw error;
    throw toStorageError(error, `the store in ${folder} cannot be opened`, file);
  }
}

/** Undefined: it must not be written to. */
function tryToOpen(file: string, bytesMax: number): LmdbBackend | undefined {
  try {
    return new LmdbBackend(file, bytesMax);
  } catch (error) {
    if (error instanceof StorageError && error.fault === 'read_only') return undefined;
    throw error;
  }
}

/** There is no file. If there was one, its rows are those that are still open; or it has been lost, which is said. */
function openMissing(
  { bytesMax, onDamage, readWallMs }: StoreFileOptions,
  file: string,
  before: StoreBackend | undefined,
): StoreBackend {
  const wasThere = existsSync(`${file}${lockSuffix}`);
  const rows = before === undefined ? [] : readRows(before);
  writeNew(file, bytesMax, rows, before?.lastVersion ?? (wasThere ? readWallMs() : 0));
  before?.close();
  finishReplacement(file);
  if (wasThere || before !== undefined) {
    onDamage({ reason: `${file} was gone`, setAside: undefined, rowsKept: rows.length });
  }
  return new LmdbBackend(file, bytesMax);
}

/** Reads and checks a whole file. `isKept`: the rows are wanted, too. */
export function readStore(
  { migrations = knownMigrations, readWallMs }: Pick<StoreFileOptions, 'migrations' | 'readWallMs'>,
  file: string,
  isKept: boolean,
): Reading {
  const rows: RowChange[] = [];
  const broken = new Map<string, number>();
  let headBytes: Uint8Array | undefined;
  let counted = emptyHead;
  let lastSeen = 0;
  const problems = readLmdbFile(file, (name, key, value) => {
    const row = decodeRow(name, key, value);
    const table = durableTables.find((known) => known === name);
    if (row !== undefined && name === headTable && key.equals(headKey)) headBytes = row.payload;
    else if (row !== undefined && table !== undefined) {
      counted = countRow(counted, value, 1);
      lastSeen = Math.max(lastSeen, row.modifyVersion);
      if (isKept) rows.push({ table, key: key.toString(), row });
    } else broken.set(name, (broken.get(name) ?? 0) + 1);
  });
  for (const [name, count] of broken) problems.push(`${count} rows of ${name} are damaged`);
  const format = headBytes === undefined ? storeFormat : readFormat(headBytes);
  const decode = format === storeFormat ? decodeHead : migrations.get(format)?.decodeHead;
  if (decode === undefined) throw new StoreFormatError(file, format);
  const head = headBytes === undefined ? undefined : decode(headBytes);
  const { rows: count, xor, sum } = head ?? emptyHead;
  if (count !== counted.rows || xor !== counted.xor || sum !== counted.sum) {
    problems.push('its rows are not those that it should have');
  }
  if (problems.length === 0) return { format, lastVersion: head?.lastVersion ?? 0, rows, problems };
  // What it says of its last commit may be out of date, too, and later rows may be lost.
  const lastVersion = leapAhead(Math.max(head?.lastVersion ?? 0, lastSeen), readWallMs());
  return { format, lastVersion, rows: chooseNewest(rows), problems };
}

/** A damaged page may show a row twice, or one of before. */
function chooseNewest(rows: readonly RowChange[]): RowChange[] {
  const newest = new Map<string, RowChange>();
  for (const change of rows) {
    const name = `${change.table}/${change.key}`;
    const known = newest.get(name);
    if (known === undefined || known.row!.modifyVersion < change.row!.modifyVersion) newest.set(name, change);
  }
  return [...newest.values()];
}

/** Writes what could be read to a new file, sets the damaged one aside, and puts the new one into its place. */
function replace(options: StoreFileOptions, file: string): void {
  const { rows, problems, lastVersion, format } = readStore(options, file, true);
  writeNew(file, options.bytesMax, migrateRows(options, rows, format), lastVersion);
  const setAside = nameFreely(`${file}.damaged-${new Date(options.readWallMs()).toISOString().replaceAll(':', '-')}`);
  renameSync(file, setAside);
  finishReplacement(file);
  options.onDamage({ reason: `${file} was damaged: ${problems.join('; ')}`, setAside, rowsKept: rows.length });
}

/** The file of before stays beside the new one: who goes back to an earlier version needs it. */
function migrate(options: StoreFileOptions, file: string, format: number): void {
  const { rows, lastVersion } = readStore(options, file, true);
  writeNew(file, options.bytesMax, migrateRows(options, rows, format), lastVersion);
  renameSync(file, nameFreely(`${file}.format-${format}`));
  finishReplacement(file);
}

function migrateRows(
  { migrations = knownMigrations }: StoreFileOptions,
  rows: readonly RowChange[],
  format: number,
): readonly RowChange[] {
  let migrated = rows;
  for (let from = format; from < storeFormat; from++)
    migrated = migrated.map((row) => migrations.get(from)!.migrateRow(row));
  return migrated;
}

function nameFreely(name: string): string {
  for (let at = 1; ; at++) {
    const candidate = at === 1 ? name : `${name}-${at}`;
    if (!existsSync(candidate)) return candidate;
  }
}

/** Makes a file that may take the place of another: it is complete, and on disk. */
function writeNew(file: string, bytesMax: number, rows: readonly RowChange[], lastVersion: number): void {
  const temporary = `${file}${newSuffix}`;
  removeFile(temporary);
  requireRoomForNew(temporary);
  // Whatever the bound is now: it held when they were stored.
  const backend = new LmdbBackend(
    temporary,
    Math.max(bytesMax, 2 * rows.reduce((sum, row) => sum + pageBytes + (row.row?.payload.length ?? 0), copyBytes)),
  );
  let part: RowChange[] = [];
  let bytes = 0;
  for (const change of rows) {
    part.push(change);
    bytes += change.key.length + (change.row?.payload.length ?? 0);
    if (bytes < copyBytes) continue;
    backend.commit(part, lastVersion);
    part = [];
    bytes = 0;
  }
  backend.commit(part, lastVersion);
  backend.close();
  rmSync(`${temporary}${lockSuffix}`, { force: true });
  renameSync(temporary, `${file}${readySuffix}`);
  syncFolder(path.dirname(file));
}

/** One that is ready takes the place of one that is not there any more; beside one that is, its process has ended before it had set that aside. */
function finishReplacement(file: string): void {
  const ready = `${file}${readySuffix}`;
  if (!existsSync(ready)) return;
  if (existsSync(file)) removeFile(ready);
  else renameSync(ready, file);
  syncFolder(path.dirname(file));
}

function removeFile(file: string): void {
  rmSync(file, { force: true });
  rmSync(`${file}${lockSuffix}`, { force: true });
}

function readRows(backend: StoreBackend): RowChange[] {
  return durableTables.flatMap((table) => readTable(backend, table));
}

function readTable(backend: StoreBackend, table: DurableTable): RowChange[] {
  const { rows } = backend.read({ table, from: '', to: '', bytesMax: Number.MAX_SAFE_INTEGER });
  return rows.map(({ key, ...row }) => ({ table, key, row }));
}

function syncFolder(folder: string): void {
  const descriptor = openSync(folder, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** What was read of a file that must not be written to. */
class ReadOnlyBackend implements StoreBackend {
  readonly #folder: string;
  readonly #rows: MemoryBackend = new MemoryBackend(Number.MAX_SAFE_INTEGER);

  constructor(folder: string, { lastVersion, rows }: Reading) {
    this.#folder = folder;
    this.#rows.commit(rows, lastVersion);
  }

  readonly isOpen = true;

  get lastVersion(): number {
    return this.#rows.lastVersion;
  }

  get usedBytes(): number {
    return this.#rows.usedBytes;
  }

  commit(): void {
    throw new StorageError('read_only', `${this.#folder} must not be written to`);
  }

  read(range: RowRange): RowsRead {
    return this.#rows.read(range);
  }

  takeSnapshot(): StoreSnapshot {
    return this.#rows.takeSnapshot();
  }

  close(): void {
    // There is nothing to let go of.
  }
}
