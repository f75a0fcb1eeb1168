import type { ServerConfig } from '../config/config.ts';

/** What the threads of a server share about connections that are being made: one of these for each, over the same memory. */
export const arrivalsBytes = 16;

/** Places of 32 bits; the time takes the first two. */
const crowdsPlace = 2;
const requestsPlace = 3;

export interface ArrivalsOptions {
  readonly perSecond: number;
  readonly burst: number;
  /** Monotonic and the same on all threads, in nanoseconds. */
  readonly readNowNs: () => bigint;
}

/** A token bucket (GCRA) shared by all threads: `perSecond` sustained, `burst` at once. Each thread asks for itself. */
export class Arrivals {
  readonly #spacingNs: bigint;
  readonly #leadNs: bigint;
  readonly #readNowNs: () => bigint;
  /** When the one let in last would have come, had all come evenly. */
  readonly #lastDueNs: BigInt64Array;
  readonly #counts: Int32Array;
  #ownRequests = 0;

  /** `memory`: {@link arrivalsBytes} of it, of zeros at first. */
  constructor(memory: SharedArrayBuffer, { perSecond, burst, readNowNs }: ArrivalsOptions) {
    this.#spacingNs = BigInt(Math.ceil(1e9 / perSecond));
    this.#leadNs = this.#spacingNs * BigInt(burst);
    this.#readNowNs = readNowNs;
    this.#lastDueNs = new BigInt64Array(memory, 0, 1);
    this.#counts = new Int32Array(memory);
  }

  /** Whether one more may come in now. */
  admit(): boolean {
    const nowNs = this.#readNowNs();
    for (;;) {
      const lastNs = Atomics.load(this.#lastDueNs, 0);
      const dueNs = (lastNs > nowNs ? lastNs : nowNs) + this.#spacingNs;
      if (dueNs - nowNs > this.#leadNs) return false;
      if (Atomics.compareExchange(this.#lastDueNs, 0, lastNs, dueNs) === lastNs) return true;
    }
  }

  /** Somebody was asked to come back later, because too many come at once. */
  noteCrowd(): void {
    Atomics.add(this.#counts, crowdsPlace, 1);
  }

  /** How often {@link noteCrowd} was called, on any thread. */
  get crowds(): number {
    return Atomics.load(this.#counts, crowdsPlace);
  }

  /** Says how many requests this thread has under way. Returns how many all have, the others as of when they last said so. */
  shareRequests(own: number): number {
    const change = own - this.#ownRequests;
    this.#ownRequests = own;
    return Atomics.add(this.#counts, requestsPlace, change) + change;
  }
}

export function createArrivals(
  memory: SharedArrayBuffer,
  { sessionsPerSecondMax, sessionsBurstMax }: Pick<ServerConfig, 'sessionsPerSecondMax' | 'sessionsBurstMax'>,
): Arrivals {
  return new Arrivals(memory, {
    perSecond: sessionsPerSecondMax,
    burst: sessionsBurstMax,
    readNowNs: () => process.hrtime.bigint(),
  });
}
