import type { Session } from './session.ts';

export interface AnswerPacerOptions {
  /** What may be sent in large answers in one turn. A text's characters stand for its bytes. */
  readonly sliceBytes: number;
  readonly schedule: (task: () => void) => void;
  /** Sends all that a session has to be sent. */
  readonly send: (session: Session) => void;
}

/** Sixteen answers of this size make a slice; those below it cost little compared with the call. */
const largeShare = 16;

/**
 * Sends the answers of a turn. Small ones leave at its end. Large ones, the lists of large services, take turns: this many bytes of them in one
 * turn of the event loop, and then everything else has its own.
 */
export class AnswerPacer {
  readonly #options: AnswerPacerOptions;
  readonly #waiting: Set<Session> = new Set();
  /** Of large answers, in this turn. */
  #sentBytes = 0;
  #isScheduled = false;

  constructor(options: AnswerPacerOptions) {
    this.#options = options;
  }

  flush(sessions: readonly Session[]): void {
    for (const session of sessions) {
      const bytes = session.unsentBytes;
      if (bytes * largeShare < this.#options.sliceBytes) this.#options.send(session);
      else if (this.#waiting.size > 0 || this.#sentBytes >= this.#options.sliceBytes) this.#waiting.add(session);
      else this.#sendLarge(session, bytes);
    }
  }

  #sendLarge(session: Session, bytes: number): void {
    this.#sentBytes += bytes;
    this.#options.send(session);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#options.schedule(() => {
      this.#beginTurn();
    });
  }

  #beginTurn(): void {
    this.#isScheduled = false;
    this.#sentBytes = 0;
    for (const session of this.#waiting) {
      if (this.#sentBytes >= this.#options.sliceBytes) return;
      this.#waiting.delete(session);
      // Nothing, if it has left with a push or the connection has ended.
      this.#sendLarge(session, session.unsentBytes);
    }
  }
}
