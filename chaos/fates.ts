import type { Fate } from '../test/support/ledger.ts';
import { throttleSettleMs, goneWithinMs, settings } from './settings.ts';

export type Leaving = 'clean close' | 'broken close' | 'frozen client';

export interface FatesOptions {
  /** Time in which the registry could do its work, in milliseconds: by it sessions must have gone. */
  readonly readSteadyMs: () => number;
  /** In milliseconds; no clock of the registry goes faster: by it sessions may not have gone yet. */
  readonly readNowMs: () => number;
}

/** How long somebody's being refused at the door keeps what broken sessions registered (LI2). */
interface Hold {
  /** It may not go before, on the usual clock. */
  readonly keptUntilMs: number;
  /** It may stay until then, on the steady clock. */
  readonly mayStayUntilMs: number;
}

const noHold: Hold = { keptUntilMs: Number.NEGATIVE_INFINITY, mayStayUntilMs: Number.NEGATIVE_INFINITY };

/** How long the sessions of clients live, and must not, by what clients did and what was done to them. */
export class Fates {
  readonly #options: FatesOptions;
  /** Of all sessions of the registry's present life. */
  readonly #present: Set<Fate> = new Set();
  /** Those whose connections broke, or may have: they live by their grace. */
  readonly #broken: Set<Fate> = new Set();
  #hold = noHold;
  /** By when the registry has forgotten those of its lives before. */
  #pastGoneByMs = 0;
  #names = 0;

  constructor(options: FatesOptions) {
    this.#options = options;
  }

  /** By when everybody who has gone must be forgotten, on the steady clock. */
  get goneByMs(): number {
    const ends = [...this.#present].map(({ goneByMs }) => goneByMs).filter(Number.isFinite);
    return Math.max(this.#pastGoneByMs, ...ends);
  }

  create(): Fate {
    this.#names += 1;
    return {
      name: `client ${this.#names}`,
      mayLeaveFromMs: Number.POSITIVE_INFINITY,
      goneByMs: Number.POSITIVE_INFINITY,
    };
  }

  /** It is connected to the registry that runs at present. */
  enter(fate: Fate): void {
    this.#present.add(fate);
  }

  /** Those that may be there, or their registrations. */
  present(): Fate[] {
    const steadyMs = this.#options.readSteadyMs();
    return [...this.#present].filter(({ goneByMs }) => goneByMs >= steadyMs);
  }

  leave(fate: Fate, how: Leaving): void {
    if (!this.#present.has(fate)) return;
    const { disconnectGraceMs, heartbeatTimeoutMs } = settings;
    if (how === 'clean close') {
      fate.mayLeaveFromMs = this.#options.readNowMs();
      fate.goneByMs = this.#options.readSteadyMs() + goneWithinMs;
      return;
    }
    // Of one that is frozen something may have been heard for the last time a while ago.
    fate.mayLeaveFromMs = this.#keptUntilMs(disconnectGraceMs);
    this.#break(fate, how === 'frozen client' ? heartbeatTimeoutMs : 0);
  }

  /** Somebody asks to take the session over. It may be cut off its connection from now on, and lives by its grace until it is known to be taken over. */
  requestTakeover(fate: Fate): void {
    if (!this.#present.has(fate)) return;
    fate.mayLeaveFromMs = Math.min(fate.mayLeaveFromMs, this.#keptUntilMs(settings.disconnectGraceMs));
    fate.goneByMs = Number.POSITIVE_INFINITY;
  }

  /** The wish was not granted, as far as is known; the session may have been on its way for so long yet. */
  endTakeover(fate: Fate, waitMs: number): void {
    if (this.#present.has(fate)) this.#break(fate, waitMs);
  }

  /** The session goes on over another connection. */
  resume(fate: Fate): void {
    this.#broken.delete(fate);
    fate.mayLeaveFromMs = Number.POSITIVE_INFINITY;
    fate.goneByMs = Number.POSITIVE_INFINITY;
  }

  /**
   * LI2: somebody who came then was refused, since too many come at once, and has only now heard of it. What is broken and may be there is kept until the crowd
   * has settled; whatever the limit `lossHoldMaxMs`, which is longer than any run.
   */
  noteRefusal(askedAtMs: number): void {
    const [nowMs, steadyMs] = [this.#options.readNowMs(), this.#options.readSteadyMs()];
    this.#hold = {
      keptUntilMs: Math.max(this.#hold.keptUntilMs, askedAtMs + throttleSettleMs),
      mayStayUntilMs: steadyMs + throttleSettleMs,
    };
    for (const fate of this.#broken) {
      // The grace of others may have been over when it was refused.
      if (fate.mayLeaveFromMs > nowMs) fate.mayLeaveFromMs = Math.max(fate.mayLeaveFromMs, this.#hold.keptUntilMs);
      if (fate.goneByMs >= steadyMs) fate.goneByMs = Math.max(fate.goneByMs, this.#goneByMs(0));
    }
  }

  /** The registry has ended, and with it all sessions. */
  noteEnd(): void {
    const nowMs = this.#options.readNowMs();
    // The steady clock stands still until the next life is warm.
    this.#pastGoneByMs = this.#options.readSteadyMs() + goneWithinMs;
    for (const fate of this.#present) {
      fate.mayLeaveFromMs = Math.min(fate.mayLeaveFromMs, nowMs);
      fate.goneByMs = this.#pastGoneByMs;
    }
    this.#present.clear();
    this.#broken.clear();
    this.#hold = noHold;
  }

  #break(fate: Fate, waitMs: number): void {
    this.#broken.add(fate);
    fate.goneByMs = this.#goneByMs(waitMs + settings.disconnectGraceMs);
  }

  #keptUntilMs(waitMs: number): number {
    return Math.max(this.#options.readNowMs() + waitMs, this.#hold.keptUntilMs);
  }

  #goneByMs(waitMs: number): number {
    return Math.max(this.#options.readSteadyMs() + waitMs, this.#hold.mayStayUntilMs) + goneWithinMs;
  }
}
