import type { Instance, ServiceName } from '../protocol/types.ts';
import { Conflation } from './conflation.ts';
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

type Result = IteratorResult<Change, undefined>;

/** One iteration: what it has not seen yet, merged. */
export class Changes implements AsyncIterableIterator<Change, undefined, undefined> {
  readonly #word: (difference: Difference) => Change;
  readonly #noteEnd: (changes: Changes) => void;
  readonly #conflation: Conflation = new Conflation();
  /** Calls of `next` that wait, first come, first served. */
  readonly #waiting: ((result: Result) => void)[] = [];
  #isEnded = false;

  constructor(word: (difference: Difference) => Change, noteEnd: (changes: Changes) => void) {
    this.#word = word;
    this.#noteEnd = noteEnd;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#stop();
    return Promise.resolve();
  }

  next(): Promise<Result> {
    if (!this.#conflation.isEmpty) return Promise.resolve({ done: false, value: this.#word(this.#conflation.take()) });
    if (this.#isEnded) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** The loop was left: nothing is kept for it any more, and a `next` that waits is over. */
  return(): Promise<Result> {
    this.#stop();
    return Promise.resolve({ done: true, value: undefined });
  }

  throw(error: unknown): Promise<Result> {
    this.#stop();
    // As a generator does that does not catch it.
    return Promise.reject(error);
  }

  add(difference: Difference): void {
    this.#conflation.add(difference);
    if (this.#waiting.length > 0 && !this.#conflation.isEmpty) {
      this.#waiting.shift()?.({ done: false, value: this.#word(this.#conflation.take()) });
    }
  }

  /** The subscription is closed: what has not been seen may still be read. */
  end(): void {
    this.#isEnded = true;
    for (const resolve of this.#waiting.splice(0)) resolve({ done: true, value: undefined });
  }

  #stop(): void {
    this.#conflation.take();
    this.end();
    this.#noteEnd(this);
  }
}
