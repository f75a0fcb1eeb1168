import type { ServerConfig } from '../config/config.ts';

/** What the threads of a server share about handshakes. Each thread has an object of its own over the same memory. */
export const admissionRateBytes = 16;

/** Places of 32 bits; the time takes the first two. */
const throttledPlace = 2;
const requestsPlace = 3;

export interface AdmissionRateOptions {
  readonly perSecond: number;
  readonly burst: number;
  /** Monotonic and the same on all threads, in nanoseconds. */
  readonly readNowNs: () => bigint;
}

/** A token bucket (GCRA) shared by all threads: `perSecond` sustained, `burst` at once. Each thread asks for itself. */
export class AdmissionRate {
  readonly #spacingNs: bigint;
  readonly #leadNs: bigint;
  readonly #readNowNs: () => bigint;
  /** Theoretical arrival time (TAT) of GCRA: when the last admitted handshake would have come at an even rate. */
  readonly #lastDueNs: BigInt64Array;
  readonly #counts: Int32Array;
  #ownRequests = 0;

  /** `memory`: {@link admissionRateBytes} of it, of zeros at first. */
  constructor(memory: SharedArrayBuffer, { perSecond, burst, readNowNs }: AdmissionRateOptions) {
    this.#spacingNs = BigInt(Math.ceil(1e9 / perSecond));
    this.#leadNs = this.#spacingNs * BigInt(burst);
    this.#readNowNs = readNowNs;
    this.#lastDueNs = new BigInt64Array(memory, 0, 1);
    this.#counts = new Int32Array(memory);
  }

  /** Takes one token if there is one; returns whether it did. */
  admit(): boolean {
    const nowNs = this.#readNowNs();
    for (;;) {
      const lastNs = Atomics.load(this.#lastDueNs, 0);
      const dueNs = (lastNs > nowNs ? lastNs : nowNs) + this.#spacingNs;
      if (dueNs - nowNs > this.#leadNs) return false;
      if (Atomics.compareExchange(this.#lastDueNs, 0, lastNs, dueNs) === lastNs) return true;
    }
  }

  /** A handshake was refused because too many came at once. */
  noteThrottled(): void {
    Atomics.add(this.#counts, throttledPlace, 1);
  }

  /** How often {@link noteThrottled} was called, on any thread. */
  get throttledCount(): number {
    return Atomics.load(this.#counts, throttledPlace);
  }

  /** Reports the number of requests in flight on this thread. Returns the number on all threads, for the others as of their last report. */
  shareRequests(own: number): number {
    const change = own - this.#ownRequests;
    this.#ownRequests = own;
    return Atomics.add(this.#counts, requestsPlace, change) + change;
  }
}

export function createAdmissionRate(
  memory: SharedArrayBuffer,
  { sessionsPerSecondMax, sessionsBurstMax }: Pick<ServerConfig, 'sessionsPerSecondMax' | 'sessionsBurstMax'>,
): AdmissionRate {
  return new AdmissionRate(memory, {
    perSecond: sessionsPerSecondMax,
    burst: sessionsBurstMax,
    readNowNs: () => process.hrtime.bigint(),
  });
}
