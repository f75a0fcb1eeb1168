import { compareBytes } from '../store/byte-order.ts';
import { durableTables } from './commits.ts';
import type { DurableRow, DurableTable } from './commits.ts';
import { StorageError } from './store-backend.ts';
import type { RowChange, RowRange, RowsRead, StoreBackend, StoreSnapshot } from './store-backend.ts';

/** What a row takes beside its key and payload, roughly. */
const rowOverheadBytes = 64;

/** Rows in memory, which end with the process. */
export class MemoryBackend implements StoreBackend {
  readonly #bytesMax: number;
  readonly #tables: ReadonlyMap<DurableTable, MemoryTable>;
  readonly isOpen = true;
  lastVersion = 0;
  usedBytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
    this.#tables = new Map(durableTables.map((table) => [table, new MemoryTable()]));
  }

  commit(changes: readonly RowChange[], lastVersion: number): void {
    let usedBytes = this.usedBytes;
    // The last change of a row is the one that counts.
    const last = new Map(changes.map((change) => [`${change.table}/${change.key}`, change]));
    for (const { table, key, row } of last.values()) {
      usedBytes += bytesOf(key, row) - bytesOf(key, this.#table(table).rows.get(key));
    }
    if (usedBytes > this.#bytesMax && usedBytes > this.usedBytes) {
      throw new StorageError('full', `the rows would take ${usedBytes} bytes: storeBytesMax is ${this.#bytesMax}`);
    }
    for (const { table, key, row } of changes) this.#table(table).set(key, row);
    this.usedBytes = usedBytes;
    this.lastVersion = lastVersion;
  }

  read({ table, from, to, bytesMax }: RowRange): RowsRead {
    return this.#table(table).read(from, to, bytesMax);
  }

  takeSnapshot(): StoreSnapshot {
    // Rows themselves never change.
    const tables = new Map([...this.#tables].map(([name, table]) => [name, table.copy()]));
    return {
      lastVersion: this.lastVersion,
      read: ({ table, from, to, bytesMax }) => tables.get(table)!.read(from, to, bytesMax),
      close: () => {
        tables.clear();
      },
    };
  }

  close(): void {
    // There is nothing to let go of.
  }

  #table(name: DurableTable): MemoryTable {
    const table = this.#tables.get(name);
    if (table === undefined) throw new Error(`there is no table ${name}`);
    return table;
  }
}

function bytesOf(key: string, row: Omit<DurableRow, 'key'> | undefined): number {
  return row === undefined ? 0 : rowOverheadBytes + Buffer.byteLength(key) + row.payload.length;
}

class MemoryTable {
  readonly rows: Map<string, Omit<DurableRow, 'key'>> = new Map();
  /** All keys in the order of their bytes; undefined: to be sorted when they are read next, which is rare. */
  #sorted: string[] | undefined;

  copy(): MemoryTable {
    const copy = new MemoryTable();
    for (const [key, row] of this.rows) copy.rows.set(key, row);
    return copy;
  }

  set(key: string, row: Omit<DurableRow, 'key'> | undefined): void {
    if (this.rows.has(key) !== (row !== undefined)) this.#sorted = undefined;
    if (row === undefined) this.rows.delete(key);
    else this.rows.set(key, row);
  }

  read(from: string, to: string, bytesMax: number): RowsRead {
    this.#sorted ??= [...this.rows.keys()].sort(compareBytes);
    const sorted = this.#sorted;
    const rows: DurableRow[] = [];
    let bytes = 0;
    for (let at = placeIn(sorted, from); at < sorted.length; at++) {
      const key = sorted[at]!;
      if (to !== '' && compareBytes(key, to) >= 0) break;
      if (bytes >= bytesMax) return { rows, next: key };
      const row = this.rows.get(key)!;
      bytes += bytesOf(key, row);
      rows.push({ key, ...row });
    }
    return { rows, next: undefined };
  }
}

/** Where the first key is that is not before this one. */
function placeIn(sorted: readonly string[], key: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareBytes(sorted[middle]!, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
