import type { Failure } from '../protocol/errors.ts';
import type { InstanceInput } from '../protocol/types.ts';
import { fromPartition, toPartition } from '../workers/messages.ts';
import type { FromPartition, ToPartition } from '../workers/messages.ts';
import { wordResults } from './answers.ts';
import type { Reply } from './answers.ts';
import { encodeInstance } from './instance-encoding.ts';
import type { Answer, PendingRequest, Router } from './router.ts';
import { registrationName } from './session.ts';
import type { Session } from './session.ts';

type ReleasedRecord = Extract<FromPartition, [typeof fromPartition.released, ...unknown[]]>;

export interface RegistrarOptions {
  readonly router: Router;
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

  /** The log takes the registration when it is sent: a session that ends before the answer must still take it away. */
  register(session: Session, key: string, input: InstanceInput, reply: Reply): void {
    const { id, fragment } = encodeInstance(input);
    const name = registrationName(key, id);
    const { registrations } = session;
    const { registrationsMax } = this.#options;
    const before = registrations.get(name);
    if (before === undefined && registrations.size >= registrationsMax) {
      const message = `the session has ${registrationsMax} registrations`;
      reply.fail({ code: 'limit_exceeded', message, limit: 'registrationsMax', max: registrationsMax });
      return;
    }
    const asked = this.#router.ask(new PendingRegister(session, key, id, fragment, reply));
    if (typeof asked === 'object') reply.fail(asked);
    else registrations.set(name, { key, id, fragment, stamp: asked });
  }

  deregister(session: Session, key: string, id: string, reply: Reply): void {
    const asked = this.#router.ask(new PendingDeregister(session.number, key, id, reply));
    if (typeof asked === 'object') reply.fail(asked);
    else session.registrations.delete(registrationName(key, id));
  }

  /** The session has ended: each partition takes away what is still the session's own (SE1). */
  withdrawAll(session: Session): void {
    for (const { key, id } of session.registrations.values()) {
      this.#router.tell(key, [toPartition.withdraw, session.number, key, id]);
    }
    session.registrations.clear();
  }

  /** Another session has registered the instance. If this one has registered it anew meanwhile, the stamp differs and it stays. */
  release([, session, key, id, stamp]: ReleasedRecord): void {
    const registrations = this.#options.findSession(session)?.registrations;
    const name = registrationName(key, id);
    if (registrations?.get(name)?.stamp === stamp) registrations.delete(name);
  }
}

class PendingRegister implements PendingRequest {
  readonly key: string;
  readonly #session: Session;
  readonly #id: string;
  readonly #fragment: string;
  readonly #reply: Reply;

  constructor(session: Session, key: string, id: string, fragment: string, reply: Reply) {
    this.key = key;
    this.#session = session;
    this.#id = id;
    this.#fragment = fragment;
    this.#reply = reply;
  }

  build(request: number): ToPartition {
    return [toPartition.register, request, this.#session.number, this.key, this.#id, this.#fragment];
  }

  settle(answer: Answer): void {
    if (answer[0] === fromPartition.applied) {
      this.#reply.succeed(wordResults.registered(answer[2], this.#id));
      return;
    }
    // Refused only when the instance was not there, so whatever of it is in the log is this attempt.
    const { registrations } = this.#session;
    const name = registrationName(this.key, this.#id);
    if (registrations.get(name)?.stamp === answer[1]) registrations.delete(name);
    this.#reply.fail(readRefusal(answer));
  }
}

class PendingDeregister implements PendingRequest {
  readonly key: string;
  readonly #session: number;
  readonly #id: string;
  readonly #reply: Reply;

  constructor(session: number, key: string, id: string, reply: Reply) {
    this.key = key;
    this.#session = session;
    this.#id = id;
    this.#reply = reply;
  }

  build(request: number): ToPartition {
    return [toPartition.deregister, request, this.#session, this.key, this.#id];
  }

  settle(answer: Answer): void {
    if (answer[0] === fromPartition.applied) this.#reply.succeed(wordResults.deregistered(answer[2]));
    else this.#reply.fail(readRefusal(answer));
  }
}

function readRefusal(answer: Answer): Failure {
  if (answer[0] !== fromPartition.refused) throw new Error(`not an answer to a registration: ${answer[0]}`);
  const [, , code, message, limit, max] = answer;
  return limit === '' ? { code, message } : { code, message, limit, max };
}
