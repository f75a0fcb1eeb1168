import type { DropCause } from './loss-guard.ts';
import type { RegistrationName } from './session-log.ts';
import type { Session, SessionState } from './session.ts';
import type { SlotGate } from './slot-gate.ts';
import type { Job, WorkQueueOptions } from './work-queue.ts';
import { WorkQueue } from './work-queue.ts';

export interface DeparturesOptions extends WorkQueueOptions {
  readonly gate: Pick<SlotGate, 'isShut' | 'defer'>;
  /** Takes a registration away, in the log and at its owner, whose slot is open. */
  readonly withdraw: (session: Session, name: RegistrationName, cause: DropCause) => void;
  /** The registry stops: from now on nobody's end is told to others. */
  readonly isStopping: () => boolean;
  /** Whether a guard holds back what a lost session registered of a service. */
  readonly isHeld: (session: Session, key: string) => boolean;
  /** A session broke: its guard is told what is missing. */
  readonly noteMissing: (session: Session) => void;
  /** An ended session has nothing left. */
  readonly onGone: (session: Session) => void;
  /** A lost session has lost all that no guard holds back. */
  readonly onLost: (session: Session) => void;
}

/**
 * Sessions that go, and what they registered with them: in the order in which they went, at once if it is little, and over several turns if many go
 * together or have much. Until then it stays in their logs, so a partition that is rebuilt meanwhile gets it back and is told of its end like of any other.
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

  /** The session has ended: each partition takes away what is still the session's own (SE1). */
  end(session: Session): void {
    this.#queue.add(this.#createWithdrawal(session, 'asked'));
  }

  /** A broken session's grace is over: what no guard holds back goes. Nothing of one that comes back meanwhile does. */
  lose(session: Session): void {
    if (this.#losing.get(session) === session.state) return;
    this.#losing.set(session, session.state);
    this.#queue.add(this.#createWithdrawal(session, 'lost'));
  }

  /** A connection broke. Ahead of its end, and of those of others that broke later. */
  noteBroken(session: Session): void {
    const { state } = session;
    const job = {
      isDone: false,
      run: (): number => {
        job.isDone = true;
        if (session.state === state) this.#options.noteMissing(session);
        return session.registrations.size;
      },
    };
    this.#queue.add(job);
  }

  /** Resolves once owners have been told all of what an ended session takes with it. */
  async whenGone(session: Session): Promise<void> {
    if (session.registrations.size === 0) return;
    await new Promise<void>((resolve) => this.#waiting.set(session, resolve));
  }

  #createWithdrawal(session: Session, cause: DropCause, state: SessionState = session.state): Withdrawal {
    return new Withdrawal({ session, state, cause }, this.#options, (withdrawal) => {
      this.#take(withdrawal);
    });
  }

  /** What is shut is being moved or rebuilt. It is in the log, and its turn comes when one of its slots opens. */
  #wait({ session, state, cause, rest }: Withdrawal): void {
    const { gate } = this.#options;
    const goOn = (): void => {
      this.#queue.add(this.#createWithdrawal(session, cause, state));
    };
    // Some may have opened since they were looked at.
    const shut = rest.find(({ key }) => gate.isShut(key));
    if (shut === undefined) goOn();
    else gate.defer(shut.key, goOn);
  }

  #take(withdrawal: Withdrawal): void {
    const { session, state, cause } = withdrawal;
    if (withdrawal.rest.length > 0) {
      this.#wait(withdrawal);
      return;
    }
    if (cause === 'lost') {
      if (this.#losing.get(session) === state) this.#losing.delete(session);
      if (session.state === state) this.#options.onLost(session);
      return;
    }
    this.#waiting.get(session)?.();
    this.#waiting.delete(session);
    this.#options.onGone(session);
  }
}

/** To read a name costs so much of what it costs to take away what it names. */
const stepsToRead = 0.25;

class Withdrawal implements Job {
  readonly session: Session;
  /** In which it is to go; one that is in another by then stays. */
  readonly state: SessionState;
  readonly cause: DropCause;
  /** What could not be taken away, because its slot is shut. */
  readonly rest: RegistrationName[] = [];
  isDone = false;
  readonly #options: DeparturesOptions;
  readonly #onDone: (withdrawal: Withdrawal) => void;
  /** Read when its turn comes: those that wait hold no lists. */
  #names: RegistrationName[] | undefined;
  #next = 0;

  constructor(
    { session, state, cause }: Pick<Withdrawal, 'session' | 'state' | 'cause'>,
    options: DeparturesOptions,
    onDone: (withdrawal: Withdrawal) => void,
  ) {
    this.session = session;
    this.state = state;
    this.cause = cause;
    this.#options = options;
    this.#onDone = onDone;
  }

  run(steps: number): number {
    const { session } = this;
    const isWanted = session.state === this.state && !this.#options.isStopping();
    if (isWanted && this.#names === undefined) {
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
    const { session, cause } = this;
    // Taken over by another session since the names were read.
    if (!session.registrations.has(name.key, name.id)) return;
    if (cause === 'lost' && this.#options.isHeld(session, name.key)) return;
    if (this.#options.gate.isShut(name.key)) this.rest.push(name);
    else this.#options.withdraw(session, name, cause);
  }
}
