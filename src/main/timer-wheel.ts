/**
 * Deadlines in buckets of one tick each: scheduling and expiry cost the same however many wait, and nothing waits on a timer of
 * its own. Pure: time comes in as milliseconds. An item may be scheduled more than once; whoever takes it checks what is due.
 */
export class TimerWheel<T> {
  readonly #tickMs: number;
  readonly #buckets: Map<number, Set<T>> = new Map();
  #bucket: number;

  constructor(tickMs: number, nowMs: number) {
    this.#tickMs = tickMs;
    this.#bucket = Math.floor(nowMs / tickMs);
  }

  /** The item comes out of the first {@link advance} at or after the deadline, at most one tick late. */
  schedule(item: T, deadlineMs: number): void {
    const bucket = Math.max(this.#bucket + 1, Math.ceil(deadlineMs / this.#tickMs));
    const items = this.#buckets.get(bucket);
    if (items === undefined) this.#buckets.set(bucket, new Set([item]));
    else items.add(item);
  }

  /** Takes out everything whose deadline has come. */
  advance(nowMs: number): T[] {
    const due: T[] = [];
    const target = Math.floor(nowMs / this.#tickMs);
    while (this.#bucket < target) {
      this.#bucket += 1;
      const items = this.#buckets.get(this.#bucket);
      if (items === undefined) continue;
      this.#buckets.delete(this.#bucket);
      // Not spread into one call: there may be more of them than a call takes arguments.
      for (const item of items) due.push(item);
    }
    return due;
  }
}
