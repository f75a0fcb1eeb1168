import type { Actor } from '../protocol/actor.ts';
import type { Failure } from '../protocol/errors.ts';
import type { EncodedInstance } from '../protocol/instance-encoding.ts';
import type { DeregisterParams, DeregisterResult, RegisterParams, RegisterResult } from '../protocol/types.ts';
import type { Registrar } from './registrar.ts';
import { waitForReply } from './reply-waiting.ts';
import type { RegistrationName } from './session-log.ts';
import type { Session } from './session.ts';

/** What sessions ask of the main thread for what is to outlive them; answered once it is on disk and applied. */
export interface PersistentCalls {
  registerPersistent(params: RegisterParams, actor: Actor): Promise<RegisterResult | Failure>;
  deregisterPersistent(params: DeregisterParams, actor: Actor): Promise<DeregisterResult | Failure>;
}

/** The version of the service after a change, or why it was not made. */
export type Applied = { readonly version: number } | Failure;

/**
 * The session of no caller, on the main thread's host, that has what is persistent. To partitions it is a session like any other: what it has is one claim among those of
 * others, moves with its slot, and is put back after a death.
 */
export class PersistentSession {
  readonly #session: Session;
  readonly #registrar: Registrar;

  constructor(session: Session, registrar: Registrar) {
    this.#session = session;
    this.#registrar = registrar;
  }

  /** Persistent instances. */
  get size(): number {
    return this.#session.registrations.size;
  }

  /** All that it has. */
  names(): RegistrationName[] {
    return this.#session.registrations.names();
  }

  /** The canonical JSON of an instance, or undefined. */
  get(key: string, id: string): string | undefined {
    return this.#session.registrations.get(key, id)?.fragment;
  }

  async register(key: string, instance: EncodedInstance): Promise<Applied> {
    const answer = await waitForReply((reply) => {
      this.#registrar.register(this.#session, key, instance, reply);
    });
    if ('code' in answer) return answer;
    if (answer.kind !== 'registered') throw new Error(`not an answer to a registration: ${answer.kind}`);
    return { version: answer.version };
  }

  async deregister(key: string, id: string): Promise<Applied> {
    const answer = await waitForReply((reply) => {
      this.#registrar.deregister(this.#session, key, id, reply);
    });
    if ('code' in answer) return answer;
    if (answer.kind !== 'deregistered') throw new Error(`not an answer to a deregistration: ${answer.kind}`);
    return { version: answer.version };
  }
}
