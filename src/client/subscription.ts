import type { Instance, ServiceName } from '../protocol/types.ts';
import { Changes } from './changes.ts';
import type { Change } from './changes.ts';
import { Emitter } from './emitter.ts';
import type { StopListening } from './emitter.ts';
import type { FilteredView } from './entries.ts';
import type { CallOptions } from './options.ts';
import type { Difference } from './view.ts';

export interface SubscriptionEvents {
  /** The list has changed. Never empty: what was sent again unchanged is not a change. */
  readonly change: Change;
  /** From now on the list may be out of date: changes may be missed until `fresh`. */
  readonly stale: undefined;
  /** The list is current again; changes that were missed have been reported. */
  readonly fresh: undefined;
  /** Closed, by `close` or with the client. */
  readonly close: undefined;
}

/** What {@link Subscription} needs of its client. */
export interface SubscriptionHost {
  release(view: FilteredView, subscription: Subscription): void;
  whenApplied(view: FilteredView, options: CallOptions): Promise<void>;
}

/**
 * A live view of one service. While the client is disconnected it keeps the last known list, and `isStale` is true.
 * `for await (const change of subscription)` iterates over changes from then on; a slow consumer gets several merged into one.
 */
export class Subscription implements AsyncIterable<Change>, Disposable, AsyncDisposable {
  readonly #view: FilteredView;
  readonly #host: SubscriptionHost;
  readonly #emitter: Emitter<SubscriptionEvents> = new Emitter();
  readonly #changes: Set<Changes> = new Set();
  #isClosed = false;

  constructor(view: FilteredView, host: SubscriptionHost) {
    this.#view = view;
    this.#host = host;
  }

  get service(): ServiceName {
    return this.#view.entry.service;
  }

  /** The list as far as it is known. The same frozen array of frozen objects until something changes. */
  get instances(): readonly Instance[] {
    return this.#view.instances;
  }

  /**
   * Those of `instances` that are known from before the client moved to another registry, or before the registry restarted, and
   * that it has not reported since. They are removed once it has as many as were known, or after `confirmWithinMs`.
   */
  get unconfirmed(): readonly Instance[] {
    return this.#view.unconfirmed;
  }

  /** The version of the list. */
  get version(): number {
    return this.#view.version ?? 0;
  }

  /** True while the list may be out of date: there is no connection, the list is being fetched again, or part of it is unconfirmed. */
  get isStale(): boolean {
    return this.#isClosed || this.#view.isStale;
  }

  /** True while an operator keeps the service switched off: that is why the list is empty, whatever is registered. */
  get isSwitchedOff(): boolean {
    return this.#view.entry.isSwitchedOff;
  }

  /** True until there is a first list: only subscriptions with `standing` start this way. */
  get isPending(): boolean {
    return this.#view.version === undefined;
  }

  /** Resolves when there is a first list, at once if there is one. Rejects like a call, without affecting the subscription. */
  whenApplied(options: CallOptions = {}): Promise<void> {
    return this.#host.whenApplied(this.#view, options);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** One instance by its id. */
  get(id: string): Instance | undefined {
    return this.#view.get(id);
  }

  /** Listens to an event; call the result to stop. */
  on<K extends keyof SubscriptionEvents>(name: K, listener: (event: SubscriptionEvents[K]) => void): StopListening {
    return this.#emitter.on(name, listener);
  }

  /** Ends the subscription, and every iteration over it. The list stays as it was. */
  close(): void {
    if (this.#isClosed) return;
    this.end();
    this.#host.release(this.#view, this);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  /** Iterates over changes from this call on; ends when the subscription is closed, or the iterator's `return` is called. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Change, undefined, undefined> {
    const changes = new Changes(
      (difference) => this.#word(difference),
      (ended) => this.#changes.delete(ended),
    );
    // Here and not at the first `next`, so that nothing in between is missed.
    if (this.#isClosed) changes.end();
    else this.#changes.add(changes);
    return changes;
  }

  /** Called by the client. @internal */
  report(difference: Difference): void {
    for (const changes of this.#changes) changes.add(difference);
    this.#emitter.emit('change', this.#word(difference));
  }

  /** Called by the client. @internal */
  reportFreshness(isStale: boolean): void {
    this.#emitter.emit(isStale ? 'stale' : 'fresh', undefined);
  }

  /** Called by the client when it is itself closed. @internal */
  end(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const changes of this.#changes) changes.end();
    this.#changes.clear();
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
