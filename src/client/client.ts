import type {
  InstanceFilter,
  InstanceInput,
  ListParams,
  ListResult,
  QueryResult,
  ServiceFields,
  ServiceName,
  SubscribeMode,
} from '../protocol/types.ts';
import type { Notice } from './effects.ts';
import type { StopListening } from './emitter.ts';
import type { CallOptions } from './options.ts';
import type { Deregistration, DeregisterOptions, Registration } from './registration.ts';
import type { Subscription } from './subscription.ts';

/** What happens to a client, by name. */
export type ClientEvents = { readonly [N in Notice as N['kind']]: Omit<N, 'kind'> } & {
  /** A list could not be read from the cache, for instance since it is damaged, or not be written to it: the client goes on without. */
  readonly cache: { readonly service: ServiceName; readonly action: 'load' | 'save'; readonly cause: string };
  /** Closed by the user, or given up since no server speaks its version of the protocol. */
  readonly closed: undefined;
};

export interface StandingOptions extends CallOptions {
  /**
   * It stands from the call on, whether or not a registry can be reached: the call resolves at once, with `isPending` true until a
   * server has applied it; `whenApplied` waits for that. What a server refuses is told by the event `refused` and tried again.
   */
  readonly standing?: boolean;
}

export type RegisterOptions = StandingOptions;

export interface SubscribeOptions extends InstanceFilter, StandingOptions {
  /**
   * How changes come over the wire: what changed (`delta`, the default), or the whole list each time. The view is the same. Of
   * several subscriptions to one service the first one's mode holds.
   */
  readonly mode?: SubscribeMode;
}

export interface QueryOptions extends InstanceFilter, CallOptions {}
export interface ListOptions extends ListParams, CallOptions {}

/** A connection to a registry that is kept up, and what is registered and subscribed over it. Made by `connect`. */
export interface Client extends AsyncDisposable {
  /** Whether there is a session that requests can be sent on. */
  readonly isConnected: boolean;

  /** Listens to an event; call the result to stop. */
  on<K extends keyof ClientEvents>(name: K, listener: (event: ClientEvents[K]) => void): StopListening;

  /** Resolves once there is a session. Rejects with `ConnectionLostError` after its time; the client goes on trying. */
  whenConnected(options?: CallOptions): Promise<void>;

  /**
   * Registers an instance, or gives one of the same id new content. It stands: it is registered again on every new connection,
   * until it is deregistered or the client is closed. Resolves when the server has applied it. When it rejects, all is as it was
   * before: a first registration does not stand, new content is dropped for the old. With `standing` it resolves at once and stays.
   */
  register(service: string | ServiceFields, instance: InstanceInput, options?: RegisterOptions): Promise<Registration>;

  /**
   * Takes away an instance that this client registered. Resolves when the server has applied it, with `pending` false; without a connection
   * at once, with `pending` true, and it is carried out on the next one. `untilApplied` waits for that. It stands whatever becomes of the
   * call: also when that times out or is aborted the instance goes. Rejects with a `RequestError`: `not_found` when this client has not
   * registered it, `not_owner` when another session has taken it over.
   */
  deregister(service: string | ServiceFields, id: string, options?: DeregisterOptions): Promise<Deregistration>;

  /**
   * Subscribes to a service. Resolves once the list is known, so that an empty list always means that there are no instances; with
   * `standing` at once. With `zone`, `enabledOnly` and `selector` it shows only the instances that meet all of them. Several subscriptions
   * to one service share what comes over the wire, also with different filters: then what their filters have in common is subscribed,
   * and the rest is filtered here.
   */
  subscribe(service: string | ServiceFields, options?: SubscribeOptions): Promise<Subscription>;

  /** Asks for a list once. Asked again by itself when the connection breaks before the answer. */
  query(service: string | ServiceFields, options?: QueryOptions): Promise<QueryResult>;

  /** One page of the services that have instances. */
  list(options?: ListOptions): Promise<ListResult>;

  /**
   * Closes in order: the server removes what this client registered at once. Calls that wait are rejected with `ClosedError`,
   * subscriptions end. Resolves when the connection is down, at the latest after `closeTimeoutMs`.
   */
  close(): Promise<void>;
}
