/** Bounds for times, in seconds: 0.1 ms to 10 s. */
export const timeBounds: readonly number[] = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];

/**
 * A histogram with fixed bounds over plain numbers: observing costs some nanoseconds and allocates nothing. Given an array of shared
 * memory, one thread observes and another reads.
 */
export class Histogram {
  readonly bounds: readonly number[];
  /** How many fell into each bucket, the last one without a bound, and then the sum of all. */
  readonly cells: Float64Array;

  constructor(bounds: readonly number[], cells: Float64Array = new Float64Array(Histogram.cellCount(bounds))) {
    this.bounds = bounds;
    this.cells = cells;
  }

  static cellCount(bounds: readonly number[]): number {
    return bounds.length + 2;
  }

  get sum(): number {
    return this.cells[this.bounds.length + 1] ?? 0;
  }

  observe(value: number): void {
    const { bounds, cells } = this;
    let bucket = 0;
    while (bucket < bounds.length && value > bounds[bucket]!) bucket += 1;
    cells[bucket]! += 1;
    cells[bounds.length + 1]! += value;
  }

  /** Adds what another one with the same bounds holds. */
  add(cells: Float64Array): void {
    for (let i = 0; i < this.cells.length; i++) this.cells[i]! += cells[i] ?? 0;
  }
}
