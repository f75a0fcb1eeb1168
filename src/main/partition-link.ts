import type { Field, FromPartition, HostBatch, PartitionBatch, ToPartition } from '../workers/messages.ts';
import { forEachFromPartition } from '../workers/messages.ts';

/** What a link needs of a MessagePort. */
export interface MailboxPort {
  on(event: 'message', take: (batch: PartitionBatch) => void): unknown;
  postMessage(batch: HostBatch): void;
  close(): void;
}

export interface PartitionLinkOptions {
  readonly partition: number;
  readonly port: MailboxPort;
  /** Requests not yet answered; beyond it the partition is busy. */
  readonly requestsMax: number;
  readonly readEpoch: () => number;
  /** Runs a task once all sockets of this turn have been read. */
  readonly schedule: (task: () => void) => void;
  readonly onRecord: (record: FromPartition, link: PartitionLink) => void;
  /** All records of a turn have been handed over. */
  readonly onTurnEnd: () => void;
}

/** A session host's mailbox to one partition: one message per turn each way, in order, bounded by requests under way. */
export class PartitionLink {
  readonly partition: number;
  readonly #options: PartitionLinkOptions;
  #records: Field[] = [];
  #requests = 0;
  #isFlushScheduled = false;

  constructor(options: PartitionLinkOptions) {
    this.partition = options.partition;
    this.#options = options;
    options.port.on('message', (batch: PartitionBatch) => {
      forEachFromPartition(batch, (record) => {
        options.onRecord(record, this);
      });
      options.onTurnEnd();
    });
  }

  get isFull(): boolean {
    return this.#requests >= this.#options.requestsMax;
  }

  get requestsInFlight(): number {
    return this.#requests;
  }

  /** Sends what will be answered; the caller has looked at {@link isFull}. */
  request(record: ToPartition): void {
    this.#requests += 1;
    this.tell(record);
  }

  /** Sends what has no answer. */
  tell(record: ToPartition): void {
    const fields: readonly Field[] = record;
    for (const field of fields) this.#records.push(field);
    if (this.#isFlushScheduled) return;
    this.#isFlushScheduled = true;
    // Of the first record: a table that changes within the turn makes later records look older than they are, which only costs a check.
    const epoch = this.#options.readEpoch();
    this.#options.schedule(() => {
      this.#flush(epoch);
    });
  }

  /** An answer came. */
  settle(): void {
    this.#requests -= 1;
  }

  close(): void {
    this.#options.port.close();
  }

  #flush(epoch: number): void {
    this.#isFlushScheduled = false;
    const records = this.#records;
    this.#records = [];
    this.#options.port.postMessage({ epoch, records } satisfies HostBatch);
  }
}
