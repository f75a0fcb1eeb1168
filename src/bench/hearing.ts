import type { Histogram } from 'hdr-histogram-js';

import { createHistogram, recordMs } from './histogram.ts';

/** Notes when readers hear of each event: a change of the churn, or an instance that comes or goes. */
export class Hearing {
  readonly firstAtMs: Float64Array;
  readonly lastAtMs: Float64Array;
  readonly heard: Uint32Array;
  readonly each: Histogram = createHistogram();
  readonly settled: Promise<void>;
  received = 0;
  slowestMs = 0;
  readonly #firstEvent: number;
  readonly #intendedAtMs: (event: number) => number;
  #awaited: number = Number.POSITIVE_INFINITY;
  #settle: () => void = () => {};

  constructor(firstEvent: number, events: number, intendedAtMs: (event: number) => number) {
    this.#firstEvent = firstEvent;
    this.#intendedAtMs = intendedAtMs;
    this.firstAtMs = new Float64Array(events).fill(Number.NaN);
    this.lastAtMs = new Float64Array(events).fill(Number.NaN);
    this.heard = new Uint32Array(events);
    this.settled = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  get firstEvent(): number {
    return this.#firstEvent;
  }

  intendedAtMs(event: number): number {
    return this.#intendedAtMs(event);
  }

  /** So many hearings are to be expected, all events together. */
  await(count: number): void {
    this.#awaited = count;
    this.#look();
  }

  hear(event: number, atMs: number): void {
    const index = event - this.#firstEvent;
    if (this.heard[index] === undefined) return;
    if (this.heard[index] === 0) this.firstAtMs[index] = atMs;
    this.heard[index] += 1;
    this.lastAtMs[index] = atMs;
    const tookMs = atMs - this.#intendedAtMs(event);
    recordMs(this.each, tookMs);
    if (tookMs > this.slowestMs) this.slowestMs = tookMs;
    this.received += 1;
    this.#look();
  }

  #look(): void {
    if (this.received >= this.#awaited) this.#settle();
  }
}
