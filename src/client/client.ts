import type {
  InstanceFilter,
  InstanceInput,
  ListParams,
  ListResult,
  QueryResult,
  RegisterResult,
  ServiceFields,
  ServiceName,
  SubscribeMode,
} from '../protocol/types.ts';
import type { Notice } from './effects.ts';
import type { StopListening } from './emitter.ts';
import type { Keys } from './keys.ts';
import type { CallOptions } from './options.ts';
import type { Deregistration, DeregisterOptions, Registration } from './registration.ts';
import type { Subscription } from './subscription.ts';

/** What happens to a client, by name. */
export type ClientEvents = { readonly [N in Notice as N['kind']]: Omit<N, 'kind'> } & {
  /** A list could not be read from the cache, for example because it is damaged, or not be written to it: the client continues without. */
  readonly cache: { readonly service: ServiceName; readonly action: 'load' | 'save'; readonly cause: string };
  /** Closed by the user, or given up since no server speaks its version of the protocol. */
  readonly closed: undefined;
};

export interface StandingOptions extends CallOptions {
  /**
   * The client maintains it from the call on, whether or not a registry can be reached: the call resolves at once, with `isPending` true until a
   * server has applied it; `whenApplied` waits for that. A refusal is reported by the event `refused`, and retried.
   */
  readonly standing?: boolean;
}

export interface RegisterOptions extends StandingOptions {
  readonly persistent?: false;
}

/** The registry has the instance until somebody deregisters it, whatever becomes of this client. */
export interface PersistentOptions extends CallOptions {
  readonly persistent: true;
}

export interface SubscribeOptions extends InstanceFilter, StandingOptions {
  /**
   * How changes are sent over the wire: only what changed (`delta`, the default), or the whole list each time. The view is the same. If there are
   * several subscriptions to one service, the mode of the first one applies.
   */
  readonly mode?: SubscribeMode;
}

export interface QueryOptions extends InstanceFilter, CallOptions {}
export interface ListOptions extends ListParams, CallOptions {}

/** Maintains a connection to a registry, and the registrations and subscriptions on it. Created by `connect`. */
export interface Client extends AsyncDisposable {
  /** Whether there is a session that requests can be sent on. */
  readonly isConnected: boolean;

  /** The registry's keys, and the locks and elections that they serve for. */
  readonly keys: Keys;

  /** Listens to an event; call the result to stop. */
  on<K extends keyof ClientEvents>(name: K, listener: (event: ClientEvents[K]) => void): StopListening;

  /** Resolves once there is a session. Rejects with `ConnectionLostError` when the time is over; the client keeps trying. */
  whenConnected(options?: CallOptions): Promise<void>;

  /**
   * Registers an instance, or gives the one with the same id new content. It is registered again on every new connection,
   * until it is deregistered or the client is closed. Resolves when the server has applied it. If it rejects, everything is as
   * before: a first registration is dropped, and new content is dropped in favour of the old. With `standing` it resolves at once and is kept in any case.
   */
  register(service: string | ServiceFields, instance: InstanceInput, options?: RegisterOptions): Promise<Registration>;

  /**
   * Registers an instance that lives until it is deregistered: once, since it is stored. The client does not keep it registered, and it stays when the client is closed.
   * Resolves when it is stored and applied. Repeated automatically if the connection breaks before the answer.
   */
  register(
    service: string | ServiceFields,
    instance: InstanceInput,
    options: PersistentOptions,
  ): Promise<RegisterResult>;

  /**
   * Removes an instance that this client has registered. Resolves when the server has applied it, with `pending` false; while disconnected
   * at once, with `pending` true, and it is carried out on the next connection, which `untilApplied` waits for. The instance is removed even
   * if the call times out or is aborted. Rejects with a `RequestError`: `not_found` if this client has not registered it, `not_owner` if only
   * other sessions have.
   */
  deregister(service: string | ServiceFields, id: string, options?: DeregisterOptions): Promise<Deregistration>;

  /**
   * Removes an instance that was registered with `persistent`, by whomever. Resolves when that is stored and applied. Repeated if the connection breaks before the answer:
   * then `not_found` may mean that it was done.
   */
  deregister(service: string | ServiceFields, id: string, options: PersistentOptions): Promise<Deregistration>;

  /**
   * Subscribes to a service. Resolves once the list is known, so an empty list always means that there are no instances; with
   * `standing` it resolves at once. With `zone`, `enabledOnly` and `selector` it shows only instances that satisfy all of them. Several subscriptions
   * to one service share one on the wire, even with different filters: the server applies what their filters have in common,
   * and the client the rest.
   */
  subscribe(service: string | ServiceFields, options?: SubscribeOptions): Promise<Subscription>;

  /** Reads a list once. Repeated automatically if the connection breaks before the answer. */
  query(service: string | ServiceFields, options?: QueryOptions): Promise<QueryResult>;

  /** One page of the services that have instances. */
  list(options?: ListOptions): Promise<ListResult>;

  /**
   * Closes cleanly: the server removes this client's registrations at once. Waiting calls are rejected with `ClosedError`, and
   * subscriptions end. Resolves when the connection is closed, at the latest after `closeTimeoutMs`.
   */
  close(): Promise<void>;
}
