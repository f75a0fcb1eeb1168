/** So many parts, each of which grows by itself: no insertion moves more than a small share of all rows. */
const parts = 64;
const partShift = 26;
const smallestPart = 16;
/** Row + 1, so that fresh memory is empty. */
const empty = 0;

/** Whose rows are found. */
export interface IndexedRows {
  hashOf(row: number): number;
  /** Whether it is the row of that list, tag and id. */
  isAt(row: number, list: number, tag: number, id: string): boolean;
}

/** Finds rows by a hash of 32 bits: open addressing with linear probing, in numbers only. */
export class RowIndex {
  readonly #rows: IndexedRows;
  readonly #parts: Uint32Array[] = Array.from({ length: parts }, () => new Uint32Array(smallestPart));
  readonly #counts: Uint32Array = new Uint32Array(parts);

  constructor(rows: IndexedRows) {
    this.#rows = rows;
  }

  /** The row of that list, tag and id, whose hash this is; or -1. */
  find(hash: number, list: number, tag: number, id: string): number {
    const rows = this.#rows;
    const table = this.#parts[hash >>> partShift]!;
    const mask = table.length - 1;
    for (let at = hash & mask; ; at = (at + 1) & mask) {
      const entry = table[at]!;
      if (entry === empty) return -1;
      const row = entry - 1;
      if (rows.hashOf(row) === hash && rows.isAt(row, list, tag, id)) return row;
    }
  }

  /** It must not be there yet. */
  add(hash: number, row: number): void {
    const part = hash >>> partShift;
    const count = this.#counts[part]! + 1;
    this.#counts[part] = count;
    // At three quarters probes begin to be long.
    if (count * 4 > this.#parts[part]!.length * 3) this.#grow(part);
    insert(this.#parts[part]!, hash, row);
  }

  remove(hash: number, row: number): void {
    const part = hash >>> partShift;
    const table = this.#parts[part]!;
    const mask = table.length - 1;
    let at = hash & mask;
    while (table[at] !== row + 1) {
      if (table[at] === empty) throw new Error(`row ${row} is not in the index`);
      at = (at + 1) & mask;
    }
    this.#counts[part] = this.#counts[part]! - 1;
    // What was pushed past this place moves back, so that no probe ends too early.
    for (let next = (at + 1) & mask; table[next] !== empty; next = (next + 1) & mask) {
      const home = this.#rows.hashOf(table[next]! - 1) & mask;
      if (((next - home) & mask) < ((next - at) & mask)) continue;
      table[at] = table[next]!;
      at = next;
    }
    table[at] = empty;
  }

  #grow(part: number): void {
    const old = this.#parts[part]!;
    const table = new Uint32Array(old.length * 2);
    for (const entry of old) if (entry !== empty) insert(table, this.#rows.hashOf(entry - 1), entry - 1);
    this.#parts[part] = table;
  }
}

function insert(table: Uint32Array, hash: number, row: number): void {
  const mask = table.length - 1;
  let at = hash & mask;
  while (table[at] !== empty) at = (at + 1) & mask;
  table[at] = row + 1;
}
