import { LockLostError } from './errors.ts';
import type { LockLoss } from './errors.ts';
import type { LockClaim } from './lock-entries.ts';
import type { CallOptions } from './options.ts';

/** What {@link Lock} needs of its client. */
export interface LockHost {
  unlock(claim: LockClaim, options: CallOptions): Promise<void>;
}

/** A key that this client holds. */
export class Lock implements AsyncDisposable {
  readonly #claim: LockClaim;
  readonly #host: LockHost;
  readonly #lost: AbortController = new AbortController();
  readonly #fence: number;
  #isReleased = false;
  #endsByRelease = false;

  constructor(claim: LockClaim, fence: number, host: LockHost) {
    this.#claim = claim;
    this.#fence = fence;
    this.#host = host;
  }

  get key(): string {
    return this.#claim.terms.key;
  }

  /** The fencing number, which rises with each holder of the key. What the lock protects should refuse a number that is lower than one it has seen. */
  get fence(): number {
    return this.#fence;
  }

  /** Aborted with a `LockLostError` when the lock is lost: stop what needs it. Not by `release`, but for the lock of an election, where it says that leading is over. */
  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  /** Whether it has been neither released nor lost, as far as is known. */
  get isHeld(): boolean {
    return !this.#isReleased && !this.#lost.signal.aborted;
  }

  /**
   * Lets go, at once as far as this client is concerned. Resolves when the server has applied it, or the lock was lost; if it rejects, the client goes on trying. What others
   * have written to the key meanwhile stays.
   */
  release(options: CallOptions = {}): Promise<void> {
    this.#isReleased = true;
    if (this.#endsByRelease) this.#lost.abort();
    return this.#host.unlock(this.#claim, options);
  }

  /** Like `release`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }

  /** Called by an election: who leads stops as soon as it is released, whoever did that. @internal */
  endByRelease(): void {
    this.#endsByRelease = true;
  }

  /** Called by the client. @internal */
  lose(loss: LockLoss): void {
    if (!this.#isReleased) this.#lost.abort(new LockLostError(this.key, loss));
  }
}
