import { defaultGroup, defaultNamespace } from '../protocol/service-key.ts';
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
import { Connection } from './connection.ts';
import type { ClientEffect, ClientEvent, Notice, Settlement, UserCall } from './effects.ts';
import { Emitter } from './emitter.ts';
import type { StopListening } from './emitter.ts';
import type { Ticket } from './entries.ts';
import type { FilteredView } from './entries.ts';
import { servingOf } from './link.ts';
import { readCachedList } from './list-cache.ts';
import type { CachedList, ListCache } from './list-cache.ts';
import { createClientState, stepClient } from './machine.ts';
import { readTimeout, resolveOptions } from './options.ts';
import type { CallOptions, ClientOptions, Settings } from './options.ts';
import { Registration } from './registration.ts';
import type { Deregistration, DeregisterOptions } from './registration.ts';
import { copyFilter } from './selection.ts';
import type { ClientState } from './step.ts';
import { Subscription } from './subscription.ts';

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

type SettlementOf<K extends Settlement['kind']> = Extract<Settlement, { kind: K }>;

interface Deferred {
  readonly resolve: (settlement: Settlement) => void;
  readonly reject: (error: unknown) => void;
}

/** A call without its ticket, for each kind of call. */
type Asked<C = UserCall> = C extends UserCall ? Omit<C, 'ticket' | 'timeoutMs'> : never;

/** The shell of the machine: runs its effects with a socket, a timer and promises. Made by `connect`. */
export class Client implements AsyncDisposable {
  readonly #settings: Settings;
  readonly #random: () => number;
  readonly #connection: Connection;
  readonly #emitter: Emitter<ClientEvents> = new Emitter();
  readonly #deferreds: Map<Ticket, Deferred> = new Map();
  readonly #subscriptions: Map<FilteredView, Set<Subscription>> = new Map();
  readonly #cache: ListCache | undefined;
  readonly #saving: Set<Promise<unknown>> = new Set();
  readonly #closed: Promise<void>;
  #noteClosed: () => void = () => {};
  #state: ClientState = createClientState();
  #nextTicket: Ticket = 1;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Events that came while an event was being worked on, for instance calls made by listeners. */
  #events: ClientEvent[] = [];
  #isStepping = false;

  /** @internal */
  constructor(options: ClientOptions) {
    this.#settings = resolveOptions(options);
    this.#random = options.random ?? Math.random;
    this.#cache = options.cache;
    this.#closed = new Promise((resolve) => {
      this.#noteClosed = resolve;
    });
    this.#connection = new Connection(
      {
        opened: (socket) => {
          this.#dispatch({ kind: 'socketOpened', socket });
        },
        closed: (socket, cause) => {
          this.#dispatch({ kind: 'socketClosed', socket, cause });
        },
        received: (socket, text) => {
          this.#dispatch({ kind: 'frame', socket, text });
        },
      },
      options.WebSocket,
    );
    this.#dispatch({ kind: 'tick' });
  }

  /** Whether there is a session that requests can be sent on. */
  get isConnected(): boolean {
    return servingOf(this.#state.link) !== undefined;
  }

  /** Listens to an event; call the result to stop. */
  on<K extends keyof ClientEvents>(name: K, listener: (event: ClientEvents[K]) => void): StopListening {
    return this.#emitter.on(name, listener);
  }

  /** Resolves once there is a session. Rejects with `ConnectionLostError` after its time; the client goes on trying. */
  async whenConnected(options: CallOptions = {}): Promise<void> {
    await this.#ask<'connected'>({ kind: 'awaitConnection' }, options);
  }

  /**
   * Registers an instance, or gives one of the same id new content. It stands: it is registered again on every new connection,
   * until it is deregistered or the client is closed. Resolves when the server has applied it. When it rejects, all is as it was
   * before: a first registration does not stand, new content is dropped for the old. With `standing` it resolves at once and stays.
   */
  async register(
    service: string | ServiceFields,
    instance: InstanceInput,
    options: RegisterOptions = {},
  ): Promise<Registration> {
    const name = toServiceName(service);
    // A copy: it is sent again later, whatever the caller does to the object.
    const { metadata, ...fields } = instance;
    const content: InstanceInput = metadata === undefined ? fields : { ...fields, metadata: { ...metadata } };
    const isStanding = options.standing === true;
    const call = { kind: 'register', service: name, instance: content, isStanding } as const;
    const { registration } = await this.#ask<'registered'>(call, options);
    return new Registration(registration, {
      deregister: (service, id, options) => this.deregister(service, id, options),
      whenApplied: async (registration, options) => {
        await this.#ask<'registered'>({ kind: 'awaitRegistration', registration }, options);
      },
    });
  }

  /**
   * Takes away an instance that this client registered. Resolves when the server has applied it, with `pending` false; without a connection
   * at once, with `pending` true, and it is carried out on the next one. `untilApplied` waits for that. It stands whatever becomes of the
   * call: also when that times out or is aborted the instance goes. Rejects with a `RequestError`: `not_found` when this client has not
   * registered it, `not_owner` when another session has taken it over.
   */
  async deregister(
    service: string | ServiceFields,
    id: string,
    options: DeregisterOptions = {},
  ): Promise<Deregistration> {
    const isPatient = options.untilApplied === true;
    const call = { kind: 'deregister', service: toServiceName(service), id, isPatient } as const;
    const { pending } = await this.#ask<'deregistered'>(call, options);
    return { pending };
  }

  /**
   * Subscribes to a service. Resolves once the list is known, so that an empty list always means that there are no instances; with
   * `standing` at once. With `zone`, `enabledOnly` and `selector` it shows only the instances that meet all of them. Several subscriptions
   * to one service share what comes over the wire, also with different filters: then what their filters have in common is subscribed,
   * and the rest is filtered here.
   */
  async subscribe(service: string | ServiceFields, options: SubscribeOptions = {}): Promise<Subscription> {
    const mode = options.mode ?? 'delta';
    const filter = copyFilter(options);
    const isStanding = options.standing === true;
    const call = { kind: 'subscribe', service: toServiceName(service), mode, filter, isStanding } as const;
    const { subscription } = await this.#ask<'subscribed'>(call, options);
    return this.#handOver(subscription);
  }

  /** Asks for a list once. Asked again by itself when the connection breaks before the answer. */
  async query(service: string | ServiceFields, options: QueryOptions = {}): Promise<QueryResult> {
    const call = { kind: 'query', service: toServiceName(service), filter: copyFilter(options) } as const;
    const { result } = await this.#ask<'queried'>(call, options);
    return result;
  }

  /** One page of the services that have instances. */
  async list({ signal, timeoutMs, ...params }: ListOptions = {}): Promise<ListResult> {
    const options = { ...(signal === undefined ? {} : { signal }), ...(timeoutMs === undefined ? {} : { timeoutMs }) };
    const { result } = await this.#ask<'listed'>({ kind: 'list', params }, options);
    return result;
  }

  /**
   * Closes in order: the server removes what this client registered at once. Calls that wait are rejected with `ClosedError`,
   * subscriptions end. Resolves when the connection is down, at the latest after `closeTimeoutMs`.
   */
  close(): Promise<void> {
    this.#dispatch({ kind: 'close' });
    this.#endSubscriptions();
    return this.#closed;
  }

  /** Like `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #ask<K extends Settlement['kind']>(call: Asked, options: CallOptions): Promise<SettlementOf<K>> {
    const { signal } = options;
    const ticket = this.#nextTicket++;
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const timeoutMs = readTimeout(options);
      const abort = (): void => {
        this.#removeDeferred(ticket)?.reject(signal?.reason);
        this.#dispatch({ kind: 'abort', ticket });
      };
      signal?.addEventListener('abort', abort, { once: true });
      this.#deferreds.set(ticket, {
        // The machine settles each kind of call with its own kind of settlement.
        resolve: (settlement) => {
          signal?.removeEventListener('abort', abort);
          resolve(settlement as SettlementOf<K>);
        },
        reject: (error) => {
          signal?.removeEventListener('abort', abort);
          reject(error);
        },
      });
      this.#dispatch({ ...call, ticket, timeoutMs });
    });
  }

  #dispatch(event: ClientEvent): void {
    this.#events.push(event);
    if (this.#isStepping) return;
    this.#isStepping = true;
    try {
      for (let next = this.#events.shift(); next !== undefined; next = this.#events.shift()) this.#step(next);
    } finally {
      this.#isStepping = false;
    }
  }

  #step(event: ClientEvent): void {
    const inputs = { nowMs: performance.now(), random: this.#random(), settings: this.#settings };
    const { state, effects } = stepClient(this.#state, event, inputs);
    this.#state = state;
    for (const effect of effects) this.#run(effect);
  }

  #run(effect: ClientEffect): void {
    switch (effect.kind) {
      case 'openSocket':
        this.#connection.open(effect.socket, effect.url);
        return;
      case 'closeSocket':
        this.#connection.close(effect.socket, effect.manner);
        return;
      case 'send':
        this.#connection.send(effect.socket, effect.text);
        return;
      case 'arm':
        this.#arm(effect.atMs);
        return;
      case 'flushSoon':
        queueMicrotask(() => {
          this.#dispatch({ kind: 'flush' });
        });
        return;
      case 'resolve':
        this.#removeDeferred(effect.ticket)?.resolve(effect.settlement);
        return;
      case 'reject':
        this.#removeDeferred(effect.ticket)?.reject(effect.error);
        return;
      case 'notify':
        this.#notify(effect.notice);
        return;
      case 'changed':
        for (const subscription of this.#shown(effect.subscription)) subscription.report(effect.difference);
        return;
      case 'freshness':
        for (const subscription of this.#shown(effect.subscription)) subscription.reportFreshness(effect.isStale);
        return;
      case 'loadList':
        void this.#loadList(effect.service);
        return;
      case 'saveList':
        this.#saveList(effect.list);
        return;
      case 'closed':
        this.#endSubscriptions();
        if (this.#saving.size === 0) this.#finish();
        else void this.#finishSaved();
        return;
      default:
        effect satisfies never;
    }
  }

  #endSubscriptions(): void {
    for (const subscriptions of this.#subscriptions.values()) {
      for (const subscription of subscriptions) subscription.end();
    }
    this.#subscriptions.clear();
  }

  #finish(): void {
    this.#noteClosed();
    this.#emitter.emit('closed', undefined);
  }

  /** What the cache has been given is to be there for the next start, but nobody waits for a disk for ever. */
  async #finishSaved(): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, this.#settings.closeTimeoutMs);
    });
    await Promise.race([Promise.all(this.#saving), late]);
    clearTimeout(timer);
    this.#finish();
  }

  async #loadList(service: ServiceName): Promise<void> {
    let list: CachedList | undefined;
    try {
      const value: unknown = await this.#cache?.load(service);
      if (value !== undefined) list = readCachedList(value, service);
    } catch (error) {
      this.#emitter.emit('cache', { service, action: 'load', cause: formatCause(error) });
    }
    this.#dispatch({ kind: 'listLoaded', service, list });
  }

  #saveList(list: CachedList): void {
    const save = async (): Promise<void> => {
      try {
        await this.#cache?.save(list);
      } catch (error) {
        this.#emitter.emit('cache', { service: list.service, action: 'save', cause: formatCause(error) });
      }
    };
    const saving = save().finally(() => this.#saving.delete(saving));
    this.#saving.add(saving);
  }

  #notify<N extends Notice['kind']>(notice: Extract<Notice, { kind: N }>): void {
    const { kind, ...event } = notice;
    // The compiler does not connect a kind with the rest of its notice.
    this.#emitter.emit<N>(kind, event as unknown as ClientEvents[N]);
  }

  #arm(atMs: number | undefined): void {
    clearTimeout(this.#timer);
    if (atMs === undefined) return;
    const waitMs = Math.max(0, Math.ceil(atMs - performance.now()));
    this.#timer = setTimeout(() => {
      this.#dispatch({ kind: 'tick' });
    }, waitMs);
  }

  #removeDeferred(ticket: Ticket): Deferred | undefined {
    const deferred = this.#deferreds.get(ticket);
    this.#deferreds.delete(ticket);
    return deferred;
  }

  #shown(view: FilteredView): readonly Subscription[] {
    return [...(this.#subscriptions.get(view) ?? [])];
  }

  #handOver(view: FilteredView): Subscription {
    const subscription = new Subscription(view, {
      release: (released, closed) => {
        this.#subscriptions.get(released)?.delete(closed);
        if (this.#subscriptions.get(released)?.size === 0) this.#subscriptions.delete(released);
        this.#dispatch({ kind: 'release', subscription: released });
      },
      whenApplied: async (awaited, options) => {
        await this.#ask<'subscribed'>({ kind: 'awaitSubscription', subscription: awaited }, options);
        // The machine has counted one more that shows it.
        this.#dispatch({ kind: 'release', subscription: awaited });
      },
    });
    const subscriptions = this.#subscriptions.get(view) ?? new Set();
    this.#subscriptions.set(view, subscriptions.add(subscription));
    // Closed between the machine's word and this turn.
    if (this.#state.link.kind === 'closing' || this.#state.link.kind === 'closed') subscription.close();
    return subscription;
  }
}

function formatCause(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function toServiceName(service: string | ServiceFields): ServiceName {
  const fields = typeof service === 'string' ? { service } : service;
  return {
    namespace: fields.namespace ?? defaultNamespace,
    group: fields.group ?? defaultGroup,
    service: fields.service,
  };
}
