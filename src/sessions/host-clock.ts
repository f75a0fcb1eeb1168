/** How often a host's clock moves on, in milliseconds. */
export const tickMs = 50;

/** A gap between ticks counts as at most this long, in milliseconds. */
export const tickGapMaxMs: number = 4 * tickMs;

/** What time it is for one session host, as of its last tick: nothing in it reads a clock of its own. */
export class HostClock {
  readonly #startedAtMicros: number;
  readonly #startedAtMs: number;
  #nowMs: number;
  #runningMs: number;

  /** `nowMs`: monotonic, in milliseconds; `startedAtMicros`: the wall clock when the registry started, in µs. */
  constructor(nowMs: number, startedAtMicros: number) {
    this.#startedAtMs = nowMs;
    this.#startedAtMicros = startedAtMicros;
    this.#nowMs = nowMs;
    this.#runningMs = nowMs;
  }

  /**
   * Counts only time in which the host was running, in milliseconds: after a suspended process or a blocked loop wakes, peers get the time to show that they live,
   * rather than all being taken for dead.
   */
  get runningMs(): number {
    return this.#runningMs;
  }

  /** The wall clock, in µs. */
  get wallMicros(): number {
    return this.#startedAtMicros + (this.#nowMs - this.#startedAtMs) * 1000;
  }

  tick(nowMs: number): void {
    this.#runningMs += Math.min(nowMs - this.#nowMs, tickGapMaxMs);
    this.#nowMs = nowMs;
  }
}
