import type { Encoding } from './encoding.ts';
import type { RegistrationName } from './session-log.ts';
import type { Session } from './session.ts';

export interface ClaimNoticesOptions {
  readonly encoding: Encoding;
  /** Runs a task in a later turn. */
  readonly schedule: (task: () => void) => void;
  /** Sends the answers of this turn. */
  readonly flush: () => void;
}

/** Sent to one session in a turn: whoever claims all that another one has must not hold others up. */
const noticesPerTurn = 64;

/**
 * Notifies clients with the capability `claims` whether their registrations are visible (SE7). A notice has the state at the time of sending: a client that is
 * behind with reading is not notified of a change that has been undone meanwhile, and so costs at most one notice for each of its registrations.
 */
export class ClaimNotices {
  readonly #options: ClaimNoticesOptions;
  /** Registrations by a name of their own. */
  readonly #due: Map<Session, Map<string, RegistrationName>> = new Map();
  #isScheduled = false;

  constructor(options: ClaimNoticesOptions) {
    this.#options = options;
  }

  /** Whether a registration shows may have changed. */
  note(session: Session, key: string, id: string): void {
    if (session.socket === undefined || !session.understands('claims')) return;
    // It is being taken over: notices that the client may have missed follow the answer.
    if (session.heldBack !== undefined) return;
    const names = this.#due.get(session) ?? new Map<string, RegistrationName>();
    this.#due.set(session, names.set(`${key}\n${id}`, { key, id }));
    this.#schedule();
  }

  /** The client has read what waited for it, or been answered a batch. */
  catchUp(session: Session): void {
    if (this.#due.has(session)) this.#schedule();
  }

  /** The session's connection has gone. */
  forget(session: Session): void {
    this.#due.delete(session);
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#options.schedule(() => {
      this.#isScheduled = false;
      this.#run();
    });
  }

  #run(): void {
    this.#options.flush();
    for (const [session, names] of this.#due) {
      const { socket } = session;
      // The answer to the registration may wait for the rest of its batch: a notice sent before it would be taken for older.
      if (socket !== undefined && session.openBatches > 0) continue;
      let hasRoom = true;
      if (socket !== undefined) {
        socket.cork(() => {
          hasRoom = this.#tell(session, names);
        });
      }
      if (socket === undefined || names.size === 0) this.#due.delete(session);
      else if (hasRoom) this.#schedule();
    }
  }

  /** False: it must first read what waits for it, or is being closed. */
  #tell(session: Session, names: Map<string, RegistrationName>): boolean {
    // What waits for its turn may be the answer to the registration.
    if (session.outgoing.length > 0 && session.flush() === 'dropped') {
      session.hasLostAnswer = true;
      return false;
    }
    let left = noticesPerTurn;
    for (const [name, { key, id }] of names) {
      if (left === 0) return true;
      left -= 1;
      const { isHidden, isTold } = session.registrations.standingOf(key, id);
      if (!isTold) {
        const notice = this.#options.encoding.encodeNotice({ kind: 'claim', key, id, isShown: !isHidden });
        if (session.push(notice) !== 'sent') return false;
        session.registrations.noteTold(key, id, isHidden);
      }
      names.delete(name);
    }
    return true;
  }
}
