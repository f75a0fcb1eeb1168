import type { WatchedService } from './watched-service.ts';

/**
 * Decides when changes are pushed (PU2): the first after quiet at the end of the turn it came in; those inside the window that
 * follows, merged, at its end. All windows are equally long, so they end in the order they began and a queue is enough.
 * Milliseconds of a monotonic clock come in as arguments.
 */
export class Coalescer {
  readonly #windowMs: number;
  /** Services whose first change after quiet came in this turn. */
  #immediate: Set<WatchedService> = new Set();
  /** Services inside their window, in the order of its end. */
  readonly #waiting: Set<WatchedService> = new Set();

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  noteChange(watched: WatchedService): void {
    if (!this.#waiting.has(watched)) this.#immediate.add(watched);
  }

  forget(watched: WatchedService): void {
    this.#immediate.delete(watched);
    this.#waiting.delete(watched);
  }

  /** The services to be pushed now; each begins a new window. A window that ends without a change is quiet again. */
  takeDue(nowMs: number): WatchedService[] {
    const due = [...this.#immediate];
    this.#immediate = new Set();
    for (const watched of this.#waiting) {
      if (watched.windowEndsAt > nowMs) break;
      this.#waiting.delete(watched);
      if (watched.isDirty) due.push(watched);
    }
    for (const watched of due) {
      watched.windowEndsAt = nowMs + this.#windowMs;
      this.#waiting.add(watched);
    }
    return due;
  }

  /** Every change that was noted by then has been pushed, after {@link takeDue} at `nowMs`. */
  settledAt(nowMs: number): number {
    return nowMs - this.#windowMs;
  }

  /** When the next window ends, or undefined if none is open. */
  nextDueAt(): number | undefined {
    for (const watched of this.#waiting) return watched.windowEndsAt;
    return undefined;
  }
}
