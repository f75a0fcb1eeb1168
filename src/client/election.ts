import { Emitter } from './emitter.ts';
import type { StopListening } from './emitter.ts';
import { ClosedError, LockHeldError, LockLostError, SlotcastError } from './errors.ts';
import type { KeyEntry, KeyValue, LockOptions } from './key-types.ts';
import type { Lock } from './lock.ts';

export interface ElectOptions extends Omit<LockOptions, 'timeoutMs'> {
  /** What the leader says of itself, for those who follow: an address, for example. */
  readonly value?: KeyValue;
  /** Ends the campaign, like `resign`. */
  readonly signal?: AbortSignal;
}

export interface ElectionEvents {
  /** This client leads now, until the lock's signal is aborted: with a `LockLostError` when leading was lost, otherwise when it was ended. */
  readonly elected: Lock;
  /** It does not lead any more; the campaign goes on. */
  readonly lost: SlotcastError;
  /** Who leads by now, this client or another, by what it says in the key; undefined: nobody. */
  readonly leader: KeyEntry | undefined;
  /** The registry refuses the campaign; it is tried again. */
  readonly refused: SlotcastError;
}

/** What {@link Election} needs of its client. */
export interface ElectionHost {
  lock(key: string, options: LockOptions): Promise<Lock>;
  follow(key: string, signal: AbortSignal): AsyncIterable<KeyEntry | undefined>;
  /** How long to wait after the registry has refused a campaign, in milliseconds. */
  readonly retryMs: number;
}

/** One wait for the key; after it the next begins, without losing anything. In milliseconds. */
const campaignMs = 3_600_000;

/** A campaign for leadership: whoever holds the key leads. It goes on, also after leading was lost, until it is ended. */
export class Election implements AsyncDisposable {
  readonly #key: string;
  readonly #host: ElectionHost;
  readonly #emitter: Emitter<ElectionEvents> = new Emitter();
  readonly #ended: AbortController = new AbortController();
  readonly #finished: Promise<void>;
  #lock: Lock | undefined;
  #leader: KeyEntry | undefined;
  /** Since the campaign has ended. */
  #released: Promise<void> | undefined;
  #unreleased: SlotcastError | undefined;

  constructor(key: string, { signal, ...options }: ElectOptions, host: ElectionHost) {
    this.#key = key;
    this.#host = host;
    const end = (): void => {
      this.#ended.abort(signal?.reason);
    };
    if (signal?.aborted === true) end();
    signal?.addEventListener('abort', end, { once: true });
    this.#finished = this.#run(options).finally(() => {
      signal?.removeEventListener('abort', end);
    });
  }

  get key(): string {
    return this.#key;
  }

  get isLeader(): boolean {
    return this.#lock?.isHeld ?? false;
  }

  /** What this client leads by: its fencing number, and the signal that ends it. Undefined while it does not lead. */
  get lock(): Lock | undefined {
    return this.isLeader ? this.#lock : undefined;
  }

  /** Who leads, this client or another, as far as is known. */
  get leader(): KeyEntry | undefined {
    return this.#leader;
  }

  /** Listens to an event; call the result to stop. */
  on<K extends keyof ElectionEvents>(name: K, listener: (event: ElectionEvents[K]) => void): StopListening {
    return this.#emitter.on(name, listener);
  }

  /** Ends the campaign, and leading, at once as far as this client is concerned. Resolves when the key is released, like `release` of a lock. */
  async resign(): Promise<void> {
    this.#ended.abort();
    await this.#finished;
    if (this.#unreleased !== undefined) throw this.#unreleased;
  }

  /** Like `resign`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.resign();
  }

  async #run(options: Omit<ElectOptions, 'signal'>): Promise<void> {
    await Promise.all([this.#campaign(options), this.#follow()]);
  }

  async #campaign(options: Omit<ElectOptions, 'signal'>): Promise<void> {
    const { signal } = this.#ended;
    while (!signal.aborted) {
      try {
        this.#lock = await this.#host.lock(this.#key, { ...options, signal, timeoutMs: campaignMs });
      } catch (error) {
        if (signal.aborted || error instanceof ClosedError) return;
        if (!(error instanceof SlotcastError)) throw error;
        if (error instanceof LockHeldError) continue;
        this.#emitter.emit('refused', error);
        await waitUnless(signal, this.#host.retryMs);
        continue;
      }
      await this.#lead(this.#lock);
    }
  }

  async #follow(): Promise<void> {
    const { signal } = this.#ended;
    while (!signal.aborted) {
      try {
        for await (const entry of this.#host.follow(this.#key, signal)) this.#noteLeader(entry);
        // The client was closed, or the campaign is over.
        return;
      } catch (error) {
        if (signal.aborted || error instanceof ClosedError) return;
        if (!(error instanceof SlotcastError)) throw error;
        this.#emitter.emit('refused', error);
        await waitUnless(signal, this.#host.retryMs);
      }
    }
  }

  #noteLeader(entry: KeyEntry | undefined): void {
    const leader = entry?.holder === undefined ? undefined : entry;
    const before = this.#leader;
    if (leader?.fence === before?.fence && leader?.modifyVersion === before?.modifyVersion) return;
    this.#leader = leader;
    this.#emitter.emit('leader', leader);
  }

  async #lead(lock: Lock): Promise<void> {
    const { signal } = lock;
    const ended = this.#ended.signal;
    lock.endByRelease();
    const end = (): void => {
      this.#released = this.#release(lock);
    };
    if (ended.aborted) end();
    else {
      ended.addEventListener('abort', end, { once: true });
      this.#emitter.emit('elected', lock);
      // By a loss, by `end`, or since a listener has released it.
      await untilAborted(signal);
      ended.removeEventListener('abort', end);
    }
    if (signal.reason instanceof LockLostError) this.#emitter.emit('lost', signal.reason);
    else await (this.#released ?? this.#release(lock));
  }

  /** The client goes on trying if it is not known to be released; who resigns is told. */
  async #release(lock: Lock): Promise<void> {
    try {
      await lock.release();
      this.#unreleased = undefined;
    } catch (error) {
      if (!(error instanceof SlotcastError)) throw error;
      this.#unreleased = error;
    }
  }
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener(
      'abort',
      () => {
        resolve();
      },
      { once: true },
    );
  });
}

function waitUnless(signal: AbortSignal, ms: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(finish, ms);
    function finish(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', finish);
      resolve();
    }
    if (signal.aborted) finish();
    signal.addEventListener('abort', finish, { once: true });
  });
}
