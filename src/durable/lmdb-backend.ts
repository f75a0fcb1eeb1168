import { closeSync, constants, fstatSync, openSync, statSync, writeSync } from 'node:fs';

import { open } from 'lmdb';
import type { Database, RootDatabase, Transaction } from 'lmdb';

import { durableTables } from './commits.ts';
import type { DurableRow, DurableTable } from './commits.ts';
import { FileRoom } from './file-room.ts';
import { pageBytes } from './lmdb-file.ts';
import { decodeRow, encodeRow } from './row-encoding.ts';
import { toStorageError } from './storage-fault.ts';
import { StorageError } from './store-backend.ts';
import type { RowChange, RowRange, RowsRead, StoreBackend, StoreSnapshot } from './store-backend.ts';
import { countRow, decodeHead, emptyHead, encodeHead } from './store-head.ts';
import type { StoreHead } from './store-head.ts';

/** The table with the one row that describes all others, and its key. */
export const headTable = 'head';
export const headKey: Buffer = Buffer.from('head');

/** Of the file that LMDB keeps beside its own. */
export const lockSuffix = '-lock';
/** That file has at least what LMDB would give it; more is room for more readers. */
const lockFileBytes = 12_288;

/** Pages that any commit may take, beside those of its rows: of the head, of the tables' roots, of the list of free pages. */
const commitPagesMin = 10;
/** A list of free pages has 8 bytes for each, so it takes a page for so many. */
const freePagesPerPage = 1000;

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
  /** By which the file is known again, whatever becomes of its name. */
  readonly descriptor: number;
  readonly inode: number;
}

/**
 * Rows in a file of LMDB: each commit is one transaction of it, which is on disk when the call returns. LMDB trusts its file, so whoever opens one that is not new
 * has verified it. The only file that knows LMDB.
 */
export class LmdbBackend implements StoreBackend {
  readonly #file: string;
  readonly #bytesMax: number;
  readonly #room: FileRoom;
  /** Undefined: it could not be opened again after a failure. */
  #environment: Environment | undefined;
  #head: StoreHead = emptyHead;
  /** Bytes in use, as last counted, and those that have been put since: counting is too slow for every commit. */
  #countedBytes = 0;
  #putBytes = 0;
  /** That the file has at least. */
  #fileBytes = 0;
  readonly #snapshots: Set<StoreSnapshot> = new Set();

  /** The folder of the file exists. */
  constructor(file: string, bytesMax: number) {
    this.#file = file;
    this.#bytesMax = bytesMax;
    this.#room = new FileRoom(file);
    this.#head = this.#open();
  }

  get isOpen(): boolean {
    return this.#environment !== undefined;
  }

  get lastVersion(): number {
    return this.#head.lastVersion;
  }

  /** Of pages that hold rows: those that have become free are used again. */
  get usedBytes(): number {
    if (this.#putBytes > 0 && this.isOpen && fstatSync(this.#require().descriptor).size >= this.#fileBytes)
      this.#count();
    return this.#countedBytes;
  }

  commit(changes: readonly RowChange[], lastVersion: number): void {
    const { root, head, tables } = this.#require();
    this.#checkName();
    this.#checkLength();
    this.#checkRoom(changes);
    this.#reserve(changes);
    let next = { ...this.#head, lastVersion };
    try {
      root.transactionSync(() => {
        for (const { table, key, row } of changes) {
          const bytes = Buffer.from(key);
          const database = tables.get(table)!;
          const before = database.get(bytes);
          if (before !== undefined) next = countRow(next, before, -1);
          if (row === undefined) database.removeSync(bytes);
          else {
            const encoded = encodeRow(table, bytes, row);
            next = countRow(next, encoded, 1);
            database.putSync(bytes, encoded);
          }
        }
        const payload = encodeHead(next);
        head.putSync(headKey, encodeRow(headTable, headKey, { payload, createVersion: 0, modifyVersion: 0 }));
      });
    } catch (error) {
      this.#explain(error, lastVersion);
    }
    this.#head = next;
    this.#measure();
    // Deletions count, too: they are to be seen.
    for (const { key, row } of changes) this.#putBytes += key.length + (row?.payload.length ?? 0);
  }

  read(range: RowRange): RowsRead {
    return this.#read(range, undefined);
  }

  takeSnapshot(): StoreSnapshot {
    const { root } = this.#require();
    let transaction: Transaction | undefined;
    try {
      transaction = root.useReadTransaction();
    } catch (error) {
      throw toStorageError(error, 'no snapshot can be taken', this.#file);
    }
    const { lastVersion } = this;
    const snapshot: StoreSnapshot = {
      lastVersion,
      read: (range) => {
        // LMDB must not be asked about a transaction of an environment that was closed.
        if (transaction === undefined) throw new StorageError('failed', 'the snapshot has been given up');
        return this.#read(range, transaction);
      },
      close: () => {
        transaction?.done();
        transaction = undefined;
        this.#snapshots.delete(snapshot);
      },
    };
    this.#snapshots.add(snapshot);
    return snapshot;
  }

  #read({ table, from, to, bytesMax }: RowRange, transaction: Transaction | undefined): RowsRead {
    const { tables } = this.#require();
    this.#checkLength();
    const rows: DurableRow[] = [];
    let bytes = 0;
    const range = {
      ...(from === '' ? {} : { start: Buffer.from(from) }),
      ...(to === '' ? {} : { end: Buffer.from(to) }),
      ...(transaction === undefined ? {} : { transaction }),
    };
    try {
      for (const { key, value } of tables.get(table)!.getRange(range)) {
        if (bytes >= bytesMax) return { rows, next: key.toString() };
        const row = decodeRow(table, key, value);
        if (row === undefined) throw new StorageError('damaged', `a row of ${table} is damaged`);
        bytes += key.length + value.length;
        rows.push({ key: key.toString(), ...row });
      }
    } catch (error) {
      throw toStorageError(error, `${table} cannot be read`, this.#file);
    }
    return { rows, next: undefined };
  }

  close(): void {
    for (const snapshot of this.#snapshots) snapshot.close();
    if (this.#environment === undefined) return;
    void this.#environment.root.close();
    closeSync(this.#environment.descriptor);
    this.#environment = undefined;
  }

  /** What is written to a file that has lost its name is gone with the process. */
  #checkName(): void {
    try {
      if (statSync(this.#file).ino === this.#environment!.inode) return;
    } catch (error) {
      throw toStorageError(error, `${this.#file} is gone`, this.#file);
    }
    throw new StorageError('failed', `another file has taken the place of ${this.#file}`);
  }

  /** What has been cut off a file must not be touched where it is mapped. */
  #checkLength(): void {
    const { size } = fstatSync(this.#require().descriptor);
    if (size < this.#fileBytes) throw new StorageError('damaged', `${this.#file} has been cut off`);
  }

  #measure(): void {
    const { root, descriptor } = this.#require();
    const { lastPageNumber } = root.getStats() as { readonly lastPageNumber: number };
    // Pages that a transaction took and gave back, at the end, may never have been written.
    this.#fileBytes = Math.min((lastPageNumber + 1) * pageBytes, fstatSync(descriptor).size);
  }

  #require(): Environment {
    if (this.#environment === undefined) throw new Error(`${this.#file} is closed`);
    return this.#environment;
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

  /**
   * LMDB's binding writes past the end of its memory when a page cannot be written, and some failures later the process crashes: so the room that a commit may
   * need is there before LMDB begins to write. Rows that are put leave a reserve, by which rows can be deleted once the disk is full.
   */
  #reserve(changes: readonly RowChange[]): void {
    const used = this.#fileBytes;
    const isPut = changes.some(({ row }) => row !== undefined);
    const most = this.#pagesOf(changes, Infinity, Infinity);
    if (this.#room.has(used, most * pageBytes, isPut)) return;
    const { branches, leaves } = this.#countPages();
    this.#room.reserve(used, this.#pagesOf(changes, branches, leaves) * pageBytes, isPut);
  }

  /** That a commit may take at most, if the tables have so many pages: a row may have its leaf, and the branches on the way to it, written anew and split. */
  #pagesOf(changes: readonly RowChange[], branches: number, leaves: number): number {
    let pages = commitPagesMin + Math.ceil(this.#fileBytes / pageBytes / freePagesPerPage);
    for (const { key, row } of changes) {
      const bytes = key.length + (row?.payload.length ?? 0);
      // A large row has pages of its own; rows of half a page, or a little more than that, fill pages by half.
      pages += bytes > pageBytes / 4 ? Math.ceil(bytes / pageBytes) + 1 : (2 * bytes) / pageBytes;
    }
    pages += 2 * Math.min(changes.length, leaves + 1) + 2 * Math.min(2 * changes.length, branches + 2);
    return Math.ceil(pages);
  }

  #count(): void {
    const { branches, leaves, overflows } = this.#countPages();
    this.#countedBytes = (branches + leaves + overflows) * pageBytes;
    this.#putBytes = 0;
  }

  /** Of the tables with rows. */
  #countPages(): { readonly branches: number; readonly leaves: number; readonly overflows: number } {
    const counts = { branches: 0, leaves: 0, overflows: 0 };
    for (const table of this.#environment?.tables.values() ?? []) {
      const stats = table.getStats() as TableStats;
      counts.branches += stats.treeBranchPageCount;
      counts.leaves += stats.treeLeafPageCount;
      counts.overflows += stats.overflowPages;
    }
    return counts;
  }

  #open(): StoreHead {
    try {
      allocateLockFile(`${this.#file}${lockSuffix}`);
      const root = open<Buffer, Buffer>({
        path: this.#file,
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
      const descriptor = openSync(this.#file, 'r');
      this.#environment = { root, head, tables, descriptor, inode: fstatSync(descriptor).ino };
      this.#measure();
      this.#count();
      return readHead(head);
    } catch (error) {
      this.close();
      throw toStorageError(error, `${this.#file} cannot be opened`, this.#file);
    }
  }

  /**
   * A commit has failed: looks what is stored, in a fresh environment, since LMDB must not begin another transaction in one that may have failed for good. Always
   * throws.
   */
  #explain(cause: unknown, wanted: number): never {
    const failure = toStorageError(cause, 'nothing can be written', this.#file);
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

function readHead(head: Bytes): StoreHead {
  const bytes = head.get(headKey);
  if (bytes === undefined) return emptyHead;
  const row = decodeRow(headTable, headKey, bytes);
  if (row === undefined) throw new StorageError('damaged', 'what the store says of its rows is damaged');
  return decodeHead(row.payload);
}

/**
 * LMDB maps this file into memory, and its binding crashes the process if it cannot be made, or if the disk has no room for what is mapped: so it is there, written
 * in full, before LMDB sees it. What it holds already is LMDB's.
 */
function allocateLockFile(file: string): void {
  const descriptor = openSync(file, constants.O_RDWR | constants.O_CREAT);
  try {
    const zeros = Buffer.alloc(lockFileBytes);
    for (let at = fstatSync(descriptor).size; at < lockFileBytes;)
      at += writeSync(descriptor, zeros, 0, lockFileBytes - at, at);
  } finally {
    closeSync(descriptor);
  }
}
