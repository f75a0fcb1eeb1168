import type { Session } from './session.ts';

/** Sessions that are looked at again in one tick. */
const heldPerTick = 2000;

/** Sessions whose removal a guard holds back, and which of them are to be looked at again since some may go. */
export class HeldSessions {
  readonly #held: Set<Session> = new Set();
  /** Those that are to be looked at again, the next one last. */
  #due: Session[] = [];
  #isStale = false;

  get size(): number {
    return this.#held.size;
  }

  add(session: Session): void {
    this.#held.add(session);
    session.registrations.setHeld(true);
  }

  remove(session: Session): void {
    this.#held.delete(session);
    session.registrations.setHeld(false);
  }

  /** Some of what is held back may go: every session is looked at again. */
  recheck(): void {
    this.#isStale = true;
  }

  /** A bounded number of those that are to be looked at again; some may be held no more. */
  takeDue(): Session[] {
    // Not restarted before its end, so that all get their turn however often guards release something.
    if (this.#due.length === 0 && this.#isStale) {
      this.#isStale = false;
      this.#due = [...this.#held];
    }
    return this.#due.splice(-heldPerTick);
  }
}
