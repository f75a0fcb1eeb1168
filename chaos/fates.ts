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
  /** Of all sessions that the registry's present life may have, be it from a life before. */
  readonly #present: Set<Fate> = new Set();
  /** Those whose connections broke, or may have: they live by their grace. */
  readonly #broken: Set<Fate> = new Set();
  /** Those of the life before that were certainly there at its end, and have not been asked for since (WS3). */
  readonly #unconfirmed: Set<Fate> = new Set();
  #hold = noHold;
  #names = 0;

  constructor(options: FatesOptions) {
    this.#options = options;
  }

  /** By when everybody who has gone must be forgotten, on the steady clock. */
  get goneByMs(): number {
    const ends = [...this.#present].map(({ goneByMs }) => goneByMs).filter(Number.isFinite);
    return Math.max(0, ...ends);
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

  /** Whether the registry may have its session. */
  isPresent(fate: Fate): boolean {
    return this.#present.has(fate) && fate.goneByMs >= this.#options.readSteadyMs();
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
    this.#unconfirmed.delete(fate);
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

  /** The registry has ended. Its next life has the sessions of this one, unconfirmed: they go after the warm-up and their grace (WS3), if nobody takes them over. */
  noteEnd(): void {
    const nowMs = this.#options.readNowMs();
    const steadyMs = this.#options.readSteadyMs();
    this.#hold = noHold;
    for (const fate of this.#present) {
      if (fate.goneByMs < steadyMs) {
        this.#present.delete(fate);
        this.#broken.delete(fate);
        continue;
      }
      // What may have gone before may be back as well: its end may not have been noted.
      if (fate.mayLeaveFromMs > nowMs) {
        fate.mayLeaveFromMs = Number.POSITIVE_INFINITY;
        this.#unconfirmed.add(fate);
      }
      // The steady clock stands still until the next life is warm.
      this.#break(fate, 0);
    }
  }

  /** The registry's next life began then, at the earliest. */
  noteStart(atMs: number): void {
    const { warmUpMs, disconnectGraceMs } = settings;
    for (const fate of this.#unconfirmed)
      fate.mayLeaveFromMs = Math.max(atMs + warmUpMs + disconnectGraceMs, this.#hold.keptUntilMs);
    this.#unconfirmed.clear();
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
