import type { KeyUpdate, KeyWatchEvent } from './key-types.ts';

type Result = IteratorResult<KeyWatchEvent, undefined>;

/** Values that nobody has read yet, with what they take besides: beyond it they are dropped, and there is a resync instead. */
const unreadBytesMax = 16_777_216;
const updateBytes = 200;

/** What {@link KeyWatch} needs of its client. */
export interface KeyWatchHost {
  /** All changes through here have been told. */
  readVersion(): number;
  close(): void;
}

/** What is known of a watch and has not been read yet. */
interface Unread {
  /** Changes through here are missing: what is watched must be read. */
  resyncAt: number | undefined;
  updates: KeyUpdate[];
  bytes: number;
  version: number;
}

/**
 * Changes of keys, each once and in the order of commits, from when it began until it is closed, also across reconnects: `for await (const event of watch)`. Whoever reads too slowly, or was away
 * for too long, gets an event `resync` in place of those that are missing.
 */
export class KeyWatch implements AsyncIterableIterator<KeyWatchEvent, undefined, undefined> {
  readonly #host: KeyWatchHost;
  /** Calls of `next` that wait, first come, first served. */
  readonly #waiting: ((result: Result) => void)[] = [];
  #unread: Unread | undefined;
  #isClosed = false;

  constructor(host: KeyWatchHost) {
    this.#host = host;
  }

  /** All changes through this commit have been told, or wait to be read. Watching again from it, also by another client, misses nothing. */
  get version(): number {
    return this.#host.readVersion();
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<Result> {
    const event = this.#take();
    if (event !== undefined) return Promise.resolve({ done: false, value: event });
    if (this.#isClosed) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** The loop was left. */
  return(): Promise<Result> {
    this.close();
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Ends the watch, and every iteration over it. */
  close(): void {
    if (this.#isClosed) return;
    this.end();
    this.#unread = undefined;
    this.#host.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  /** Called by the client. Undefined: some changes are not known. @internal */
  add(version: number, updates: readonly KeyUpdate[] | undefined): void {
    if (this.#isClosed) return;
    const unread = (this.#unread ??= { resyncAt: undefined, updates: [], bytes: 0, version });
    unread.version = version;
    for (const { key, entry } of updates ?? []) unread.bytes += updateBytes + key.length + (entry?.value.length ?? 0);
    if (updates === undefined || unread.bytes > unreadBytesMax) {
      this.#unread = { resyncAt: version, updates: [], bytes: 0, version };
    } else for (const update of updates) unread.updates.push(update);
    while (this.#waiting.length > 0) {
      const event = this.#take();
      if (event === undefined) return;
      this.#waiting.shift()?.({ done: false, value: event });
    }
  }

  /** Called by the client when it is itself closed: what has not been read may still be. @internal */
  end(): void {
    this.#isClosed = true;
    for (const resolve of this.#waiting.splice(0)) resolve({ done: true, value: undefined });
  }

  #take(): KeyWatchEvent | undefined {
    const unread = this.#unread;
    if (unread === undefined) return undefined;
    const { resyncAt, updates, version } = unread;
    if (resyncAt !== undefined) {
      unread.resyncAt = undefined;
      if (updates.length === 0) this.#unread = undefined;
      return { kind: 'resync', version: resyncAt };
    }
    this.#unread = undefined;
    return { kind: 'changes', version, updates };
  }
}
