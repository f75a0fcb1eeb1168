/**
 * Deadlines in buckets of one tick each: scheduling and expiry cost the same however many wait, and nothing waits on a timer of
 * its own. Pure: time comes in as milliseconds.
 */
export class TimerWheel<T> {
  readonly #tickMs: number;
  readonly #buckets: Map<number, Set<T>> = new Map();
  /** Up to which all buckets are empty. */
  #bucket: number;
  #target: number;

  constructor(tickMs: number, nowMs: number) {
    this.#tickMs = tickMs;
    this.#bucket = Math.floor(nowMs / tickMs);
    this.#target = this.#bucket;
  }

  /** The deadline of some items has come, and they are not taken out yet. */
  get isBehind(): boolean {
    return this.#bucket < this.#target;
  }

  /** The item comes out of the first {@link advance} at or after the deadline, at most one tick late. Returns its place, for {@link cancel}. */
  schedule(item: T, deadlineMs: number): number {
    const bucket = Math.max(this.#target + 1, Math.ceil(deadlineMs / this.#tickMs));
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

  /** Takes out what has come due, the oldest first, and not more than `itemsMax`; the next call gives the rest. */
  advance(nowMs: number, itemsMax: number): T[] {
    const due: T[] = [];
    this.#target = Math.max(this.#target, Math.floor(nowMs / this.#tickMs));
    while (this.isBehind && due.length < itemsMax) {
      const items = this.#buckets.get(this.#bucket + 1);
      for (const item of items ?? []) {
        if (due.length >= itemsMax) return due;
        items?.delete(item);
        due.push(item);
      }
      this.#buckets.delete(this.#bucket + 1);
      this.#bucket += 1;
    }
    return due;
  }
}
