import { closeSync, fsyncSync, mkdirSync, openSync, statfsSync } from 'node:fs';
import path from 'node:path';

import { open } from 'lmdb';
import type { Database, RootDatabase } from 'lmdb';

import { durableTables } from './commits.ts';
import type { DurableRow, DurableTable } from './commits.ts';
import { decodeRow, encodeRow } from './row-encoding.ts';
import { StorageError } from './store-backend.ts';
import type { RowChange, RowRange, RowsRead, StorageFault, StoreBackend } from './store-backend.ts';

/** The file of the store in its folder. */
const storeFile = 'store.mdb';
/** Fixed: it decides how long a key may be. */
const pageBytes = 8192;
const headTable = 'head';
const lastVersionKey = Buffer.from('lastVersion');

/** A disk with less room is full: a group of commits may need that much. */
const roomBytesMin = 1_048_576;

/** Of operating systems and LMDB, with what they mean here. */
const faults: Readonly<Record<string | number, StorageFault>> = {
  ENOSPC: 'full',
  EDQUOT: 'full',
  EFBIG: 'full',
  EROFS: 'read_only',
  EACCES: 'read_only',
  EPERM: 'read_only',
  ENOENT: 'missing',
  ENOTDIR: 'missing',
  28: 'full',
  122: 'full',
  27: 'full',
  30: 'read_only',
  13: 'read_only',
  1: 'read_only',
  2: 'missing',
  20: 'missing',
  [-30_792]: 'full',
  [-30_797]: 'damaged',
  [-30_796]: 'damaged',
  [-30_793]: 'damaged',
};

type Bytes = Database<Buffer, Buffer>;

interface TableStats {
  readonly treeBranchPageCount: number;
  readonly treeLeafPageCount: number;
  readonly overflowPages: number;
}

/** One environment of LMDB, open. */
interface Environment {
  readonly root: RootDatabase<Buffer, Buffer>;
  readonly head: Bytes;
  readonly tables: ReadonlyMap<DurableTable, Bytes>;
}

/** Rows in a file of LMDB: each commit is one transaction of it, which is on disk when the call returns. The only file that knows LMDB. */
export class LmdbBackend implements StoreBackend {
  readonly #folder: string;
  readonly #bytesMax: number;
  /** Undefined: it could not be opened again after a failure. */
  #environment: Environment | undefined;
  /** Bytes in use, as last counted, and those that have been put since: counting is too slow for every commit. */
  #countedBytes = 0;
  #putBytes = 0;
  lastVersion = 0;

  constructor(folder: string, bytesMax: number) {
    this.#folder = folder;
    this.#bytesMax = bytesMax;
    try {
      mkdirSync(folder, { recursive: true });
    } catch (error) {
      throw toStorageError(error, `the folder ${folder} cannot be made`, folder);
    }
    const { lastVersion } = this.#open();
    this.lastVersion = lastVersion;
    // The names of new files are on disk, too.
    syncFolder(folder);
  }

  /** Of pages that hold rows: those that have become free are used again. */
  get usedBytes(): number {
    if (this.#putBytes > 0) this.#count();
    return this.#countedBytes;
  }

  commit(changes: readonly RowChange[], lastVersion: number): void {
    const { root, head, tables } = this.#environment ?? this.#open();
    this.#checkRoom(changes);
    try {
      root.transactionSync(() => {
        for (const { table, key, row } of changes) {
          const bytes = Buffer.from(key);
          const database = tables.get(table)!;
          if (row === undefined) database.removeSync(bytes);
          else database.putSync(bytes, encodeRow(table, bytes, row));
        }
        head.putSync(lastVersionKey, encodeHead(lastVersionKey, lastVersion));
      });
    } catch (error) {
      this.#explain(error, lastVersion);
    }
    this.lastVersion = lastVersion;
    // Deletions count, too: they are to be seen.
    for (const { key, row } of changes) this.#putBytes += key.length + (row?.payload.length ?? 0);
  }

  read({ table, from, to, bytesMax }: RowRange): RowsRead {
    const { tables } = this.#environment ?? this.#open();
    const rows: DurableRow[] = [];
    let bytes = 0;
    const start = Buffer.from(from);
    const range = { ...(from === '' ? {} : { start }), ...(to === '' ? {} : { end: Buffer.from(to) }) };
    try {
      for (const { key, value } of tables.get(table)!.getRange(range)) {
        if (bytes >= bytesMax) return { rows, next: key.toString() };
        const row = decodeRow(table, key, value);
        if (row === undefined) throw new StorageError('damaged', `a row of ${table} is damaged`);
        bytes += key.length + value.length;
        rows.push({ key: key.toString(), ...row });
      }
    } catch (error) {
      throw toStorageError(error, `${table} cannot be read`, this.#folder);
    }
    return { rows, next: undefined };
  }

  close(): void {
    void this.#environment?.root.close();
    this.#environment = undefined;
  }

  /** LMDB itself would let the file grow as long as there is room on the disk. */
  #checkRoom(changes: readonly RowChange[]): void {
    let bytes = 0;
    for (const { key, row } of changes) if (row !== undefined) bytes += key.length + row.payload.length;
    if (bytes === 0 || this.#countedBytes + this.#putBytes + bytes <= this.#bytesMax) return;
    this.#count();
    if (this.#countedBytes + bytes <= this.#bytesMax) return;
    throw new StorageError('full', `the rows take ${this.#countedBytes} bytes: storeBytesMax is ${this.#bytesMax}`);
  }

  #count(): void {
    let pages = 0;
    for (const table of this.#environment?.tables.values() ?? []) {
      const stats = table.getStats() as TableStats;
      pages += stats.treeBranchPageCount + stats.treeLeafPageCount + stats.overflowPages;
    }
    this.#countedBytes = pages * pageBytes;
    this.#putBytes = 0;
  }

  #open(): Environment & { readonly lastVersion: number } {
    const file = path.join(this.#folder, storeFile);
    try {
      const root = open<Buffer, Buffer>({
        path: file,
        noSubdir: true,
        pageSize: pageBytes,
        // Address space, no more: rows leave free pages between them.
        mapSize: 2 * this.#bytesMax,
        // A commit is on disk when it returns, rather than soon.
        overlappingSync: false,
        maxDbs: durableTables.length + 1,
        keyEncoding: 'binary',
        encoding: 'binary',
      });
      const openTable = (name: string): Bytes =>
        root.openDB<Buffer, Buffer>({ name, keyEncoding: 'binary', encoding: 'binary' });
      const head = openTable(headTable);
      const tables = new Map(durableTables.map((table) => [table, openTable(table)]));
      this.#environment = { root, head, tables };
      this.#count();
      return { root, head, tables, lastVersion: readHead(head, lastVersionKey) };
    } catch (error) {
      this.close();
      throw toStorageError(error, `${file} cannot be opened`, this.#folder);
    }
  }

  /**
   * A commit has failed: looks what is stored, in a fresh environment, since LMDB must not begin another transaction in one that may have failed for good. Always
   * throws.
   */
  #explain(cause: unknown, wanted: number): never {
    const failure = toStorageError(cause, 'nothing can be written', this.#folder);
    const unknown = `it is not known whether commit ${wanted} is on disk`;
    this.close();
    let found: number;
    try {
      found = this.#open().lastVersion;
    } catch (error) {
      throw new Error(unknown, { cause: error });
    }
    if (found === this.lastVersion) throw failure;
    throw new Error(unknown, { cause });
  }
}

function encodeHead(key: Buffer, value: number): Buffer {
  const payload = Buffer.allocUnsafe(8);
  payload.writeDoubleLE(value);
  return encodeRow(headTable, key, { payload, createVersion: 0, modifyVersion: 0 });
}

/** 0: there is none yet. */
function readHead(head: Bytes, key: Buffer): number {
  const bytes = head.get(key);
  if (bytes === undefined) return 0;
  const row = decodeRow(headTable, key, bytes);
  if (row === undefined) throw new StorageError('damaged', `the store's ${key.toString()} is damaged`);
  return new DataView(row.payload.buffer).getFloat64(0, true);
}

/** `folder`: where it happened. */
function toStorageError(error: unknown, what: string, folder: string): StorageError {
  if (error instanceof StorageError) return error;
  const { code, message } = error as { readonly code?: string | number; readonly message?: string };
  const fault = (code === undefined ? undefined : faults[code]) ?? 'failed';
  // LMDB calls it an error of the device if a part of what it writes has still found room.
  const isFull = fault === 'failed' && isFullAt(folder);
  return new StorageError(isFull ? 'full' : fault, `${what}: ${message ?? String(error)}`, { cause: error });
}

function isFullAt(folder: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize < roomBytesMin;
  } catch {
    // It says nothing about the failure that is looked into.
    return false;
  }
}

function syncFolder(folder: string): void {
  const descriptor = openSync(folder, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
