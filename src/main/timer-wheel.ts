/**
 * Deadlines in buckets of one tick each: scheduling and expiry cost the same however many wait, and nothing waits on a timer of
 * its own. Pure: time comes in as milliseconds.
 */
export class TimerWheel<T> {
  readonly #tickMs: number;
  readonly #buckets: Map<number, Set<T>> = new Map();
  #bucket: number;

  constructor(tickMs: number, nowMs: number) {
    this.#tickMs = tickMs;
    this.#bucket = Math.floor(nowMs / tickMs);
  }

  /** The item comes out of the first {@link advance} at or after the deadline, at most one tick late. Returns its place, for {@link cancel}. */
  schedule(item: T, deadlineMs: number): number {
    const bucket = Math.max(this.#bucket + 1, Math.ceil(deadlineMs / this.#tickMs));
    const items = this.#buckets.get(bucket);
    if (items === undefined) this.#buckets.set(bucket, new Set([item]));
    else items.add(item);
    return bucket;
  }

  /** The item does not come out of that place any more; it keeps nothing alive. One that has come out already is none. */
  cancel(item: T, place: number): void {
    const items = this.#buckets.get(place);
    if (items?.delete(item) === true && items.size === 0) this.#buckets.delete(place);
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
