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

  constructor(table: InstanceTable) {
    this.#table = table;
    this.#list = new InstanceList(table);
  }

  get size(): number {
    return this.#list.size;
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
    this.#list.add(tag, id, instance);
  }

  replace(row: number, instance: StoredInstance): void {
    this.#table.replace(row, instance);
  }

  /** The content stays as it is. */
  note(row: number, instance: Omit<StoredInstance, 'fragment'>): void {
    this.#table.note(row, instance);
  }

  delete(id: string): boolean {
    return this.#list.delete(tag, id);
  }

  clear(): void {
    this.#list.clear();
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
