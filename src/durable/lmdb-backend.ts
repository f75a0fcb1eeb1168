import { closeSync, constants, fstatSync, openSync, readFileSync, statSync, statfsSync, writeSync } from 'node:fs';
import path from 'node:path';

import { open } from 'lmdb';
import type { Database, RootDatabase, Transaction } from 'lmdb';

import { durableTables } from './commits.ts';
import type { DurableRow, DurableTable } from './commits.ts';
import { pageBytes } from './lmdb-file.ts';
import { decodeRow, encodeRow } from './row-encoding.ts';
import { StorageError } from './store-backend.ts';
import type { RowChange, RowRange, RowsRead, StorageFault, StoreBackend, StoreSnapshot } from './store-backend.ts';
import { countRow, decodeHead, emptyHead, encodeHead } from './store-head.ts';
import type { StoreHead } from './store-head.ts';

/** The table with the one row that describes all others, and its key. */
export const headTable = 'head';
export const headKey: Buffer = Buffer.from('head');

/** Of the file that LMDB keeps beside its own. */
export const lockSuffix = '-lock';
/** That file has at least what LMDB would give it; more is room for more readers. */
const lockFileBytes = 12_288;

/** A disk, or what a process may write to a file, with less room is full: a group of commits may need that much. */
const roomBytesMin = 1_048_576;
/** Beside what it puts, twice, a commit writes less: pages of trees, and of the list of free ones. */
const commitBytesMin = 262_144;
/** A new file, with its tables and nothing in them, has less. */
const newFileBytesMax = 262_144;

/** A file is larger than the process may write. */
const efbig = 27;

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
  [efbig]: 'full',
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
  /** Undefined: it could not be opened again after a failure. */
  #environment: Environment | undefined;
  #head: StoreHead = emptyHead;
  /** Bytes in use, as last counted, and those that have been put since: counting is too slow for every commit. */
  #countedBytes = 0;
  #putBytes = 0;
  /** The last commit could not be written. */
  #hasFailed = false;
  /** That the file has at least. */
  #fileBytes = 0;
  readonly #snapshots: Set<StoreSnapshot> = new Set();

  /** The folder of the file exists. */
  constructor(file: string, bytesMax: number) {
    this.#file = file;
    this.#bytesMax = bytesMax;
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
    if (this.#hasFailed) this.#checkDisk(changes);
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
    this.#hasFailed = false;
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
   * LMDB's binding writes past the end of its memory when a page cannot be written, and some failures later the process crashes: so after a failure it is not asked to write what the disk, or the process's limit of
   * a file's length, has no room for.
   */
  #checkDisk(changes: readonly RowChange[]): void {
    let bytes = commitBytesMin;
    for (const { key, row } of changes) bytes += 2 * (key.length + (row?.payload.length ?? 0));
    const bound = readFileLimit();
    if (bound !== undefined && this.#fileBytes + bytes > bound)
      throw new StorageError('full', `nothing can be written: no file may have more than ${bound} bytes (ulimit -f)`);
    if (isFullAt(path.dirname(this.#file), bytes))
      throw new StorageError('full', 'nothing can be written: the disk has no room');
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
    this.#hasFailed = true;
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

/** Before a new file is made: LMDB writes it as it opens it, and its binding corrupts the heap where that fails again and again. Throws if there is no room for it. */
export function requireRoomForNew(file: string): void {
  const bound = readFileBound(file);
  if (bound !== undefined && bound < newFileBytesMax)
    throw new StorageError('full', `${file} cannot be made: no file may have more than ${bound} bytes (ulimit -f)`);
  if (isFullAt(path.dirname(file), newFileBytesMax))
    throw new StorageError('full', `${file} cannot be made: the disk has no room for it`);
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

/** `file`: where it happened. */
export function toStorageError(error: unknown, what: string, file: string): StorageError {
  if (error instanceof StorageError) return error;
  const { code, message } = error as { readonly code?: string | number; readonly message?: string };
  const fault = (code === undefined ? undefined : faults[code]) ?? 'failed';
  // LMDB calls it an error of the device if a part of what it writes has still found room.
  const bound = fault === 'failed' || code === efbig || code === 'EFBIG' ? readFileBound(file) : undefined;
  const isFull = bound !== undefined || (fault === 'failed' && isFullAt(path.dirname(file), roomBytesMin));
  const why =
    bound === undefined ? (message ?? String(error)) : `no file may have more than ${bound} bytes (ulimit -f)`;
  return new StorageError(isFull ? 'full' : fault, `${what}: ${why}`, { cause: error });
}

/** How large a file of this process may become, in bytes, if this one nearly is, or will soon be; undefined: that is not what is wrong, or nobody knows. */
function readFileBound(file: string): number | undefined {
  try {
    const limit = readFileLimit();
    if (limit === undefined) return undefined;
    const { size } = statSync(file, { throwIfNoEntry: false }) ?? { size: 0 };
    return size + roomBytesMin > limit ? limit : undefined;
  } catch {
    // Other systems do not say; what has failed is said all the same.
    return undefined;
  }
}

/** How large a file of this process may become, in bytes; undefined: as large as it likes, or nobody knows. */
function readFileLimit(): number | undefined {
  try {
    const [, text] = /^Max file size +(\d+) /m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
    return text === undefined ? undefined : Number(text);
  } catch {
    // Other systems do not say.
    return undefined;
  }
}

function isFullAt(folder: string, bytesMin: number): boolean {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize < bytesMin;
  } catch {
    // It says nothing about the failure that is looked into.
    return false;
  }
}
