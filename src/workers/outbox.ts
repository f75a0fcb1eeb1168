import { isRepeatable } from './messages.ts';
import type { Field, FromPartition } from './messages.ts';

/** Gathers a partition's records of one turn for one host. A text equal to the one before crosses once: a storm of equal snapshots costs one. */
export class PartitionOutbox {
  #records: Field[] = [];
  #lastText: Field = '';

  add(record: FromPartition): void {
    const fields: readonly Field[] = record;
    if (!isRepeatable(record)) {
      for (const field of fields) this.#records.push(field);
      return;
    }
    const last = fields.length - 1;
    for (let i = 0; i < last; i++) this.#records.push(fields[i]!);
    const text = fields[last]!;
    this.#records.push(text === this.#lastText ? null : text);
    this.#lastText = text;
  }

  /** The turn's records, or undefined if there are none. */
  take(): Field[] | undefined {
    if (this.#records.length === 0) return undefined;
    const records = this.#records;
    this.#records = [];
    this.#lastText = '';
    return records;
  }
}
