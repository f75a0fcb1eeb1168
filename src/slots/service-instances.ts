import { InstanceList } from './instance-list.ts';
import { readId } from './instance-table.ts';
import type { InstanceRow, InstanceTable } from './instance-table.ts';

/** An instance as its partition holds it: never parsed, only compared and joined. */
export type StoredInstance = InstanceRow;

/** Rows of services are told apart by their list alone. */
const tag = 0;

/** The instances of one service, by id, in the order in which they came; rows of the partition's table. */
export class ServiceInstances {
  readonly #table: InstanceTable;
  readonly #list: InstanceList;
  #bytes = 0;

  constructor(table: InstanceTable) {
    this.#table = table;
    this.#list = new InstanceList(table);
  }

  get size(): number {
    return this.#list.size;
  }

  /** Bytes of all of them as a JSON array, but for its brackets. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Bytes of one of them. */
  bytesOf(row: number): number {
    return this.#table.bytesOf(row);
  }

  /** The row of an instance, or -1. Valid until one goes. */
  find(id: string): number {
    return this.#list.find(tag, id);
  }

  read(row: number): StoredInstance {
    return this.#table.read(row);
  }

  fragmentOf(id: string): string | undefined {
    const row = this.#list.find(tag, id);
    return row === -1 ? undefined : this.#table.fragmentOf(row);
  }

  /** It must not be there yet. */
  add(id: string, instance: StoredInstance): void {
    this.#bytes += this.#table.bytesOf(this.#list.add(tag, id, instance)) + 1;
  }

  replace(row: number, instance: StoredInstance): void {
    this.#bytes -= this.#table.bytesOf(row);
    this.#table.replace(row, instance);
    this.#bytes += this.#table.bytesOf(row);
  }

  /** The content stays as it is. */
  note(row: number, instance: Omit<StoredInstance, 'fragment'>): void {
    this.#table.note(row, instance);
  }

  delete(id: string): boolean {
    const row = this.#list.find(tag, id);
    if (row === -1) return false;
    this.#bytes -= this.#table.bytesOf(row) + 1;
    this.#list.remove(row);
    return true;
  }

  clear(): void {
    this.#list.clear();
    this.#bytes = 0;
  }

  *fragments(): Generator<string, void, undefined> {
    for (const row of this.#list.rows()) yield this.#table.fragmentOf(row);
  }

  *[Symbol.iterator](): Generator<[id: string, instance: StoredInstance], void, undefined> {
    for (const row of this.#list.rows()) {
      const instance = this.#table.read(row);
      yield [readId(instance.fragment), instance];
    }
  }
}
