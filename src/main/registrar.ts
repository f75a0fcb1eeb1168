import type { Failure } from '../protocol/errors.ts';
import type { EncodedInstance } from '../protocol/instance-encoding.ts';
import { fromPartition, toPartition } from '../workers/messages.ts';
import type { ToPartition } from '../workers/messages.ts';
import { wordResults } from './answers.ts';
import type { Reply } from './answers.ts';
import type { ServerConfig } from './config.ts';
import type { DropCause, LossGuard } from './loss-guard.ts';
import { readRefusal } from './partition-link.ts';
import type { Answer, PendingRequest, Unasked } from './partition-link.ts';
import type { Router } from './router.ts';
import type { HostLog, Registration } from './session-log.ts';
import type { Session } from './session.ts';

type ReleasedRecord = Extract<Unasked, [typeof fromPartition.released, ...unknown[]]>;

export interface RegistrarOptions {
  readonly router: Router;
  readonly guard: LossGuard;
  readonly log: HostLog;
  readonly config: Pick<ServerConfig, 'registrationsMax' | 'instanceBytesMax'>;
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

  /** The log takes the registration when it is sent: a session that ends before the answer must still take it away. */
  register(session: Session, key: string, instance: EncodedInstance, reply: Reply): void {
    if (this.#router.isShut(key)) {
      this.#wait(session, key, reply, () => {
        this.register(session, key, instance, reply);
      });
      return;
    }
    const { id, fragment } = instance;
    const failure = this.#refuse(session, key, instance);
    if (failure !== undefined) {
      reply.fail(failure);
      return;
    }
    const asked = this.#router.ask(new PendingRegister(this, session, key, id, fragment, reply));
    if (typeof asked === 'object') reply.fail(asked);
    else this.keep(session, { key, id, fragment, stamp: asked });
  }

  /** Why the log cannot take a registration. One that it knows may always change to one of at most its length. */
  #refuse({ registrations }: Session, key: string, { id, fragment }: EncodedInstance): Failure | undefined {
    const { log, config } = this.#options;
    const { registrationsMax, instanceBytesMax } = config;
    const isFull = registrations.size >= registrationsMax;
    const hasRoom = log.table.hasRoom(fragment, instanceBytesMax);
    if (!isFull && hasRoom) return undefined;
    const known = registrations.get(key, id);
    if (known !== undefined && (hasRoom || known.fragment.length >= fragment.length)) return undefined;
    if (isFull && known === undefined)
      return refuseBound('registrationsMax', registrationsMax, `the session has ${registrationsMax} registrations`);
    return refuseBound('instanceBytesMax', instanceBytesMax, `sessions hold ${instanceBytesMax} bytes of instances`);
  }

  deregister(session: Session, key: string, id: string, reply: Reply): void {
    if (this.#router.isShut(key)) {
      this.#wait(session, key, reply, () => {
        this.deregister(session, key, id, reply);
      });
      return;
    }
    const asked = this.#router.ask(new PendingDeregister(session, key, id, reply));
    if (typeof asked === 'object') reply.fail(asked);
    else this.drop(session, key, id);
  }

  /** The session has ended: each partition takes away what is still the session's own (SE1). */
  withdrawAll(session: Session): void {
    for (const { key, id } of session.registrations.names()) this.#withdraw(session, key, id, 'asked');
  }

  /** The session is lost: takes away what it holds of services that `isHeld` does not hold back. */
  withdrawLost(session: Session, isHeld: (key: string) => boolean): void {
    for (const { key, id } of session.registrations.names()) {
      if (!isHeld(key)) this.#withdraw(session, key, id, 'lost');
    }
  }

  /** Takes a registration out of its session's log. */
  drop(session: Session, key: string, id: string, cause: DropCause = 'asked'): void {
    const { registrations } = session;
    if (!registrations.delete(key, id)) return;
    const isEdge = session.isConnection && registrations.size === 0;
    this.#options.guard.noteDropped(session.number, { key, id, isEdge }, cause);
  }

  #withdraw(session: Session, key: string, id: string, cause: DropCause): void {
    this.#router.tell(key, [toPartition.withdraw, session.number, key, id]);
    this.drop(session, key, id, cause);
  }

  /** Puts a registration into its session's log. */
  keep(session: Session, registration: Registration): void {
    const { registrations } = session;
    if (!registrations.set(registration)) return;
    const isEdge = session.isConnection && registrations.size === 1;
    this.#options.guard.noteRegistered(session.number, { key: registration.key, id: registration.id, isEdge });
  }

  /**
   * Another session has registered the instance. If this one has registered it anew meanwhile, the stamp differs and it stays.
   * Returns the session that lost it.
   */
  release([, session, key, id, stamp]: ReleasedRecord): Session | undefined {
    const loser = this.#options.findSession(session);
    if (loser?.registrations.stampOf(key, id) !== stamp) return undefined;
    this.drop(loser, key, id);
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
    this.#registrar.keep(session, { key, id, fragment: this.#fragment, stamp: request });
  }

  abandon(): void {
    this.#reply.fail(sessionEnded);
  }

  settle(answer: Answer): void {
    if (answer[0] === fromPartition.applied) {
      this.#reply.succeed(wordResults.registered(answer[2], this.id));
      return;
    }
    const failure = readRefusal(answer);
    const { session, key, id } = this;
    const [, stamp, , , , , stands] = answer as Extract<Answer, [typeof fromPartition.refused, ...unknown[]]>;
    // What was given up after deaths has been restored from the log. Else whatever of it is in the log is this attempt.
    if (failure.code !== 'internal' && session.registrations.stampOf(key, id) === stamp) {
      if (stands === '') this.#registrar.drop(session, key, id);
      else this.#registrar.keep(session, { key, id, fragment: stands, stamp });
    }
    this.#reply.fail(failure);
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
    this.registration = session.registrations.get(key, id);
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

function refuseBound(limit: string, max: number, message: string): Failure {
  return { code: 'limit_exceeded', message, limit, max };
}
