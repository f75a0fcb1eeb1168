import type { CommitOutcome, DurableRow, DurableStore, DurableTable, DurableWrite } from '../../src/durable/commits.ts';
import type { Failure } from '../../src/protocol/errors.ts';
import { compareBytes } from '../../src/store/byte-order.ts';

/** A store in memory whose commits are stored when a scheduler comes to them: what a crash leaves of it is what has been stored until then. */
export class MemoryStore implements DurableStore {
  readonly rows: Map<string, DurableRow & { readonly table: DurableTable }> = new Map();
  /** While set, nothing is stored. */
  failure: Failure | undefined;
  isUnreadable = false;
  /** Runs a task later. */
  schedule: (task: () => void) => void = queueMicrotask;
  #version = 0;

  commit(writes: readonly DurableWrite[]): Promise<CommitOutcome> {
    return new Promise((resolve) => {
      this.schedule(() => {
        const outcome = this.#store(writes);
        this.schedule(() => {
          resolve(outcome);
        });
      });
    });
  }

  #store(writes: readonly DurableWrite[]): CommitOutcome {
    if (this.failure !== undefined) return { failure: this.failure };
    this.#version += 1;
    const version = this.#version;
    for (const { table, key, payload, createVersion } of writes) {
      const name = `${table} ${key}`;
      if (payload === undefined) this.rows.delete(name);
      else {
        const versions = { createVersion: createVersion === 0 ? version : createVersion, modifyVersion: version };
        this.rows.set(name, { table, key, payload, ...versions });
      }
    }
    return { version };
  }

  async *load(table: DurableTable, prefix = '', from: string = prefix): AsyncIterable<readonly DurableRow[]> {
    await Promise.resolve();
    if (this.isUnreadable) throw new Error('the store cannot be read');
    const rows = [...this.rows.values()].filter((row) => row.table === table && row.key.startsWith(prefix));
    const sorted = rows.sort((a, b) => compareBytes(a.key, b.key));
    yield sorted.filter(({ key }) => compareBytes(key, from) >= 0);
  }
}
