import { AnswerPacer } from './answer-pacer.ts';
import type { AnswerPacerOptions } from './answer-pacer.ts';
import type { Session } from './session.ts';

/** Frames for sessions, which leave at the end of the turn in which they came. */
export class SessionOutbox {
  /** Sessions with frames to be sent at the end of this turn. */
  #unsent: Session[] = [];
  readonly #pacer: AnswerPacer;

  constructor(options: AnswerPacerOptions) {
    this.#pacer = new AnswerPacer(options);
  }

  /** Sends a frame at the end of this turn. */
  send(session: Session, frame: string): void {
    if (session.state.kind !== 'connected') return;
    if (session.outgoing.push(frame) === 1) this.#unsent.push(session);
  }

  /** Sends what has gathered in this turn, one write to the kernel for each session; much of it, in turns. */
  flush(): void {
    const unsent = this.#unsent;
    if (unsent.length === 0) return;
    this.#unsent = [];
    this.#pacer.flush(unsent);
  }
}
