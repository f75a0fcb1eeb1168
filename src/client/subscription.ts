import type { Instance, ServiceName } from '../protocol/types.ts';
import type { SubscriptionEntry } from './books.ts';
import { Conflation } from './conflation.ts';
import { Emitter } from './emitter.ts';
import type { StopListening } from './emitter.ts';
import type { Difference } from './view.ts';

/** What became different in a list. */
export interface Change {
  readonly service: ServiceName;
  /** The version of the list after it. */
  readonly version: number;
  /** Instances that were added or changed, whole. */
  readonly put: readonly Instance[];
  /** Instances that left, as they last were. */
  readonly removed: readonly Instance[];
  /** The whole list after it. */
  readonly instances: readonly Instance[];
}

export interface SubscriptionEvents {
  /** The list is different. Never with nothing in it: what was sent again unchanged is no change. */
  readonly change: Change;
  /** Cut off: the list is the last known one, and changes may be missed until `fresh`. */
  readonly stale: undefined;
  /** The list is current again; changes missed meanwhile have been reported. */
  readonly fresh: undefined;
  /** Closed, by `close` or with the client. */
  readonly close: undefined;
}

/** What {@link Subscription} needs of its client. */
export interface SubscriptionHost {
  release(entry: SubscriptionEntry, subscription: Subscription): void;
}

/**
 * A live view of one service. It keeps serving the last known list while the client is cut off, and says so with `isStale`.
 * `for await (const change of subscription)` goes through changes from then on; a slow reader gets several merged into one.
 */
export class Subscription implements AsyncIterable<Change> {
  readonly #entry: SubscriptionEntry;
  readonly #host: SubscriptionHost;
  readonly #emitter: Emitter<SubscriptionEvents> = new Emitter();
  readonly #readers: Set<Reader> = new Set();
  #isClosed = false;

  constructor(entry: SubscriptionEntry, host: SubscriptionHost) {
    this.#entry = entry;
    this.#host = host;
  }

  get service(): ServiceName {
    return this.#entry.service;
  }

  /** The list as it is known. The same frozen array until something changes. */
  get instances(): readonly Instance[] {
    return this.#entry.view.instances;
  }

  /** The version of the list. */
  get version(): number {
    return this.#entry.view.version ?? 0;
  }

  /** True while the list may be behind: there is no connection, or the list is being fetched again. */
  get isStale(): boolean {
    return this.#isClosed || this.#entry.phase !== 'settled';
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** One instance by its id. */
  get(id: string): Instance | undefined {
    return this.#entry.view.get(id);
  }

  /** Listens to an event; call the result to stop. */
  on<K extends keyof SubscriptionEvents>(name: K, listener: (event: SubscriptionEvents[K]) => void): StopListening {
    return this.#emitter.on(name, listener);
  }

  /** Ends the subscription, and every iteration over it. The list stays as it was. */
  close(): void {
    if (this.#isClosed) return;
    this.end();
    this.#host.release(this.#entry, this);
  }

  /** Iterates over changes from this call on; ends when the subscription is closed. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Change, undefined, undefined> {
    const reader = new Reader();
    // Registered here and not at the first `next`, so that nothing in between is missed.
    this.#readers.add(reader);
    return this.#read(reader);
  }

  async *#read(reader: Reader): AsyncGenerator<Change, undefined, undefined> {
    try {
      for (;;) {
        while (reader.isEmpty && !this.#isClosed) await reader.wait();
        if (reader.isEmpty) return undefined;
        yield this.#word(reader.take());
      }
    } finally {
      this.#readers.delete(reader);
    }
  }

  /** Called by the client. @internal */
  report(difference: Difference): void {
    for (const reader of this.#readers) reader.add(difference);
    this.#emitter.emit('change', this.#word(difference));
  }

  /** Called by the client. @internal */
  reportFreshness(): void {
    this.#emitter.emit(this.isStale ? 'stale' : 'fresh', undefined);
  }

  /** Called by the client when it is itself closed. @internal */
  end(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const reader of this.#readers) reader.wake();
    this.#emitter.emit('close', undefined);
  }

  #word(difference: Difference): Change {
    const put: Instance[] = [];
    const removed: Instance[] = [];
    for (const { before, after } of difference) {
      if (after !== undefined) put.push(after);
      else if (before !== undefined) removed.push(before);
    }
    return { service: this.service, version: this.version, put, removed, instances: this.instances };
  }
}

/** One iteration: what it has not seen yet, merged. */
class Reader {
  readonly #conflation: Conflation = new Conflation();
  #wake: (() => void) | undefined;

  get isEmpty(): boolean {
    return this.#conflation.isEmpty;
  }

  add(difference: Difference): void {
    this.#conflation.add(difference);
    this.wake();
  }

  take(): Difference {
    return this.#conflation.take();
  }

  wait(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  wake(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
