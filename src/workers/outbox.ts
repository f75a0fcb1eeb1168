import { fromPartition, isRepeatable } from './messages.ts';
import type { Field, FromPartition, PartitionBatch } from './messages.ts';

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

/** What is said to one host, by the order in which it leaves. */
interface HostOutboxes {
  readonly main: PartitionOutbox;
  readonly last: PartitionOutbox;
}

/**
 * A partition's records of one turn for all hosts, in an order that makes its death harmless wherever it cuts a turn short. That changes have been
 * pushed leaves last: else one host might forget a change of which the subscribers of another host were never told.
 */
export class PartitionOutboxes {
  readonly #hosts: Map<number, HostOutboxes> = new Map();

  attach(host: number): void {
    this.#hosts.set(host, { main: new PartitionOutbox(), last: new PartitionOutbox() });
  }

  add(host: number, record: FromPartition): void {
    const outboxes = this.#hosts.get(host);
    if (outboxes === undefined) throw new Error(`no session host ${host}`);
    // With one host, order within the batch is enough.
    if (this.#hosts.size === 1) outboxes.main.add(record);
    else if (record[0] === fromPartition.settled) outboxes.last.add(record);
    else outboxes.main.add(record);
  }

  /** Hands over everything, batch by batch, in the order in which it is to be posted. */
  take(post: (host: number, batch: PartitionBatch) => void): void {
    for (const order of ['main', 'last'] as const) {
      for (const [host, outboxes] of this.#hosts) {
        const batch = outboxes[order].take();
        if (batch !== undefined) post(host, batch);
      }
    }
  }
}
