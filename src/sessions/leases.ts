import type { ServerConfig } from '../config/config.ts';
import type { Actor } from '../protocol/actor.ts';
import type { Failure } from '../protocol/errors.ts';
import type {
  LeaseDeregisterQuery,
  LeaseHealthBody,
  LeaseRegisterBody,
  LeaseResult,
} from '../protocol/http-operations.ts';
import type { DeregisterResult, HealthResult, RegisterResult } from '../protocol/types.ts';
import type { KeyResult, Result } from './answers.ts';
import { waitForReply } from './reply-waiting.ts';
import type { Call } from './requests.ts';
import { encodeRegister } from './requests.ts';
import type { SessionCore } from './session-core.ts';
import type { Session } from './session.ts';

/** Changes of keys, which a lease may hold. */
export type KeyCall = Extract<Call, { method: 'kv.put' | 'kv.delete' | 'kv.transact' }>;

/** What callers do with leases: plain values, since another thread may hold the lease. `address`: the caller's. */
export type LeaseCall =
  | { readonly kind: 'register'; readonly body: LeaseRegisterBody; readonly address: string }
  | { readonly kind: 'deregister'; readonly query: LeaseDeregisterQuery }
  | { readonly kind: 'report'; readonly body: LeaseHealthBody }
  | { readonly kind: 'grant'; readonly ttlMs: number | undefined; readonly address: string }
  | { readonly kind: 'keys'; readonly lease: string; readonly call: KeyCall; readonly actor: Actor }
  | { readonly kind: 'renew'; readonly lease: string }
  | { readonly kind: 'end'; readonly lease: string };

/** What became of it. */
export type LeaseAnswer =
  | Failure
  | { readonly kind: 'registered'; readonly lease: LeaseResult; readonly result: RegisterResult }
  | { readonly kind: 'deregistered'; readonly result: DeregisterResult }
  | { readonly kind: 'reported'; readonly result: HealthResult }
  | { readonly kind: 'keys'; readonly result: KeyResult }
  | { readonly kind: 'granted' | 'renewed' | 'ended'; readonly lease: LeaseResult };

/** The lease that a call is about; undefined: a new one. */
export function leaseOf(call: LeaseCall): string | undefined {
  switch (call.kind) {
    case 'register':
    case 'report':
      return call.body.lease;
    case 'deregister':
      return call.query.lease;
    case 'grant':
      return undefined;
    default:
      return call.lease;
  }
}

export interface LeasesOptions {
  readonly core: SessionCore;
  readonly config: Pick<ServerConfig, 'leaseTtlMinMs' | 'leaseTtlDefaultMs' | 'leaseTtlMaxMs' | 'leasesMax'>;
}

const leaseEnded: Failure = { code: 'not_found', message: 'the lease has ended' };

/** SE4: sessions without a connection, each of which lives by a lease that its callers renew. */
export class Leases {
  readonly #core: SessionCore;
  readonly #config: LeasesOptions['config'];

  constructor({ core, config }: LeasesOptions) {
    this.#core = core;
    this.#config = config;
  }

  carryOut(call: LeaseCall): Promise<LeaseAnswer> {
    switch (call.kind) {
      case 'register':
        return this.#register(call.body, call.address);
      case 'deregister':
        return this.#deregister(call.query);
      case 'report':
        return this.#report(call.body);
      case 'grant':
        return Promise.resolve(this.#grantBare(call.ttlMs, call.address));
      case 'keys':
        return this.#carryOutKeys(call);
      case 'renew':
        return this.#withLease(call.lease, 'renewed', (session) => this.#core.sessions.renewLease(session));
      case 'end':
        return this.#withLease(call.lease, 'ended', (session) => this.#core.endLease(session));
      default:
        return call satisfies never;
    }
  }

  /** A new lease whose first registration is refused is not granted. */
  async #register({ lease, ttlMs, instance, ...service }: LeaseRegisterBody, address: string): Promise<LeaseAnswer> {
    const session = lease === undefined ? this.#grant(ttlMs, address) : this.#find(lease);
    if ('code' in session) return session;
    const reply = await this.#execute(session, encodeRegister({ ...service, instance }));
    if ('code' in reply) {
      if (session.state.kind === 'ended') return leaseEnded;
      this.#core.sessions.endEmptied(session);
      return reply;
    }
    const { state } = session;
    if (state.kind !== 'leased') return leaseEnded;
    this.#core.sessions.renewLease(session);
    if (reply.kind !== 'registered') throw new Error(`not an answer to a registration: ${reply.kind}`);
    const { version, id, weight, isOff = false } = reply;
    const result: RegisterResult = {
      version,
      id,
      ...(weight === undefined ? {} : { weight }),
      ...(isOff ? { closed: true } : {}),
    };
    return { kind: 'registered', lease: { lease: state.lease, ttlMs: state.ttlMs }, result };
  }

  async #deregister({ lease, id, ...service }: LeaseDeregisterQuery): Promise<LeaseAnswer> {
    const session = this.#find(lease);
    if ('code' in session) return session;
    const reply = await this.#execute(session, { method: 'instance.deregister', params: { ...service, id } });
    this.#core.sessions.endEmptied(session);
    if ('code' in reply) return reply;
    if (reply.kind !== 'deregistered') throw new Error(`not an answer to a deregistration: ${reply.kind}`);
    return { kind: 'deregistered', result: { version: reply.version } };
  }

  /** Whoever reports lives, so that renews the lease, too. */
  async #report({ lease, ...params }: LeaseHealthBody): Promise<LeaseAnswer> {
    const session = this.#find(lease);
    if ('code' in session) return session;
    const reply = await this.#execute(session, { method: 'instance.health', params });
    if ('code' in reply) return reply;
    if (reply.kind !== 'reported') throw new Error(`not an answer to a report: ${reply.kind}`);
    if (session.state.kind !== 'leased') return leaseEnded;
    this.#core.sessions.renewLease(session);
    return { kind: 'reported', result: { version: reply.version } };
  }

  /** A lease without a registration. It lives for its time, whether it holds keys or not. */
  #grantBare(ttlMs: number | undefined, address: string): LeaseAnswer {
    const session = this.#grant(ttlMs, address);
    if ('code' in session) return session;
    if (session.state.kind !== 'leased') throw new Error('a lease led to a session that has none');
    const { state } = session;
    return { kind: 'granted', lease: { lease: state.lease, ttlMs: state.ttlMs } };
  }

  async #carryOutKeys({ lease, call, actor }: Extract<LeaseCall, { kind: 'keys' }>): Promise<LeaseAnswer> {
    const session = this.#find(lease);
    if ('code' in session) return session;
    const reply = await this.#execute(session, call, { ...actor, session: session.name });
    if ('code' in reply) return reply;
    if (reply.kind !== 'keys') throw new Error(`not an answer about keys: ${reply.kind}`);
    return { kind: 'keys', result: reply.result };
  }

  async #withLease(
    lease: string,
    kind: 'renewed' | 'ended',
    act: (session: Session) => Promise<Failure | undefined> | void,
  ): Promise<LeaseAnswer> {
    const session = this.#find(lease);
    if ('code' in session) return session;
    if (session.state.kind !== 'leased') throw new Error('a lease led to a session that has none');
    const { ttlMs } = session.state;
    return (await act(session)) ?? { kind, lease: { lease, ttlMs } };
  }

  #execute(session: Session, call: Call, actor?: Actor): Promise<Result | Failure> {
    return waitForReply((reply) => {
      this.#core.execute(session, call, reply, actor);
    });
  }

  #grant(ttlMs: number | undefined, address: string): Session | Failure {
    const { leaseTtlDefaultMs, leaseTtlMinMs, leaseTtlMaxMs, leasesMax } = this.#config;
    const granted = Math.min(leaseTtlMaxMs, Math.max(leaseTtlMinMs, ttlMs ?? leaseTtlDefaultMs));
    const session = this.#core.sessions.grantLease(granted, address);
    return (
      session ?? {
        code: 'limit_exceeded',
        message: `there are ${leasesMax} leases already`,
        limit: 'leasesMax',
        max: leasesMax,
      }
    );
  }

  #find(lease: string): Session | Failure {
    return this.#core.sessions.findLease(lease) ?? { code: 'not_found', message: 'there is no such lease' };
  }
}
