import { InstanceList } from './instance-list.ts';
import { readId } from './instance-table.ts';
import type { InstanceRow, InstanceTable } from './instance-table.ts';

/** An instance as its partition holds it: never parsed, only compared and joined. */
export type StoredInstance = InstanceRow;

/** Rows of services are told apart by their list alone. */
const tag = 0;

/** The instances of one service, by id, in the order in which they came; read like a Map, kept as rows of the partition's table. */
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

  get(id: string): StoredInstance | undefined {
    const row = this.#list.find(tag, id);
    return row === -1 ? undefined : this.#table.read(row);
  }

  fragmentOf(id: string): string | undefined {
    const row = this.#list.find(tag, id);
    return row === -1 ? undefined : this.#table.fragmentOf(row);
  }

  set(id: string, instance: StoredInstance): void {
    this.#list.set(tag, id, instance);
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
