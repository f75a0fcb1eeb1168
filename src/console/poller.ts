import { useEffect, useState } from 'preact/hooks';

import { ApiError } from './api.ts';
import { isSigningIn } from './credentials.ts';

export interface Polled<T> {
  readonly value: T | undefined;
  readonly error: ApiError | undefined;
}

/** An answer that took long is asked for so many times its duration later: the page must not be a load. */
const restPerWork = 20;

/** Reads something again and again while somebody looks at it and the page is visible; all who look share what is read. */
export class Poller<T> {
  readonly #read: () => Promise<T>;
  readonly #intervalMs: () => number;
  readonly #listeners: Set<() => void> = new Set();
  #state: Polled<T> = { value: undefined, error: undefined };
  #timer: number | undefined;
  #isReading = false;
  /** Something has changed since the read under way began. */
  #isOutdated = false;

  constructor(read: () => Promise<T>, intervalMs: number | (() => number)) {
    this.#read = read;
    this.#intervalMs = typeof intervalMs === 'number' ? () => intervalMs : intervalMs;
  }

  get state(): Polled<T> {
    return this.#state;
  }

  watch(listener: () => void): () => void {
    this.#listeners.add(listener);
    if (this.#listeners.size === 1) this.refresh();
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) clearTimeout(this.#timer);
    };
  }

  /** As if nothing had ever been read. */
  forget(): void {
    this.#state = { value: undefined, error: undefined };
    if (this.#listeners.size > 0) this.refresh();
  }

  /** Reads at once. */
  refresh(): void {
    this.#isOutdated = true;
    clearTimeout(this.#timer);
    if (!this.#isReading) void this.#run();
  }

  async #run(): Promise<void> {
    this.#isReading = true;
    this.#isOutdated = false;
    const startedAt = performance.now();
    try {
      this.#state = { value: await this.#read(), error: undefined };
    } catch (error) {
      const failure = error instanceof ApiError ? error : new ApiError(String(error), undefined);
      this.#state = { value: this.#state.value, error: failure };
    }
    this.#isReading = false;
    for (const listener of this.#listeners) listener();
    if (this.#listeners.size === 0) return;
    const tookMs = performance.now() - startedAt;
    this.#schedule(this.#isOutdated ? 0 : Math.max(this.#intervalMs(), tookMs * restPerWork));
  }

  #schedule(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (document.hidden || isSigningIn()) this.#schedule(1000);
      else void this.#run();
    }, ms) as unknown as number;
  }
}

export function usePoller<T>(poller: Poller<T>): Polled<T> {
  const [, setTurn] = useState(0);
  useEffect(
    () =>
      poller.watch(() => {
        setTurn((turn) => turn + 1);
      }),
    [poller],
  );
  return poller.state;
}
