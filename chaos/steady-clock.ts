import type { Stats } from './registry-process.ts';

/** A gap between looks counts for at most this long, in milliseconds. */
const gapMaxMs = 100;
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

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Whether it goes on at present. */
  get isSteady(): boolean {
    return this.#wasReady && this.#expected === undefined;
  }

  expectFault(): void {
    this.#expected = { deaths: this.#deaths, untilMs: performance.now() + faultShowsWithinMs };
  }

  /** The registry has ended. */
  noteEnd(): void {
    this.#wasReady = false;
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
    this.#wasReady = isReady;
    this.#lookedAtMs = atMs;
  }
}
