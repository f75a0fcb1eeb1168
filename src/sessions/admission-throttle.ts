import type { HostClock } from './host-clock.ts';

/** How long after the last refusal admission counts as throttled, in ms: by then all refused clients have retried, since they wait 10 s at most. */
const settleMs = 10_000;

/** Whether clients are being refused because too many come at once: then one that has not come back must not count as gone (LI2). */
export class AdmissionThrottle {
  readonly #clock: Pick<HostClock, 'runningMs'>;
  /** The longest time for which it counts. */
  readonly #maxMs: number;
  /** When a handshake was last throttled, and since when admission has been. */
  #lastAtMs = Number.NEGATIVE_INFINITY;
  #sinceMs = 0;

  constructor(clock: Pick<HostClock, 'runningMs'>, maxMs: number) {
    this.#clock = clock;
    this.#maxMs = maxMs;
  }

  /** A handshake was refused. */
  note(): void {
    const { runningMs } = this.#clock;
    if (runningMs - this.#lastAtMs >= settleMs) this.#sinceMs = runningMs;
    this.#lastAtMs = runningMs;
  }

  get isOn(): boolean {
    const { runningMs } = this.#clock;
    return runningMs - this.#lastAtMs < settleMs && runningMs - this.#sinceMs < this.#maxMs;
  }
}
