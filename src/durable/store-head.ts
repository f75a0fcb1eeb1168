import { readChecksum } from './row-encoding.ts';
import type { RowChange } from './store-backend.ts';

/** The format of the store that is written. What is older is migrated, what is newer is refused. */
export const storeFormat = 1;

/** What the store says of all its rows: without it, a page that is out of date, or missing, could pass for the present one. */
export interface StoreHead {
  readonly format: number;
  readonly lastVersion: number;
  readonly rows: number;
  /** Of the rows' checksums: all of them combined bit by bit, and added up. */
  readonly xor: number;
  readonly sum: number;
}

/** What makes a store of the next format of one of this: an entry for each format below {@link storeFormat} that there ever was, of which there is none yet. */
export interface Migration {
  readonly decodeHead: (bytes: Uint8Array) => StoreHead;
  readonly migrateRow: (change: RowChange) => RowChange;
}

export const migrations: ReadonlyMap<number, Migration> = new Map();

export const emptyHead: StoreHead = { format: storeFormat, lastVersion: 0, rows: 0, xor: 0, sum: 0 };

/** Adds or, with `count` -1, takes away a row as it is stored. */
export function countRow({ rows, xor, sum, ...rest }: StoreHead, row: Uint8Array, count: 1 | -1): StoreHead {
  const checksum = readChecksum(row);
  return { ...rest, rows: rows + count, xor: (xor ^ checksum) >>> 0, sum: (sum + count * checksum) >>> 0 };
}

/** Little-endian: format (4 bytes), last version and rows (8 each, as floats), xor and sum (4 each). */
const headBytes = 28;

export function encodeHead({ format, lastVersion, rows, xor, sum }: StoreHead): Uint8Array {
  const bytes = Buffer.allocUnsafe(headBytes);
  bytes.writeUInt32LE(format, 0);
  bytes.writeDoubleLE(lastVersion, 4);
  bytes.writeDoubleLE(rows, 12);
  bytes.writeUInt32LE(xor, 20);
  bytes.writeUInt32LE(sum, 24);
  return bytes;
}

/** Readable in all formats. */
export function readFormat(head: Uint8Array): number {
  return new DataView(head.buffer, head.byteOffset, head.byteLength).getUint32(0, true);
}

/** Of the present format. */
export function decodeHead(bytes: Uint8Array): StoreHead {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    format: view.getUint32(0, true),
    lastVersion: view.getFloat64(4, true),
    rows: view.getFloat64(12, true),
    xor: view.getUint32(20, true),
    sum: view.getUint32(24, true),
  };
}
