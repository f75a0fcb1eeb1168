import { slotOf } from '../slots/slot.ts';
import { SortedKeys } from '../store/sorted-keys.ts';
import type { KeyRow } from './key-row.ts';
import { weighRow } from './key-row.ts';

/** A partition's keys as they are committed: by name, in the order of their bytes, by slot, and by who holds them. */
export class KeyTable {
  readonly #rows: Map<string, KeyRow> = new Map();
  readonly #sorted: SortedKeys = new SortedKeys();
  readonly #slots: Map<number, Set<string>> = new Map();
  readonly #held: Map<string, Set<string>> = new Map();
  #bytes = 0;
  #heldCount = 0;

  get size(): number {
    return this.#rows.size;
  }

  /** What all keys take, by {@link weighRow}. */
  get bytes(): number {
    return this.#bytes;
  }

  /** How many of them are held. */
  get heldCount(): number {
    return this.#heldCount;
  }

  get(key: string): KeyRow | undefined {
    return this.#rows.get(key);
  }

  put(row: KeyRow): void {
    const before = this.#rows.get(row.key);
    if (before === undefined) {
      this.#sorted.add(row.key);
      addTo(this.#slots, slotOf(row.key), row.key);
    } else {
      this.#unlink(before);
    }
    this.#rows.set(row.key, row);
    this.#bytes += weighRow(row);
    if (row.holder === '') return;
    this.#heldCount += 1;
    addTo(this.#held, row.holder, row.key);
  }

  delete(key: string): void {
    const row = this.#rows.get(key);
    if (row === undefined) return;
    this.#unlink(row);
    this.#rows.delete(key);
    this.#sorted.delete(key);
    deleteFrom(this.#slots, slotOf(key), key);
  }

  deleteSlot(slot: number): void {
    for (const key of Array.from(this.#slots.get(slot) ?? [])) this.delete(key);
  }

  *rowsOfSlot(slot: number): Generator<KeyRow, void, undefined> {
    for (const key of this.#slots.get(slot) ?? []) yield this.#rows.get(key)!;
  }

  /** The keys from `start` on, in the order of their bytes; they must not change meanwhile. */
  from(start: string): Generator<string, void, undefined> {
    return this.#sorted.from(start);
  }

  rows(): IterableIterator<KeyRow> {
    return this.#rows.values();
  }

  /** Who holds keys. */
  holders(): IterableIterator<string> {
    return this.#held.keys();
  }

  heldBy(holder: string): ReadonlySet<string> | undefined {
    return this.#held.get(holder);
  }

  #unlink(row: KeyRow): void {
    this.#bytes -= weighRow(row);
    if (row.holder === '') return;
    this.#heldCount -= 1;
    deleteFrom(this.#held, row.holder, row.key);
  }
}

function addTo<K>(sets: Map<K, Set<string>>, name: K, key: string): void {
  const set = sets.get(name);
  if (set === undefined) sets.set(name, new Set([key]));
  else set.add(key);
}

function deleteFrom<K>(sets: Map<K, Set<string>>, name: K, key: string): void {
  const set = sets.get(name);
  set?.delete(key);
  if (set?.size === 0) sets.delete(name);
}
