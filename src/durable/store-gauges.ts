import { Histogram, timeBounds } from '../runtime/histogram.ts';

const commitBounds: readonly number[] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
const scalarCount = 3;
const cellCount = scalarCount + Histogram.cellCount(timeBounds) + Histogram.cellCount(commitBounds);

/** Gauges of the store in shared memory: its thread writes, the main thread reads, and they continue from one life of the thread to the next. */
export class StoreGauges {
  readonly memory: SharedArrayBuffer;
  /** Seconds from when a group began to be stored until it was on disk. */
  readonly groupSeconds: Histogram;
  /** Commits per group. */
  readonly groupCommits: Histogram;
  readonly #scalars: Float64Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(cellCount * Float64Array.BYTES_PER_ELEMENT)) {
    this.memory = memory;
    let at = 0;
    const take = (length: number): Float64Array => {
      const cells = new Float64Array(memory, at * Float64Array.BYTES_PER_ELEMENT, length);
      at += length;
      return cells;
    };
    this.#scalars = take(scalarCount);
    this.groupSeconds = new Histogram(timeBounds, take(Histogram.cellCount(timeBounds)));
    this.groupCommits = new Histogram(commitBounds, take(Histogram.cellCount(commitBounds)));
  }

  /** Bytes of commits that have been stored. */
  get storedBytes(): number {
    return this.#scalars[0]!;
  }

  /** Commits that could not be stored. */
  get failedCommits(): number {
    return this.#scalars[1]!;
  }

  /** Bytes that the rows take. */
  get usedBytes(): number {
    return this.#scalars[2]!;
  }

  addStored(bytes: number): void {
    this.#scalars[0]! += bytes;
  }

  addFailed(commits: number): void {
    this.#scalars[1]! += commits;
  }

  setUsed(bytes: number): void {
    this.#scalars[2] = bytes;
  }
}
