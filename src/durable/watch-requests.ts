import type { Failure } from '../protocol/errors.ts';
import type { ChangeFeed } from './change-feed.ts';
import type { StoreNotice, StoreReply, StoreRequest } from './commits.ts';

type WatchRequest =
  | Extract<StoreRequest, { readonly kind: 'watch' }>
  | Extract<StoreNotice, { readonly kind: 'unwatch' }>;

export interface WatchRequestsOptions {
  /** Bytes of what is remembered that one turn looks at. */
  readonly scanBytesMax: number;
  /** What one caller watches at most. */
  readonly watchesMax: number;
  readonly reply: (caller: number, reply: StoreReply) => void;
}

/**
 * What callers ask about watches, in the order in which they did. Whoever resumes has what is remembered looked through, so a turn carries out a limited amount: commits do not wait
 * for those who come back together.
 */
export class WatchRequests {
  readonly #options: WatchRequestsOptions;
  #waiting: { readonly caller: number; readonly request: WatchRequest }[] = [];
  #next = 0;

  constructor(options: WatchRequestsOptions) {
    this.#options = options;
  }

  get isIdle(): boolean {
    return this.#next >= this.#waiting.length;
  }

  add(caller: number, request: WatchRequest): void {
    this.#waiting.push({ caller, request });
  }

  /** A caller has gone. */
  forget(caller: number): void {
    this.#waiting = this.#waiting.slice(this.#next).filter((waiting) => waiting.caller !== caller);
    this.#next = 0;
  }

  /** Carries out what a turn has room for. `feed`: undefined: nothing can be watched, for a reason. */
  run(feed: ChangeFeed | undefined, unavailable: () => Failure): void {
    let scannedBytes = 0;
    while (!this.isIdle && scannedBytes < this.#options.scanBytesMax) {
      const { caller, request } = this.#waiting[this.#next]!;
      this.#next += 1;
      if (request.kind === 'unwatch') feed?.unwatch(caller, request.target);
      else if (feed === undefined) this.#refuse(caller, request.request, unavailable());
      else scannedBytes += this.#watch(feed, caller, request);
    }
    if (this.#next * 2 < this.#waiting.length) return;
    this.#waiting = this.#waiting.slice(this.#next);
    this.#next = 0;
  }

  /** Returns how many bytes were looked at. */
  #watch(feed: ChangeFeed, caller: number, request: Extract<WatchRequest, { readonly kind: 'watch' }>): number {
    const { watchesMax: max, reply } = this.#options;
    const { request: number, target, after } = request;
    if (!feed.hasRoom(caller, target, max)) {
      const limit = 'storeWatchesMax';
      const message = `too many keys and prefixes are watched: ${limit} is ${max}`;
      this.#refuse(caller, number, { code: 'limit_exceeded', message, limit, max });
      return 0;
    }
    const { version, changes, scannedBytes } = feed.watch(caller, target, after);
    reply(caller, { kind: 'watching', request: number, version, changes });
    return scannedBytes;
  }

  #refuse(caller: number, request: number, failure: Failure): void {
    this.#options.reply(caller, { kind: 'refused', request, failure });
  }
}
