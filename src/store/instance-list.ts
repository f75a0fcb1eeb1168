import type { EncodedText } from './fragment-bytes.ts';
import type { InstanceRow, InstanceTable } from './instance-table.ts';

/** No list number claimed: lists without rows need none. */
const unclaimed = -1;

/** The rows of one list, by tag and id. Small, since there is one for each service and each session. */
export class InstanceList {
  readonly #table: InstanceTable;
  #list = unclaimed;
  #first = -1;
  #last = -1;
  #size = 0;

  constructor(table: InstanceTable) {
    this.#table = table;
  }

  get size(): number {
    return this.#size;
  }

  /** The row, or -1. Valid until the list changes. */
  find(tag: number, id: string): number {
    return this.#size === 0 ? -1 : this.#table.find(this.#list, tag, id);
  }

  /** Puts in a new row, and returns it. It must not be there yet. */
  add(tag: number, id: string, instance: InstanceRow): number {
    return this.#append(this.#table.add(this.#claimList(), tag, id, instance, this.#last));
  }

  /** As {@link add} does, from bytes. */
  addEncoded(tag: number, id: string, text: EncodedText, claim: Omit<InstanceRow, 'fragment'>): number {
    return this.#append(this.#table.addEncoded(this.#claimList(), tag, id, text, claim, this.#last));
  }

  /** Whether it was there. */
  delete(tag: number, id: string): boolean {
    const row = this.find(tag, id);
    if (row === -1) return false;
    this.remove(row);
    return true;
  }

  /** Takes away a row that is there. */
  remove(row: number): void {
    const { previous, next } = this.#table.remove(row);
    if (previous === -1) this.#first = next;
    if (next === -1) this.#last = previous;
    this.#size -= 1;
    this.#releaseIfEmpty();
  }

  /** Rows in the order in which they came. The list must not change meanwhile. */
  *rows(): Generator<number, void, undefined> {
    for (let row = this.#first; row !== -1; row = this.#table.nextOf(row)) yield row;
  }

  clear(): void {
    for (let row = this.#first; row !== -1;) row = this.#table.remove(row).next;
    this.#first = -1;
    this.#last = -1;
    this.#size = 0;
    this.#releaseIfEmpty();
  }

  #claimList(): number {
    if (this.#list === unclaimed) this.#list = this.#table.claimList();
    return this.#list;
  }

  #append(row: number): number {
    if (this.#first === -1) this.#first = row;
    this.#last = row;
    this.#size += 1;
    return row;
  }

  #releaseIfEmpty(): void {
    if (this.#size > 0 || this.#list === unclaimed) return;
    this.#table.releaseList(this.#list);
    this.#list = unclaimed;
  }
}
