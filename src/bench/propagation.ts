import type { Histogram } from 'hdr-histogram-js';

import { createHistogram, recordMs } from './histogram.ts';

/** Changes of one instance that reached readers merged into the last of them. */
interface Run {
  readonly last: number;
  /** From each change to the next of the same instance. */
  readonly step: number;
  readonly count: number;
  readonly firstAtMs: number;
  lastAtMs: number;
  /** How many readers got them, by the time in halves of a millisecond. */
  readonly readers: Map<number, number>;
}

const halvesPerMs = 2;
/** The changes of a longer run are recorded one by one. */
const runMax = 1024;

/** When each event reached its readers: a change of the churn, or an instance that comes or goes. */
export class Propagation {
  readonly firstAtMs: Float64Array;
  readonly lastAtMs: Float64Array;
  readonly deliveries: Uint32Array;
  readonly each: Histogram = createHistogram();
  readonly settled: Promise<void>;
  received = 0;
  slowestMs = 0;
  readonly #runs: Map<number, Run> = new Map();
  readonly #firstEvent: number;
  readonly #intendedAtMs: (event: number) => number;
  #awaited: number = Number.POSITIVE_INFINITY;
  #settle: () => void = () => {};

  constructor(firstEvent: number, events: number, intendedAtMs: (event: number) => number) {
    this.#firstEvent = firstEvent;
    this.#intendedAtMs = intendedAtMs;
    this.firstAtMs = new Float64Array(events).fill(Number.NaN);
    this.lastAtMs = new Float64Array(events).fill(Number.NaN);
    this.deliveries = new Uint32Array(events);
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

  /** How many deliveries are to be expected, all events together. */
  await(count: number): void {
    this.#awaited = count;
    this.#checkSettled();
  }

  record(event: number, atMs: number): void {
    const index = event - this.#firstEvent;
    if (this.deliveries[index] === undefined) return;
    if (this.deliveries[index] === 0) this.firstAtMs[index] = atMs;
    this.deliveries[index] += 1;
    this.lastAtMs[index] = atMs;
    const tookMs = atMs - this.#intendedAtMs(event);
    recordMs(this.each, tookMs);
    if (tookMs > this.slowestMs) this.slowestMs = tookMs;
    this.received += 1;
    this.#checkSettled();
  }

  /**
   * A push brought `count` changes of an instance at once, each `step` after the one before. All readers of a push get the same ones: so they are
   * recorded together, and expanded by {@link finish}, when nobody waits for this process any more.
   */
  recordRun(last: number, step: number, count: number, atMs: number): void {
    if (count === 1 || count > runMax) {
      for (let i = 0; i < count; i++) this.record(last - i * step, atMs);
      return;
    }
    const key = last * (runMax + 1) + count;
    let run = this.#runs.get(key);
    if (run === undefined) {
      run = { last, step, count, firstAtMs: atMs, lastAtMs: atMs, readers: new Map() };
      this.#runs.set(key, run);
    }
    run.lastAtMs = atMs;
    const half = Math.round(atMs * halvesPerMs);
    run.readers.set(half, (run.readers.get(half) ?? 0) + 1);
    this.slowestMs = Math.max(this.slowestMs, atMs - this.#intendedAtMs(last - (count - 1) * step));
    this.received += count;
    this.#checkSettled();
  }

  /** All deliveries are in the figures after this. */
  finish(): void {
    for (const run of this.#runs.values()) this.#expandRun(run);
    this.#runs.clear();
  }

  #expandRun({ last, step, count, firstAtMs, lastAtMs, readers }: Run): void {
    for (let event = last; event > last - count * step; event -= step) {
      const index = event - this.#firstEvent;
      const deliveries = this.deliveries[index];
      if (deliveries === undefined) continue;
      this.firstAtMs[index] = deliveries === 0 ? firstAtMs : Math.min(this.firstAtMs[index]!, firstAtMs);
      this.lastAtMs[index] = deliveries === 0 ? lastAtMs : Math.max(this.lastAtMs[index]!, lastAtMs);
      for (const [half, times] of readers) {
        this.deliveries[index]! += times;
        recordMs(this.each, half / halvesPerMs - this.#intendedAtMs(event), times);
      }
    }
  }

  #checkSettled(): void {
    if (this.received >= this.#awaited) this.#settle();
  }
}
