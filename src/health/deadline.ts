/** The time of a probe is counted in a few steps of these lengths, in milliseconds. */
const stepMsMin = 10;
const stepMsMax = 250;
const stepsMin = 4;

/**
 * When a probe has taken too long. Time in which the thread could not run does not count, since answers that came meanwhile have not been read either: an expression that takes
 * long in one body, or a suspended process, must not make others late.
 */
export class Deadline {
  readonly #onLate: () => void;
  readonly #stepMs: number;
  #leftMs: number;
  #stepAtMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #last: NodeJS.Immediate | undefined;

  constructor(ms: number, onLate: () => void) {
    this.#onLate = onLate;
    this.#leftMs = ms;
    this.#stepMs = Math.min(stepMsMax, Math.max(stepMsMin, Math.ceil(ms / stepsMin)));
    this.#begin();
  }

  /** Of the time, in milliseconds. */
  get leftMs(): number {
    return Math.max(1, Math.ceil(this.#leftMs - Math.min(this.#stepMs, performance.now() - this.#stepAtMs)));
  }

  cancel(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#last);
  }

  #begin(): void {
    const ms = Math.min(this.#leftMs, this.#stepMs);
    this.#stepAtMs = performance.now();
    this.#timer = setTimeout(() => {
      this.#leftMs -= ms;
      if (this.#leftMs > 0) this.#begin();
      // What has come is read between timers and this.
      else this.#last = setImmediate(this.#onLate);
    }, ms);
  }
}
