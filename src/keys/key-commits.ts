import type { StoreRequest } from '../durable/commits.ts';
import type { Failure } from '../protocol/errors.ts';
import { measureGrowth, toWrites } from './key-evaluation.ts';
import type { Changes } from './key-evaluation.ts';
import { refuseLimit } from './key-failures.ts';
import type { KeyTable } from './key-table.ts';
import { describePart } from './key-ticket.ts';
import type { KeyTicket } from './key-ticket.ts';

type Commit = Extract<StoreRequest, { kind: 'commit' }>;

export interface KeyCommitsOptions {
  readonly table: KeyTable;
  readonly limits: {
    readonly keysPerPartitionMax: number;
    readonly keyBytesPerPartitionMax: number;
  };
  readonly ask: (request: StoreRequest) => void;
}

/** Commits of a partition that the store has not answered, and the room that they will take. */
export class KeyCommits {
  readonly #options: KeyCommitsOptions;
  /** By the store's request. */
  readonly #inFlight: Map<number, KeyTicket> = new Map();
  #requests = 0;
  #keysReserved = 0;
  #bytesReserved = 0;

  constructor(options: KeyCommitsOptions) {
    this.#options = options;
  }

  /** The number of another request to the store. */
  nextRequest(): number {
    this.#requests += 1;
    return this.#requests;
  }

  /** Whether there is no room for what would change. */
  refuse(changes: Changes): Failure | undefined {
    if (changes.size === 0) return undefined;
    const { table, limits } = this.#options;
    const { keysPerPartitionMax, keyBytesPerPartitionMax } = limits;
    const { keys, bytes } = measureGrowth(changes, (key) => table.get(key));
    if (keys > 0 && table.size + this.#keysReserved + keys > keysPerPartitionMax) {
      return refuseLimit('keysPerPartitionMax', keysPerPartitionMax);
    }
    if (bytes > 0 && table.bytes + this.#bytesReserved + bytes > keyBytesPerPartitionMax) {
      return refuseLimit('keyBytesPerPartitionMax', keyBytesPerPartitionMax);
    }
    return undefined;
  }

  /** Asks the store to change what a ticket changes, and more. */
  begin(ticket: KeyTicket, changes: Changes, more: Commit['writes']): void {
    const { table } = this.#options;
    const { keys, bytes } = measureGrowth(changes, (key) => table.get(key));
    ticket.growth = { keys: Math.max(0, keys), bytes: Math.max(0, bytes) };
    this.#keysReserved += ticket.growth.keys;
    this.#bytesReserved += ticket.growth.bytes;
    ticket.changes = changes;
    this.#inFlight.set(this.send([...toWrites(changes), ...more], describePart(ticket)), ticket);
  }

  /** Asks the store for a commit whose outcome nobody waits for; returns its number. */
  send(writes: Commit['writes'], joint?: Commit['joint']): number {
    const request = this.nextRequest();
    this.#options.ask({ kind: 'commit', request, writes, ...(joint === undefined ? {} : { joint }) });
    return request;
  }

  /** Whose commit is answered; undefined: nobody waits for it, or it is of the store before. */
  end(request: number): KeyTicket | undefined {
    const ticket = this.#inFlight.get(request);
    if (ticket === undefined) return undefined;
    this.#inFlight.delete(request);
    this.#release(ticket);
    return ticket;
  }

  /** The store has ended: what became of these is not known. */
  abandon(): KeyTicket[] {
    const tickets = [...this.#inFlight.values()];
    this.#inFlight.clear();
    for (const ticket of tickets) this.#release(ticket);
    return tickets;
  }

  #release({ growth }: KeyTicket): void {
    this.#keysReserved -= growth.keys;
    this.#bytesReserved -= growth.bytes;
  }
}
