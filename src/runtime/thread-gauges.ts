import { PerformanceObserver, constants, performance } from 'node:perf_hooks';
import type { PerformanceEntry } from 'node:perf_hooks';
import { getHeapStatistics } from 'node:v8';

import { Histogram, timeBounds } from './histogram.ts';

/** Kinds of garbage collection, by the names that metrics have. */
export const gcKinds = ['minor', 'major', 'incremental', 'weak'] as const;
export type GcKind = (typeof gcKinds)[number];

const gcBounds: readonly number[] = [0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5];
export const changeBounds: readonly number[] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
const scalarCount = 11;
const cellCount =
  scalarCount +
  Histogram.cellCount(timeBounds) +
  Histogram.cellCount(changeBounds) +
  gcKinds.length * Histogram.cellCount(gcBounds);

/**
 * Gauges of one thread, in shared memory: the thread writes, and the main thread reads whenever it is asked, so a thread that hangs
 * still shows its last, and one that dies leaves its counts to its next life. A reader may see a histogram with one observation half
 * added; the next reading has it whole.
 */
export class ThreadGauges {
  readonly memory: SharedArrayBuffer;
  readonly eventLoopDelay: Histogram;
  /** Changes of watched services per push. */
  readonly pushChanges: Histogram;
  readonly gc: Readonly<Record<GcKind, Histogram>>;
  readonly #scalars: Float64Array;

  constructor(memory: SharedArrayBuffer = new SharedArrayBuffer(cellCount * Float64Array.BYTES_PER_ELEMENT)) {
    this.memory = memory;
    let at = 0;
    const take = (length: number): Float64Array => {
      const cells = new Float64Array(memory, at * Float64Array.BYTES_PER_ELEMENT, length);
      at += length;
      return cells;
    };
    const histogram = (bounds: readonly number[]): Histogram =>
      new Histogram(bounds, take(Histogram.cellCount(bounds)));
    this.#scalars = take(scalarCount);
    this.eventLoopDelay = histogram(timeBounds);
    this.pushChanges = histogram(changeBounds);
    this.gc = {
      minor: histogram(gcBounds),
      major: histogram(gcBounds),
      incremental: histogram(gcBounds),
      weak: histogram(gcBounds),
    };
  }

  get instances(): number {
    return this.#scalars[0]!;
  }

  get services(): number {
    return this.#scalars[1]!;
  }

  get heapUsedBytes(): number {
    return this.#scalars[2]!;
  }

  get externalBytes(): number {
    return this.#scalars[3]!;
  }

  get busySeconds(): number {
    return this.#scalars[4]!;
  }

  /** Of a partition's journal: its segments, and what waits to be written to them. */
  get journalBytes(): number {
    return this.#scalars[5]!;
  }

  get journalWaitingBytes(): number {
    return this.#scalars[6]!;
  }

  setJournal(bytes: number, waitingBytes: number): void {
    this.#scalars[5] = bytes;
    this.#scalars[6] = waitingBytes;
  }

  /** Of a partition's keys: how many there are, what they take, how many are held, and requests that have not been answered. */
  get keys(): number {
    return this.#scalars[7]!;
  }

  get keyBytes(): number {
    return this.#scalars[8]!;
  }

  get keysHeld(): number {
    return this.#scalars[9]!;
  }

  get keyRequestsWaiting(): number {
    return this.#scalars[10]!;
  }

  setKeys(load: {
    readonly keys: number;
    readonly bytes: number;
    readonly held: number;
    readonly waiting: number;
  }): void {
    this.#scalars[7] = load.keys;
    this.#scalars[8] = load.bytes;
    this.#scalars[9] = load.held;
    this.#scalars[10] = load.waiting;
  }

  setLoad(instances: number, services: number): void {
    this.#scalars[0] = instances;
    this.#scalars[1] = services;
  }

  /** Of the calling thread. */
  setHeap(): void {
    const heap = getHeapStatistics();
    this.#scalars[2] = heap.used_heap_size;
    this.#scalars[3] = heap.external_memory;
  }

  addBusy(seconds: number): void {
    this.#scalars[4]! += seconds;
  }
}

const gcKindOf: ReadonlyMap<number, GcKind> = new Map([
  [constants.NODE_PERFORMANCE_GC_MINOR, 'minor'],
  [constants.NODE_PERFORMANCE_GC_MAJOR, 'major'],
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL, 'incremental'],
  [constants.NODE_PERFORMANCE_GC_WEAKCB, 'weak'],
]);

/** Writes the gauges of the thread that it is made in. A timer that the thread has anyway calls {@link sample}. */
export class ThreadSampler {
  readonly #gauges: ThreadGauges;
  readonly #periodMs: number;
  readonly #observer: PerformanceObserver;
  #lastMs: number = performance.now();
  #lastActiveMs: number = performance.eventLoopUtilization().active;

  /** `periodMs`: of the timer that calls {@link sample}; it is measured by how late that comes. */
  constructor(gauges: ThreadGauges, periodMs: number) {
    this.#gauges = gauges;
    this.#periodMs = periodMs;
    this.#observer = new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        // Node's types lack what its entries have.
        const { detail } = entry as PerformanceEntry & { readonly detail?: { readonly kind?: number } };
        const name = gcKindOf.get(detail?.kind ?? 0);
        if (name !== undefined) gauges.gc[name].observe(entry.duration / 1000);
      }
    });
    this.#observer.observe({ entryTypes: ['gc'] });
    gauges.setHeap();
  }

  sample(): void {
    const nowMs = performance.now();
    this.#gauges.eventLoopDelay.observe(Math.max(0, nowMs - this.#lastMs - this.#periodMs) / 1000);
    this.#lastMs = nowMs;
    const activeMs = performance.eventLoopUtilization().active;
    this.#gauges.addBusy(Math.max(0, activeMs - this.#lastActiveMs) / 1000);
    this.#lastActiveMs = activeMs;
    this.#gauges.setHeap();
  }

  stop(): void {
    this.#observer.disconnect();
  }
}
