import type { Stats } from './registry-process.ts';

/** A gap between looks counts for at most this long, in milliseconds. */
const gapMaxMs = 100;
/** How long after a registry is whole, and after a change, all of that is in its journals, in milliseconds; they promise 200, and the machine may be busy. */
const notedWithinMs = 1000;
/** How long a fault may take to show. */
const faultShowsWithinMs = 6000;

/**
 * Time in which the registry could do its work: it stands still while partitions are being rebuilt or slots move, while the registry is down or waits for those who were there
 * before, and while the process or the checker stand still.
 * Whatever must be done within a time is measured by it.
 */
export class SteadyClock {
  #nowMs = 0;
  #lookedAtMs: number = performance.now();
  #wasReady = true;
  #deaths = 0;
  /** A fault that has not shown yet: the deaths there were before, and until when it may. */
  #expected: { deaths: number; untilMs: number } | undefined;
  /** Since when the registry has been whole. */
  #wholeSinceMs: number = performance.now();
  /** Before it was whole, what was answered from then on may not have been in its journals. */
  #doubtfulFromMs: number = performance.now();

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Whether it goes on at present. */
  get isSteady(): boolean {
    return this.#wasReady && this.#expected === undefined;
  }

  /**
   * If the registry ends now, its next life may not know what was answered from then on (WS1), on the clock of `performance.now()`. A partition that has just died, or is about to, has
   * written nothing meanwhile; one that is stopped in order writes all that it has.
   */
  lostFromMs(isInOrder: boolean): number {
    if (!this.isSteady || this.#lookedAtMs - this.#wholeSinceMs < notedWithinMs) return this.#doubtfulFromMs;
    return isInOrder ? Number.POSITIVE_INFINITY : this.#lookedAtMs - notedWithinMs;
  }

  expectFault(): void {
    this.#noteBroken();
    this.#expected = { deaths: this.#deaths, untilMs: performance.now() + faultShowsWithinMs };
  }

  /** The registry has ended. */
  noteEnd(): void {
    this.#wasReady = false;
    this.#doubtfulFromMs = performance.now();
    this.#wholeSinceMs = Number.POSITIVE_INFINITY;
    this.#deaths = 0;
    this.#expected = undefined;
  }

  look({ partitions, counters, warming, move }: Stats): void {
    const atMs = performance.now();
    this.#deaths = counters['partition_died'] ?? 0;
    if (this.#expected !== undefined && (this.#deaths > this.#expected.deaths || atMs > this.#expected.untilMs)) {
      this.#expected = undefined;
    }
    const isReady = !warming && this.#expected === undefined && partitions.every(({ state }) => state === 'ready');
    // Slots on their way are frozen, too.
    if (isReady && this.#wasReady && !move.isRunning) this.#nowMs += Math.min(atMs - this.#lookedAtMs, gapMaxMs);
    if (!isReady) this.#noteBroken();
    else if (this.#wholeSinceMs === Number.POSITIVE_INFINITY) this.#wholeSinceMs = atMs;
    this.#wasReady = isReady;
    this.#lookedAtMs = atMs;
  }

  /** It is not whole, since the last look at the earliest. */
  #noteBroken(): void {
    const wasNoted = this.#lookedAtMs - this.#wholeSinceMs >= notedWithinMs;
    if (wasNoted) this.#doubtfulFromMs = this.#lookedAtMs - notedWithinMs;
    this.#wholeSinceMs = Number.POSITIVE_INFINITY;
  }
}
