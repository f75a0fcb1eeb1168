import type { Router } from '../routing/router.ts';
import type { Job, WorkQueueOptions } from '../runtime/work-queue.ts';
import { WorkQueue } from '../runtime/work-queue.ts';
import type { DrainState } from './drain-state.ts';
import type { Registrar } from './registrar.ts';
import type { SessionState } from './session-lifecycle.ts';
import type { RegistrationName } from './session-log.ts';
import type { Session } from './session.ts';

export interface DeparturesOptions extends WorkQueueOptions {
  readonly router: Pick<Router, 'isFrozen' | 'whenSomeThawed'>;
  readonly registrar: Pick<Registrar, 'withdraw'>;
  /** From when the registry stops, no departure is pushed to subscribers. */
  readonly drain: DrainState;
}

/** What becomes of a lost session, by what guards said when it was judged. */
export interface LossVerdict {
  /** Whether a guard holds back what it registered of a service. */
  readonly isHeld: (key: string) => boolean;
  /** What is held back and does not show: another session has registered it since. */
  readonly onHidden: (name: RegistrationName) => void;
  /** All that is not held back has gone. */
  readonly onCarriedOut: () => void;
}

/**
 * Sessions that go, and what they registered with them: in the order in which they went, at once if it is little, and over several turns if many go
 * together or have much. Until then it stays in their logs, so a partition that is rebuilt meanwhile gets it back, and its removal like any other.
 */
export class Departures {
  readonly #options: DeparturesOptions;
  readonly #queue: WorkQueue;
  /** Lost sessions that wait for their turn, and the states in which they do: one that came back and broke again is another matter. */
  readonly #losing: Map<Session, SessionState> = new Map();
  readonly #waiting: Map<Session, () => void> = new Map();

  constructor(options: DeparturesOptions) {
    this.#options = options;
    this.#queue = new WorkQueue(options);
  }

  /** Whether some wait for their turn. */
  get isBusy(): boolean {
    return this.#queue.size > 0;
  }

  /** The session has ended: each partition takes away what is still the session's own (SE1). `onGone`: it has nothing left. */
  end(session: Session, onGone: () => void): void {
    this.#queue.add(this.#createWithdrawal({ kind: 'ended', session, state: session.state, onGone }));
  }

  /**
   * A broken session has been judged: what goes is of services that no guard holds back. What does not show need not be held: another session has
   * registered it since, and so it is not missing. Nothing of a session that comes back meanwhile goes.
   */
  lose(session: Session, verdict: LossVerdict): void {
    const { state } = session;
    if (this.#losing.get(session) === state) return;
    this.#losing.set(session, state);
    this.#queue.add(this.#createWithdrawal({ kind: 'lost', session, state, verdict }));
  }

  /** Resolves once the removals of an ended session's registrations have been sent to their owners. */
  async whenGone(session: Session): Promise<void> {
    if (session.registrations.size === 0) return;
    await new Promise<void>((resolve) => this.#waiting.set(session, resolve));
  }

  #createWithdrawal(going: Going): Withdrawal {
    return new Withdrawal(going, this.#options, (withdrawal) => {
      this.#finish(withdrawal);
    });
  }

  /**
   * What is frozen is being moved or rebuilt. It is in the log, and is looked at again whenever slots open: those of one service must not wait until another's
   * partition has been rebuilt.
   */
  #wait({ going, rest }: Withdrawal): void {
    const { router } = this.#options;
    const proceed = (): void => {
      this.#queue.add(this.#createWithdrawal(going));
    };
    // Some may have opened since they were looked at.
    if (rest.some(({ key }) => !router.isFrozen(key))) proceed();
    else router.whenSomeThawed(proceed);
  }

  #finish(withdrawal: Withdrawal): void {
    const { going } = withdrawal;
    const { session, state } = going;
    if (withdrawal.rest.length > 0) {
      this.#wait(withdrawal);
      return;
    }
    if (going.kind === 'lost') {
      session.isGoing = false;
      if (this.#losing.get(session) === state) this.#losing.delete(session);
      if (session.state === state) going.verdict.onCarriedOut();
      return;
    }
    this.#waiting.get(session)?.();
    this.#waiting.delete(session);
    going.onGone();
  }
}

/** To read a name costs so much of what it costs to take away what it names. */
const stepsToRead = 0.25;

interface GoingSession {
  readonly session: Session;
  /** In which it is to go; one that is in another by then stays. */
  readonly state: SessionState;
}

type Going =
  | (GoingSession & { readonly kind: 'ended'; readonly onGone: () => void })
  | (GoingSession & { readonly kind: 'lost'; readonly verdict: LossVerdict });

class Withdrawal implements Job {
  readonly going: Going;
  /** What could not be taken away, because its slot is frozen. */
  readonly rest: RegistrationName[] = [];
  isDone = false;
  readonly #options: DeparturesOptions;
  readonly #onDone: (withdrawal: Withdrawal) => void;
  /** Read when its turn comes: those that wait hold no lists. */
  #names: RegistrationName[] | undefined;
  #next = 0;

  constructor(going: Going, options: DeparturesOptions, onDone: (withdrawal: Withdrawal) => void) {
    this.going = going;
    this.#options = options;
    this.#onDone = onDone;
  }

  run(steps: number): number {
    const { session, state } = this.going;
    const isWanted = session.state === state && !this.#options.drain.isDraining;
    if (isWanted && this.#names === undefined) {
      session.isGoing = true;
      this.#names = session.registrations.names();
      // To read many is work for a turn of its own.
      if (this.#names.length > steps) return this.#names.length * stepsToRead;
    }
    const names = isWanted ? (this.#names ?? []) : [];
    const start = this.#next;
    for (; this.#next < names.length && this.#next < start + steps; this.#next++) this.#withdraw(names[this.#next]!);
    if (this.#next >= names.length) {
      this.isDone = true;
      this.#onDone(this);
    }
    return this.#next - start;
  }

  #withdraw(name: RegistrationName): void {
    const { going } = this;
    const { session } = going;
    const { key, id } = name;
    // Given up since the names were read, because of what others registered.
    if (!session.registrations.has(key, id)) return;
    const { isHidden } = session.registrations.standingOf(key, id);
    const isHeld = going.kind === 'lost' && going.verdict.isHeld(key);
    if (isHeld && !isHidden) return;
    if (this.#options.router.isFrozen(key)) this.rest.push(name);
    else if (isHeld) going.verdict.onHidden(name);
    else this.#options.registrar.withdraw(session, name, going.kind === 'lost' && !isHidden ? 'lost' : 'asked');
  }
}
