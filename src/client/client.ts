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
import type { SubscriptionEntry, Ticket } from './books.ts';
import { Connection } from './connection.ts';
import type { ClientEffect, ClientEvent, Notice, Settlement, UserCall } from './effects.ts';
import { Emitter } from './emitter.ts';
import type { StopListening } from './emitter.ts';
import type { SlotcastError } from './errors.ts';
import { createClientState, stepClient } from './machine.ts';
import { resolveOptions } from './options.ts';
import type { ClientOptions, Settings } from './options.ts';
import { copyFilter } from './selection.ts';
import { Subscription } from './subscription.ts';
import type { ClientState } from './turn.ts';

/** What happens to a client, by name. */
export type ClientEvents = { readonly [N in Notice as N['kind']]: Omit<N, 'kind'> } & {
  /** Closed by the user. */
  readonly closed: undefined;
};

/** An instance that this client keeps registered. */
export interface Registration {
  readonly service: ServiceName;
  readonly id: string;
  /** The service's version that the acknowledgement named. */
  readonly version: number;
  /** Takes it away; like {@link Client.deregister}. */
  deregister(): Promise<void>;
}

export interface SubscribeOptions extends InstanceFilter {
  /**
   * How changes come over the wire: what changed (`delta`, the default), or the whole list each time. The view is the same. Of
   * several subscriptions to one service the first one's mode holds.
   */
  readonly mode?: SubscribeMode;
}

type SettlementOf<K extends Settlement['kind']> = Extract<Settlement, { kind: K }>;

interface Deferred {
  readonly resolve: (settlement: Settlement) => void;
  readonly reject: (error: SlotcastError) => void;
}

/** A call without its ticket, for each kind of call. */
type Asked<C = UserCall> = C extends UserCall ? Omit<C, 'ticket'> : never;

/** The shell of the machine: runs its effects with a socket, a timer and promises. Made by `connect`. */
export class Client {
  readonly #settings: Settings;
  readonly #random: () => number;
  readonly #connection: Connection;
  readonly #emitter: Emitter<ClientEvents> = new Emitter();
  readonly #deferreds: Map<Ticket, Deferred> = new Map();
  readonly #subscriptions: Map<SubscriptionEntry, Set<Subscription>> = new Map();
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
    return this.#state.link.kind === 'ready';
  }

  /** Listens to an event; call the result to stop. */
  on<K extends keyof ClientEvents>(name: K, listener: (event: ClientEvents[K]) => void): StopListening {
    return this.#emitter.on(name, listener);
  }

  /** Resolves once there is a session. Rejects with `ConnectionLostError` after `requestTimeoutMs`; the client goes on trying. */
  async whenConnected(): Promise<void> {
    await this.#ask<'connected'>({ kind: 'awaitConnection' });
  }

  /**
   * Registers an instance, or gives one of the same id new content. It stands: it is registered again on every new connection,
   * until it is deregistered or the client is closed. Resolves when the server has applied it. When it rejects, all is as it was
   * before: a first registration does not stand, new content is dropped for the old.
   */
  async register(service: string | ServiceFields, instance: InstanceInput): Promise<Registration> {
    const name = toServiceName(service);
    // A copy: it is sent again later, whatever the caller does to the object.
    const { metadata, ...fields } = instance;
    const content: InstanceInput = metadata === undefined ? fields : { ...fields, metadata: { ...metadata } };
    const { id, version } = await this.#ask<'registered'>({ kind: 'register', service: name, instance: content });
    return { service: name, id, version, deregister: () => this.deregister(name, id) };
  }

  /**
   * Takes away an instance that this client registered. While cut off it resolves at once: the server removes it with the broken
   * session. Rejects with a `RequestError`: `not_found` when this client has not registered it, `not_owner` when another session has taken it over.
   */
  async deregister(service: string | ServiceFields, id: string): Promise<void> {
    await this.#ask<'deregistered'>({ kind: 'deregister', service: toServiceName(service), id });
  }

  /**
   * Subscribes to a service. Resolves once the list is known, so that an empty list always means that there are no instances.
   * Several subscriptions to one service share one view. With `zone`, `enabledOnly` and `selector` it shows only the instances that meet
   * all of them; a client has one such filter for a service at a time, and another one is refused with a `RequestError`.
   */
  async subscribe(service: string | ServiceFields, options: SubscribeOptions = {}): Promise<Subscription> {
    const mode = options.mode ?? 'delta';
    const filter = copyFilter(options);
    const call = { kind: 'subscribe', service: toServiceName(service), mode, filter } as const;
    const { subscription: entry } = await this.#ask<'subscribed'>(call);
    return this.#handOver(entry);
  }

  /** Asks for a list once. Asked again by itself when the connection breaks before the answer. */
  async query(service: string | ServiceFields, filter: InstanceFilter = {}): Promise<QueryResult> {
    const call = { kind: 'query', service: toServiceName(service), filter: copyFilter(filter) } as const;
    const { result } = await this.#ask<'queried'>(call);
    return result;
  }

  /** One page of the services that have instances. */
  async list(params: ListParams = {}): Promise<ListResult> {
    const { result } = await this.#ask<'listed'>({ kind: 'list', params: { ...params } });
    return result;
  }

  /**
   * Closes in order: the server removes what this client registered at once. Calls that wait are rejected with `ClosedError`,
   * subscriptions end. Resolves when the connection is down, at the latest after `closeTimeoutMs`.
   */
  close(): Promise<void> {
    this.#dispatch({ kind: 'close' });
    for (const subscriptions of this.#subscriptions.values()) {
      for (const subscription of subscriptions) subscription.end();
    }
    this.#subscriptions.clear();
    return this.#closed;
  }

  #ask<K extends Settlement['kind']>(call: Asked): Promise<SettlementOf<K>> {
    const ticket = this.#nextTicket++;
    return new Promise((resolve, reject) => {
      this.#deferreds.set(ticket, {
        // The machine settles each kind of call with its own kind of settlement.
        resolve: resolve as (settlement: Settlement) => void,
        reject,
      });
      this.#dispatch({ ...call, ticket });
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
        this.#takeDeferred(effect.ticket)?.resolve(effect.settlement);
        return;
      case 'reject':
        this.#takeDeferred(effect.ticket)?.reject(effect.error);
        return;
      case 'notify':
        this.#notify(effect.notice);
        return;
      case 'changed':
        for (const subscription of this.#shown(effect.subscription)) subscription.report(effect.difference);
        return;
      case 'freshness':
        for (const subscription of this.#shown(effect.subscription)) subscription.reportFreshness();
        return;
      case 'closed':
        this.#noteClosed();
        this.#emitter.emit('closed', undefined);
        return;
      default:
        effect satisfies never;
    }
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

  #takeDeferred(ticket: Ticket): Deferred | undefined {
    const deferred = this.#deferreds.get(ticket);
    this.#deferreds.delete(ticket);
    return deferred;
  }

  #shown(entry: SubscriptionEntry): readonly Subscription[] {
    return [...(this.#subscriptions.get(entry) ?? [])];
  }

  #handOver(entry: SubscriptionEntry): Subscription {
    const subscription = new Subscription(entry, {
      release: (released, closed) => {
        this.#subscriptions.get(released)?.delete(closed);
        if (this.#subscriptions.get(released)?.size === 0) this.#subscriptions.delete(released);
        this.#dispatch({ kind: 'release', subscription: released });
      },
    });
    const subscriptions = this.#subscriptions.get(entry) ?? new Set();
    this.#subscriptions.set(entry, subscriptions.add(subscription));
    // Closed between the machine's word and this turn.
    if (this.#state.link.kind === 'closing' || this.#state.link.kind === 'closed') subscription.close();
    return subscription;
  }
}

function toServiceName(service: string | ServiceFields): ServiceName {
  const fields = typeof service === 'string' ? { service } : service;
  return {
    namespace: fields.namespace ?? defaultNamespace,
    group: fields.group ?? defaultGroup,
    service: fields.service,
  };
}
