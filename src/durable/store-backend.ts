import type { DurableRow, DurableTable } from './commits.ts';

/** A row as it shall be, or that it shall be gone. */
export interface RowChange {
  readonly table: DurableTable;
  readonly key: string;
  /** Undefined: deleted. */
  readonly row: Omit<DurableRow, 'key'> | undefined;
}

export interface RowRange {
  readonly table: DurableTable;
  /** The first key. */
  readonly from: string;
  /** The key after the last; empty: to the end. */
  readonly to: string;
  /** Bytes of keys and payloads; the row that reaches the bound may exceed it. */
  readonly bytesMax: number;
}

export interface RowsRead {
  readonly rows: readonly DurableRow[];
  /** Where to continue; undefined: that was all. */
  readonly next: string | undefined;
}

/** Why nothing can be stored. */
export const storageFaults = {
  full: 'there is no room left',
  read_only: 'it must not be written to',
  missing: 'a file or folder is missing',
  damaged: 'a file is damaged',
  failed: 'writing or reading failed',
} as const;

export type StorageFault = keyof typeof storageFaults;

/** What was asked for has not been done, and never will be. */
export class StorageError extends Error {
  readonly fault: StorageFault;

  constructor(fault: StorageFault, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StorageError';
    this.fault = fault;
  }
}

/** What is stored at one moment, whatever is stored later. */
export interface StoreSnapshot {
  readonly lastVersion: number;
  /** Throws a {@link StorageError} if it cannot be read, or not any more. */
  read(range: RowRange): RowsRead;
  /** To be called when nobody reads it any more: what it holds takes room. */
  close(): void;
}

/** Where rows are kept, by their table and the bytes of their key. Everything is done when a call returns. */
export interface StoreBackend {
  /** Not after {@link close}, nor if it could not be opened again after a failure. */
  readonly isOpen: boolean;
  /** The number of the last commit that is stored; 0: none. */
  readonly lastVersion: number;
  /** Bytes that the rows take. */
  readonly usedBytes: number;
  /**
   * Stores all changes, in their order, and the number of the last commit, or nothing. Throws a {@link StorageError} if nothing has been stored; anything else that
   * it throws leaves that open.
   */
  commit(changes: readonly RowChange[], lastVersion: number): void;
  /** Throws a {@link StorageError} if it cannot be read. */
  read(range: RowRange): RowsRead;
  /** Throws a {@link StorageError} if it cannot be read. */
  takeSnapshot(): StoreSnapshot;
  close(): void;
}
