import type { Failure } from '../protocol/errors.ts';
import type { InstanceInput } from '../protocol/types.ts';
import { fromPartition, toPartition } from '../workers/messages.ts';
import type { ToPartition } from '../workers/messages.ts';
import { wordResults } from './answers.ts';
import type { Reply } from './answers.ts';
import { encodeInstance } from './instance-encoding.ts';
import type { DropCause, LossGuard } from './loss-guard.ts';
import { readRefusal } from './partition-link.ts';
import type { Answer, PendingRequest, Unasked } from './partition-link.ts';
import type { Router } from './router.ts';
import { registrationName } from './session.ts';
import type { Registration, Session } from './session.ts';

type ReleasedRecord = Extract<Unasked, [typeof fromPartition.released, ...unknown[]]>;

export interface RegistrarOptions {
  readonly router: Router;
  readonly guard: LossGuard;
  readonly registrationsMax: number;
  readonly findSession: (number: number) => Session | undefined;
}

/** Registers and deregisters for sessions, and keeps each session's log of what it holds: what partitions are rebuilt from. */
export class Registrar {
  readonly #options: RegistrarOptions;
  readonly #router: Router;

  constructor(options: RegistrarOptions) {
    this.#options = options;
    this.#router = options.router;
  }

  register(session: Session, key: string, input: InstanceInput, reply: Reply): void {
    const { id, fragment } = encodeInstance(input);
    this.#register(session, key, id, fragment, reply);
  }

  /** The log takes the registration when it is sent: a session that ends before the answer must still take it away. */
  #register(session: Session, key: string, id: string, fragment: string, reply: Reply): void {
    if (this.#router.isShut(key)) {
      this.#wait(session, key, reply, () => {
        this.#register(session, key, id, fragment, reply);
      });
      return;
    }
    const name = registrationName(key, id);
    const { registrations } = session;
    const { registrationsMax } = this.#options;
    if (registrations.size >= registrationsMax && !registrations.has(name)) {
      const message = `the session has ${registrationsMax} registrations`;
      reply.fail({ code: 'limit_exceeded', message, limit: 'registrationsMax', max: registrationsMax });
      return;
    }
    const asked = this.#router.ask(new PendingRegister(this, session, key, id, fragment, reply));
    if (typeof asked === 'object') reply.fail(asked);
    else this.keep(session, name, { key, id, fragment, stamp: asked });
  }

  deregister(session: Session, key: string, id: string, reply: Reply): void {
    if (this.#router.isShut(key)) {
      this.#wait(session, key, reply, () => {
        this.deregister(session, key, id, reply);
      });
      return;
    }
    const name = registrationName(key, id);
    const asked = this.#router.ask(new PendingDeregister(session, key, id, reply));
    if (typeof asked === 'object') reply.fail(asked);
    else this.drop(session, name);
  }

  /** The session has ended: each partition takes away what is still the session's own (SE1). */
  withdrawAll(session: Session): void {
    for (const [name, { key, id }] of session.registrations) this.#withdraw(session, name, key, id, 'asked');
  }

  /** The session is lost: takes away what it holds of services that `isHeld` does not hold back. */
  withdrawLost(session: Session, isHeld: (key: string) => boolean): void {
    for (const [name, { key, id }] of session.registrations) {
      if (!isHeld(key)) this.#withdraw(session, name, key, id, 'lost');
    }
  }

  /** Takes a registration out of its session's log. */
  drop(session: Session, name: string, cause: DropCause = 'asked'): void {
    const { registrations } = session;
    const registration = registrations.get(name);
    if (registration === undefined) return;
    registrations.delete(name);
    const isEdge = session.isConnection && registrations.size === 0;
    this.#options.guard.noteDropped(session.number, { key: registration.key, name, isEdge }, cause);
  }

  #withdraw(session: Session, name: string, key: string, id: string, cause: DropCause): void {
    this.#router.tell(key, [toPartition.withdraw, session.number, key, id]);
    this.drop(session, name, cause);
  }

  /** Puts a registration into its session's log. */
  keep(session: Session, name: string, registration: Registration): void {
    const { registrations } = session;
    const isNew = !registrations.has(name);
    registrations.set(name, registration);
    if (!isNew) return;
    const isEdge = session.isConnection && registrations.size === 1;
    this.#options.guard.noteRegistered(session.number, { key: registration.key, name, isEdge });
  }

  /**
   * Another session has registered the instance. If this one has registered it anew meanwhile, the stamp differs and it stays.
   * Returns the session that lost it.
   */
  release([, session, key, id, stamp]: ReleasedRecord): Session | undefined {
    const loser = this.#options.findSession(session);
    const name = registrationName(key, id);
    if (loser?.registrations.get(name)?.stamp !== stamp) return undefined;
    this.drop(loser, name);
    return loser;
  }

  /** Waits for the slot. What a session asked for that has ended meanwhile is not done any more. */
  #wait(session: Session, key: string, reply: Reply, run: () => void): void {
    this.#router.gate.wait(
      key,
      () => {
        if (session.state.kind === 'ended') reply.fail(sessionEnded);
        else run();
      },
      (failure) => {
        reply.fail(failure);
      },
    );
  }
}

const sessionEnded: Failure = { code: 'internal', message: 'the session has ended' };

/** A registration under way. */
export class PendingRegister implements PendingRequest {
  readonly key: string;
  readonly session: Session;
  readonly id: string;
  readonly #registrar: Registrar;
  readonly #fragment: string;
  readonly #reply: Reply;

  constructor(registrar: Registrar, session: Session, key: string, id: string, fragment: string, reply: Reply) {
    this.#registrar = registrar;
    this.key = key;
    this.session = session;
    this.id = id;
    this.#fragment = fragment;
    this.#reply = reply;
  }

  build(request: number): ToPartition {
    return [toPartition.register, request, this.session.number, this.key, this.id, this.#fragment];
  }

  /**
   * It has been sent to a partition's next life, under a new number. Whatever the log has of the instance is from before: it may have been taken
   * over in the life that has ended, or be so while this is under way, and must not go with that.
   */
  hold(request: number): void {
    const { key, id, session } = this;
    this.#registrar.keep(session, registrationName(key, id), { key, id, fragment: this.#fragment, stamp: request });
  }

  abandon(): void {
    this.#reply.fail(sessionEnded);
  }

  settle(answer: Answer): void {
    if (answer[0] === fromPartition.applied) {
      this.#reply.succeed(wordResults.registered(answer[2], this.id));
      return;
    }
    // Refused only when the instance was not there, so whatever of it is in the log is this attempt.
    const name = registrationName(this.key, this.id);
    if (this.session.registrations.get(name)?.stamp === answer[1]) this.#registrar.drop(this.session, name);
    this.#reply.fail(readRefusal(answer));
  }
}

/** A deregistration under way. */
export class PendingDeregister implements PendingRequest {
  readonly key: string;
  readonly session: Session;
  /** What the session's log held; a partition that is rebuilt before the answer must have it, to take it away. */
  readonly registration: Registration | undefined;
  readonly id: string;
  readonly #reply: Reply;

  constructor(session: Session, key: string, id: string, reply: Reply) {
    this.key = key;
    this.session = session;
    this.registration = session.registrations.get(registrationName(key, id));
    this.id = id;
    this.#reply = reply;
  }

  build(request: number): ToPartition {
    return [toPartition.deregister, request, this.session.number, this.key, this.id];
  }

  abandon(): void {
    this.#reply.fail(sessionEnded);
  }

  settle(answer: Answer): void {
    if (answer[0] === fromPartition.applied) this.#reply.succeed(wordResults.deregistered(answer[2]));
    else this.#reply.fail(readRefusal(answer));
  }
}
