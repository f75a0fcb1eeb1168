/** Addresses that are remembered; the one that has been quiet for longest is forgotten first. */
const addressesMax = 10_000;

interface Attempts {
  count: number;
  sinceMs: number;
}

/** Failed attempts to authenticate, by address: where there were too many, further ones are answered at once until its window is over. */
export class FailedAttempts {
  readonly #max: number;
  readonly #windowMs: number;
  readonly #byAddress: Map<string, Attempts> = new Map();

  /** `max`: in a window of `windowMs`. */
  constructor(max: number, windowMs: number) {
    this.#max = max;
    this.#windowMs = windowMs;
  }

  note(address: string, nowMs: number): void {
    const before = this.#presentOf(address, nowMs);
    // The newest is last.
    this.#byAddress.delete(address);
    this.#byAddress.set(address, { count: (before?.count ?? 0) + 1, sinceMs: before?.sinceMs ?? nowMs });
    if (this.#byAddress.size <= addressesMax) return;
    for (const oldest of this.#byAddress.keys()) {
      this.#byAddress.delete(oldest);
      break;
    }
  }

  /** In milliseconds; 0: at once. */
  waitOf(address: string, nowMs: number): number {
    const attempts = this.#presentOf(address, nowMs);
    return attempts === undefined || attempts.count < this.#max ? 0 : attempts.sinceMs + this.#windowMs - nowMs;
  }

  #presentOf(address: string, nowMs: number): Attempts | undefined {
    const attempts = this.#byAddress.get(address);
    return attempts === undefined || nowMs - attempts.sinceMs >= this.#windowMs ? undefined : attempts;
  }
}
