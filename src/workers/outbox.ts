import { fromFields, fromPartition, isRepeatable } from './messages.ts';
import type { Field, FromPartition, PartitionBatch } from './messages.ts';

/** Shorter texts are only compared with the one before: to look for them would cost more than they do. */
const soughtCharactersMin = 1024;

/** Gathers a partition's records of one turn for one host. Equal texts cross once: a storm of equal lists costs one, also if several kinds of them alternate. */
export class PartitionOutbox {
  #records: Field[] = [];
  #lastText: Field | undefined;
  #lastNumber = 0;
  #textCount = 0;
  #numbers: Map<Field, number> | undefined;

  add(record: FromPartition): void {
    const fields: readonly Field[] = record;
    if (!isRepeatable(record)) {
      for (const field of fields) this.#records.push(field);
      return;
    }
    const last = fields.length - 1;
    for (let i = 0; i < last; i++) this.#records.push(fields[i]!);
    this.#records.push(this.#replace(fields[last] as string));
  }

  /** The turn's records, or undefined if there are none. */
  take(): Field[] | undefined {
    if (this.#records.length === 0) return undefined;
    const records = this.#records;
    this.#records = [];
    this.#lastText = undefined;
    this.#textCount = 0;
    this.#numbers = undefined;
    return records;
  }

  /** The text, or the number of an equal one. */
  #replace(text: string): Field {
    if (text === this.#lastText) return this.#lastNumber;
    const isSought = text.length >= soughtCharactersMin;
    const known = isSought ? this.#numbers?.get(text) : undefined;
    this.#lastText = text;
    this.#lastNumber = known ?? this.#textCount;
    if (known !== undefined) return known;
    if (isSought) this.#numbers = (this.#numbers ?? new Map<Field, number>()).set(text, this.#textCount);
    this.#textCount += 1;
    return text;
  }
}

/** What is said to one host, by the order in which it leaves. */
interface HostOutboxes {
  readonly main: PartitionOutbox;
  readonly last: PartitionOutbox;
}

/**
 * A partition's records of one turn for all hosts, in an order that makes its death harmless wherever it cuts a turn short. That changes have been
 * pushed leaves last: otherwise one host might forget a change that was never pushed to the subscribers of another host.
 */
export class PartitionOutboxes {
  readonly #hosts: Map<number, HostOutboxes> = new Map();

  attach(host: number): void {
    this.#hosts.set(host, { main: new PartitionOutbox(), last: new PartitionOutbox() });
  }

  detach(host: number): void {
    this.#hosts.delete(host);
  }

  add(host: number, record: FromPartition): void {
    const outboxes = this.#hosts.get(host);
    // Its thread has died. What others do to the claims of its sessions meanwhile it sees when it asks for them.
    if (outboxes === undefined) return;
    // With one host, order within the batch is enough.
    if (this.#hosts.size === 1) outboxes.main.add(record);
    else if (record[0] === fromPartition.pushedThrough || isEndOfRecall(record)) outboxes.last.add(record);
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

/** It says, as `settled` does, that others have been notified. */
function isEndOfRecall(record: FromPartition): boolean {
  return record[0] === fromPartition.recalled && record[fromFields.recalled.next] === '';
}
