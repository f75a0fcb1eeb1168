import { Histogram, timeBounds } from '../runtime/histogram.ts';

/** Deaths of partitions, and how long it took until they served again. */
export class PartitionLives {
  readonly deaths: Map<number, number> = new Map();
  readonly rebuildSeconds: Histogram = new Histogram(timeBounds);
  readonly #diedAtMs: Map<number, number> = new Map();

  note(partition: number, turn: 'died' | 'rebuilt', nowMs: number): void {
    const diedAtMs = this.#diedAtMs.get(partition);
    if (turn === 'died') {
      this.deaths.set(partition, (this.deaths.get(partition) ?? 0) + 1);
      // If it dies again before it serves, it has been away since the first time.
      if (diedAtMs === undefined) this.#diedAtMs.set(partition, nowMs);
    } else if (diedAtMs !== undefined) {
      this.#diedAtMs.delete(partition);
      this.rebuildSeconds.observe((nowMs - diedAtMs) / 1000);
    }
  }
}
