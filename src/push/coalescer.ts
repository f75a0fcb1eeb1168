/** Between these a window has one of a few lengths, each twice the one before: a queue for each of them will do. */
export interface WindowBounds {
  readonly minMs: number;
  readonly maxMs: number;
}

/** A window in progress. */
interface Window<S> {
  readonly service: S;
  readonly level: number;
  readonly beganAtMs: number;
  readonly endsAtMs: number;
  /** Changes that came while it was open. */
  changes: number;
}

/** A window in which fewer changes came is not worth lengthening, however short it was. */
const busyChangesMin = 8;
/** More than so many changes a millisecond: 500 a second. */
const busyChangesPerMs = 0.5;

/**
 * Decides when changes are pushed (PU2): the first after quiet at the end of the turn it came in; those inside the window that
 * follows, merged, at its end. A service's window is as short as allowed after quiet; it becomes twice as long, up to the upper bound,
 * each time it ends with more than 500 changes a second in it or while hosts are behind with the service's last push, and half as long
 * each time it does not. Milliseconds of a monotonic clock come in as arguments, and never go back.
 */
export class Coalescer<S extends object> {
  readonly #lengths: readonly number[];
  /** Windows by the level of their length. Those of one length end in the order they began. */
  readonly #levels: readonly Set<Window<S>>[];
  readonly #windows: Map<S, Window<S>> = new Map();
  /** Services whose first change after quiet came in this turn. */
  #immediate: Set<S> = new Set();
  /** Services with changes that have not been pushed, by the time of the first of them, which is their order. */
  readonly #unpushed: Map<S, number> = new Map();

  constructor({ minMs, maxMs }: WindowBounds) {
    const lengths = [minMs];
    for (let length = minMs; length < maxMs;) {
      length = Math.min(maxMs, Math.max(1, length * 2));
      lengths.push(length);
    }
    this.#lengths = lengths;
    this.#levels = lengths.map(() => new Set());
  }

  noteChange(service: S, nowMs: number): void {
    const window = this.#windows.get(service);
    if (window === undefined) this.#immediate.add(service);
    else window.changes += 1;
    if (!this.#unpushed.has(service)) this.#unpushed.set(service, nowMs);
  }

  forget(service: S): void {
    this.#immediate.delete(service);
    this.#unpushed.delete(service);
    const window = this.#windows.get(service);
    if (window !== undefined) this.#end(window);
  }

  /**
   * The services to be pushed now; each begins a new window. A window that ends without a change is quiet again. `isBehind`: whether
   * what was pushed of a service at the beginning of its window is still on its way.
   */
  takeDue(nowMs: number, isBehind: (service: S) => boolean): S[] {
    const due = [...this.#immediate];
    const ended = this.#takeEnded(nowMs);
    for (const service of due) this.#begin(service, 0, nowMs);
    this.#immediate = new Set();
    for (const window of ended) {
      const { service, level } = window;
      if (!this.#unpushed.has(service)) continue;
      const grows = isBusy(window, nowMs) || isBehind(service);
      const next = grows ? Math.min(level + 1, this.#lengths.length - 1) : Math.max(level - 1, 0);
      this.#begin(service, next, nowMs);
      due.push(service);
    }
    return due;
  }

  /** All that changed of a service by now has been pushed. */
  notePushed(service: S): void {
    this.#unpushed.delete(service);
  }

  /** Every change that was noted before then has been pushed, and reported by {@link notePushed}. */
  unpushedSince(): number {
    for (const sinceMs of this.#unpushed.values()) return sinceMs;
    return Number.POSITIVE_INFINITY;
  }

  /** When the next window ends, or undefined if none is open. */
  nextDueAt(): number | undefined {
    let next: number | undefined;
    for (const level of this.#levels) {
      for (const { endsAtMs } of level) {
        next = next === undefined ? endsAtMs : Math.min(next, endsAtMs);
        break;
      }
    }
    return next;
  }

  #begin(service: S, level: number, nowMs: number): void {
    const endsAtMs = nowMs + this.#lengths[level]!;
    const window = { service, level, beganAtMs: nowMs, endsAtMs, changes: 0 };
    this.#windows.set(service, window);
    this.#levels[level]!.add(window);
  }

  #end(window: Window<S>): void {
    this.#windows.delete(window.service);
    this.#levels[window.level]!.delete(window);
  }

  #takeEnded(nowMs: number): Window<S>[] {
    const ended: Window<S>[] = [];
    for (const level of this.#levels) {
      for (const window of level) {
        if (window.endsAtMs > nowMs) break;
        ended.push(window);
      }
    }
    for (const window of ended) this.#end(window);
    return ended;
  }
}

function isBusy<S>({ changes, beganAtMs }: Window<S>, nowMs: number): boolean {
  return changes > Math.max(busyChangesMin, (nowMs - beganAtMs) * busyChangesPerMs);
}
