import { defaultGroup, defaultNamespace } from '../protocol/service-key.ts';
import type {
  InstanceInput,
  ListResult,
  QueryResult,
  RegisterResult,
  ServiceFields,
  ServiceName,
} from '../protocol/types.ts';
import type {
  Client,
  ClientEvents,
  ListOptions,
  PersistentOptions,
  QueryOptions,
  RegisterOptions,
  SubscribeOptions,
} from './client.ts';
import { Connection } from './connection.ts';
import type { ClientEffect, ClientEvent, Notice, Settlement, UserCall } from './effects.ts';
import { Emitter } from './emitter.ts';
import type { StopListening } from './emitter.ts';
import type { FilteredView } from './entries.ts';
import { ClosedError } from './errors.ts';
import { KeySpace } from './key-space.ts';
import { servingOf } from './link.ts';
import { ListKeeper } from './list-keeper.ts';
import { createClientState, stepClient } from './machine.ts';
import { resolveOptions } from './options.ts';
import type { CallOptions, ClientOptions, Settings, TokenSource } from './options.ts';
import { PendingCalls } from './pending-calls.ts';
import type { SettlementOf } from './pending-calls.ts';
import { Registration } from './registration.ts';
import type { Deregistration, DeregisterOptions } from './registration.ts';
import { copyFilter } from './selection.ts';
import type { ClientState } from './step.ts';
import { Subscription } from './subscription.ts';

/** A call without its ticket, for each kind of call. */
type Asked<C = UserCall> = C extends UserCall ? Omit<C, 'ticket' | 'timeoutMs'> : never;

/** The shell of the machine: runs its effects with sockets, a timer and promises. */
export class ClientShell implements Client {
  readonly #settings: Settings;
  readonly #random: () => number;
  readonly #tokenSource: TokenSource | undefined;
  readonly #connection: Connection;
  readonly #emitter: Emitter<ClientEvents> = new Emitter();
  readonly #calls: PendingCalls = new PendingCalls();
  readonly #subscriptions: Map<FilteredView, Set<Subscription>> = new Map();
  readonly #lists: ListKeeper;
  readonly keys: KeySpace;
  readonly #closed: Deferred = createDeferred();
  #state: ClientState = createClientState();
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Events that came while an event was being worked on, for example calls made by listeners. */
  #events: ClientEvent[] = [];
  #isStepping = false;

  constructor(options: ClientOptions) {
    this.#settings = resolveOptions(options);
    this.#random = options.random ?? Math.random;
    this.#tokenSource = typeof options.token === 'function' ? options.token : undefined;
    this.keys = new KeySpace({
      ask: (call, callOptions) => this.#ask(call, callOptions),
      unwatch: (watcher) => {
        this.#dispatch({ kind: 'unwatchKeys', watcher });
      },
      retryMs: this.#settings.backoffMaxMs,
    });
    this.#lists = new ListKeeper(options.cache, (fault) => {
      this.#emitter.emit('cache', fault);
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
      this.#settings.tls,
    );
  }

  /** Begins to connect. */
  start(): this {
    this.#dispatch({ kind: 'tick' });
    return this;
  }

  get isConnected(): boolean {
    return servingOf(this.#state.link) !== undefined;
  }

  on<K extends keyof ClientEvents>(name: K, listener: (event: ClientEvents[K]) => void): StopListening {
    return this.#emitter.on(name, listener);
  }

  async whenConnected(options: CallOptions = {}): Promise<void> {
    await this.#ask<'connected'>({ kind: 'awaitConnection' }, options);
  }

  register(
    service: string | ServiceFields,
    instance: InstanceInput,
    options: PersistentOptions,
  ): Promise<RegisterResult>;
  register(service: string | ServiceFields, instance: InstanceInput, options?: RegisterOptions): Promise<Registration>;
  async register(
    service: string | ServiceFields,
    instance: InstanceInput,
    options: RegisterOptions | PersistentOptions = {},
  ): Promise<Registration | RegisterResult> {
    const name = toServiceName(service);
    // A copy: it is sent again later, whatever the caller does to the object.
    const { metadata, ...fields } = instance;
    const content: InstanceInput = metadata === undefined ? fields : { ...fields, metadata: { ...metadata } };
    if (options.persistent === true) {
      const call = { kind: 'registerPersistent', service: name, instance: content } as const;
      return (await this.#ask<'stored'>(call, options)).result as RegisterResult;
    }
    const isStanding = options.standing === true;
    const call = { kind: 'register', service: name, instance: content, isStanding } as const;
    const { registration } = await this.#ask<'registered'>(call, options);
    return new Registration(registration, {
      deregister: (service, id, options) => this.deregister(service, id, options),
      setHealth: async (entry, health, options) => {
        const { service, wanted } = entry;
        if (wanted === undefined) throw new ClosedError('registration', 'deregistered');
        const instance = { ...wanted, health };
        await this.#ask<'registered'>({ kind: 'register', service, instance, isStanding: entry.isStanding }, options);
      },
      whenApplied: async (registration, options) => {
        await this.#ask<'registered'>({ kind: 'awaitRegistration', registration }, options);
      },
    });
  }

  async deregister(
    service: string | ServiceFields,
    id: string,
    options: DeregisterOptions | PersistentOptions = {},
  ): Promise<Deregistration> {
    if (options.persistent === true) {
      await this.#ask<'stored'>({ kind: 'deregisterPersistent', service: toServiceName(service), id }, options);
      return { pending: false };
    }
    const isPatient = options.untilApplied === true;
    const call = { kind: 'deregister', service: toServiceName(service), id, isPatient } as const;
    const { pending } = await this.#ask<'deregistered'>(call, options);
    return { pending };
  }

  async subscribe(service: string | ServiceFields, options: SubscribeOptions = {}): Promise<Subscription> {
    const mode = options.mode ?? 'delta';
    const filter = copyFilter(options);
    const isStanding = options.standing === true;
    const call = { kind: 'subscribe', service: toServiceName(service), mode, filter, isStanding } as const;
    const { subscription } = await this.#ask<'subscribed'>(call, options);
    return this.#handOver(subscription);
  }

  async query(service: string | ServiceFields, options: QueryOptions = {}): Promise<QueryResult> {
    const call = { kind: 'query', service: toServiceName(service), filter: copyFilter(options) } as const;
    const { result } = await this.#ask<'queried'>(call, options);
    return result;
  }

  async list({ signal, timeoutMs, ...params }: ListOptions = {}): Promise<ListResult> {
    const options = { ...(signal === undefined ? {} : { signal }), ...(timeoutMs === undefined ? {} : { timeoutMs }) };
    const { result } = await this.#ask<'listed'>({ kind: 'list', params }, options);
    return result;
  }

  close(): Promise<void> {
    this.#dispatch({ kind: 'close' });
    this.#endSubscriptions();
    return this.#closed.promise;
  }

  /** Like `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #ask<K extends Settlement['kind']>(call: Asked, options: CallOptions): Promise<SettlementOf<K>> {
    return this.#calls.add<K>(
      options,
      (ticket, timeoutMs) => {
        this.#dispatch({ ...call, ticket, timeoutMs });
      },
      (ticket) => {
        this.#dispatch({ kind: 'abort', ticket });
      },
    );
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
      case 'askToken':
        void this.#askToken(effect.socket);
        return;
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
        this.#calls.resolve(effect.ticket, effect.settlement);
        return;
      case 'reject':
        this.#calls.reject(effect.ticket, effect.error);
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
      case 'keysChanged':
        this.keys.noteNews(effect.watcher, effect.news);
        return;
      case 'lockLost':
        this.keys.noteLost(effect.claim, effect.cause);
        return;
      case 'loadList':
        void this.#loadList(effect.service);
        return;
      case 'saveList':
        this.#lists.save(effect.list);
        return;
      case 'closed':
        this.#endSubscriptions();
        if (this.#lists.isSaving) void this.#finishSaved();
        else this.#finish();
        return;
      default:
        effect satisfies never;
    }
  }

  /** The token itself is in no event for users and in no message of an error. */
  async #askToken(socket: number): Promise<void> {
    let token: unknown;
    let failure = 'the function returned no string';
    try {
      // Not in the turn of `connect`, whose caller listens from the next line on.
      token = await Promise.resolve().then(this.#tokenSource);
    } catch (error) {
      failure = error instanceof Error ? error.message : String(error);
    }
    if (typeof token === 'string' && token !== '') this.#dispatch({ kind: 'tokenGiven', socket, token });
    else this.#dispatch({ kind: 'socketClosed', socket, cause: `token: ${failure}` });
  }

  #endSubscriptions(): void {
    for (const subscriptions of this.#subscriptions.values()) {
      for (const subscription of subscriptions) subscription.end();
    }
    this.#subscriptions.clear();
    this.keys.end();
  }

  #finish(): void {
    this.#closed.resolve();
    this.#emitter.emit('closed', undefined);
  }

  /** What the cache has been given is to be there for the next start. */
  async #finishSaved(): Promise<void> {
    await this.#lists.whenSaved(this.#settings.closeTimeoutMs);
    this.#finish();
  }

  async #loadList(service: ServiceName): Promise<void> {
    const list = await this.#lists.load(service);
    this.#dispatch({ kind: 'listLoaded', service, list });
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

interface Deferred {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
}

function createDeferred(): Deferred {
  let resolve!: () => void;
  // The function runs before the constructor returns.
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

function toServiceName(service: string | ServiceFields): ServiceName {
  const fields = typeof service === 'string' ? { service } : service;
  return {
    namespace: fields.namespace ?? defaultNamespace,
    group: fields.group ?? defaultGroup,
    service: fields.service,
  };
}
