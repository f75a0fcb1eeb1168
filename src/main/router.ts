import type { Failure } from '../protocol/errors.ts';
import type { SlotTable } from '../slots/slot-table.ts';
import { slotOf } from '../slots/slot.ts';
import { fromPartition } from '../workers/messages.ts';
import type { FromPartition, ToPartition } from '../workers/messages.ts';
import type { PartitionLink } from './partition-link.ts';

/** A partition's answer to a request. */
export type Answer = Exclude<
  FromPartition,
  | [typeof fromPartition.push, ...unknown[]]
  | [typeof fromPartition.released, ...unknown[]]
  | [typeof fromPartition.moved, ...unknown[]]
>;

/** What a partition says unasked. */
export type Unasked = Extract<FromPartition, [typeof fromPartition.push | typeof fromPartition.released, ...unknown[]]>;

/**
 * A request under way. An object of its class rather than closures: thousands may be waiting, and closures would keep alive all that
 * their scope holds.
 */
export interface PendingRequest {
  /** The service that it is about; empty if it goes to every partition. */
  readonly key: string;
  /** Its record; built anew when the slot has moved. */
  build(request: number): ToPartition;
  settle(answer: Answer): void;
}

/** How long a caller is asked to wait when a partition's mailbox is full. */
const busyRetryMs = 100;

/** Finds the partition of a service (CRC16 → slot → owner), numbers the requests under way and hands back their answers. */
export class Router {
  readonly #links: readonly PartitionLink[];
  readonly #pending: Map<number, PendingRequest> = new Map();
  readonly #table: SlotTable;
  #lastRequest = 0;

  constructor(table: SlotTable, links: readonly PartitionLink[]) {
    this.#table = table;
    this.#links = links;
  }

  get epoch(): number {
    return this.#table.epoch;
  }

  linkOf(key: string): PartitionLink {
    return this.#links[this.#table.ownerOf(slotOf(key))]!;
  }

  /** Asks the owner of a service. Returns the request's number, or a failure if the owner's mailbox is full: then nothing was sent. */
  ask(pending: PendingRequest): number | Failure {
    const link = this.linkOf(pending.key);
    return link.isFull ? refuseBusy() : this.#send(link, pending);
  }

  /** Asks every partition; the request is settled once by each. */
  askAll(pending: PendingRequest): Failure | undefined {
    if (this.#links.some((link) => link.isFull)) return refuseBusy();
    for (const link of this.#links) this.#send(link, pending);
    return undefined;
  }

  get partitions(): number {
    return this.#links.length;
  }

  tell(key: string, record: ToPartition): void {
    this.linkOf(key).tell(record);
  }

  /** Settles a record that answers a request; returns false for those that a partition sent unasked. */
  settle(record: FromPartition, link: PartitionLink): record is Answer {
    if (record[0] === fromPartition.push || record[0] === fromPartition.released) return false;
    link.settle();
    const request = record[1];
    const pending = this.#pending.get(request);
    if (pending === undefined)
      throw new Error(`partition ${link.partition} answered request ${request}, which is not under way`);
    if (record[0] === fromPartition.moved) {
      // SL2: routed by an older table; the present one says where to.
      const owner = this.linkOf(pending.key);
      owner.request(pending.build(request));
      return true;
    }
    this.#pending.delete(request);
    pending.settle(record);
    return true;
  }

  #send(link: PartitionLink, pending: PendingRequest): number {
    this.#lastRequest += 1;
    const request = this.#lastRequest;
    this.#pending.set(request, pending);
    link.request(pending.build(request));
    return request;
  }
}

function refuseBusy(): Failure {
  return {
    code: 'busy',
    message: 'the partition has too much to do',
    limit: 'mailboxRequestsMax',
    retryAfterMs: busyRetryMs,
  };
}
