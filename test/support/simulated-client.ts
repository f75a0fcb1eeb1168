import type { CloseReason } from '../../src/protocol/errors.ts';
import { serviceKey } from '../../src/protocol/service-key.ts';
import type {
  InstanceClaim,
  InstanceFilter,
  KeysChanged,
  MethodName,
  Methods,
  Notifications,
  RegisterParams,
  RegisterResult,
  ServiceChanged,
  SessionOpenResult,
  SubscribeResult,
} from '../../src/protocol/types.ts';
import type { Delivery } from '../../src/push/fan-out.ts';
import type { SessionCore } from '../../src/sessions/session-core.ts';
import type { Session } from '../../src/sessions/session.ts';
import type { Socket } from '../../src/transport/transport.ts';
import type { InProcessRegistry } from './in-process-registry.ts';
import { SubscriberView } from './subscriber-view.ts';

export interface Answered {
  readonly method: MethodName;
  readonly params: object;
  result?: unknown;
  error?: { readonly data: { readonly code: string; readonly limit?: string } };
}

type Message =
  | { id: number; result?: unknown; error?: NonNullable<Answered['error']> }
  | { [N in keyof Notifications]: { method: N; params: Notifications[N] } }[keyof Notifications];

/** Hears of what comes to a client, right after it came. */
export interface ClientListener {
  /** An answer, or an error; a view that it began has begun. */
  onAnswer(answered: Answered): void;
  /** The view of a service has changed. */
  onChange(key: string, view: SubscriberView): void;
  /** It was told of keys that it watches. */
  onKeyNews?(news: KeysChanged): void;
  /** The connection is over. */
  onGone(isClean: boolean): void;
}

/** A client of the in-process registry: speaks the protocol's text frames over a socket whose backlog the test controls. */
export class SimulatedClient implements Socket {
  readonly address = '10.0.0.1';
  readonly session: Session;
  readonly requests: Map<number, Answered> = new Map();
  readonly views: Map<string, SubscriberView> = new Map();
  /** Views of subscriptions that wait for their answer, by request. */
  readonly #starting: Map<number, SubscriberView> = new Map();
  readonly #registry: InProcessRegistry;
  readonly #core: SessionCore;
  /** Frames that the reader has not read. */
  readonly #unread: string[] = [];
  readonly #backlogFramesMax: number;
  /** Of the last ping that came while nothing was read. */
  #unansweredMark: string | undefined;
  isReading = true;
  listener: ClientListener | undefined;
  /** Says, when it resumes, how many instances it holds. */
  isCounting = true;
  /** Pings are answered at once; else when the scheduler says so. */
  isPrompt = true;
  closed: CloseReason | 'client' | undefined;
  pings = 0;
  notifications = 0;
  /** What it was told of its registrations, as `key id`: that another's shows in its place. */
  readonly hidden: Set<string> = new Set();
  /** As they came. */
  readonly claimNotices: InstanceClaim[] = [];
  /** What it was told of keys that it watches, as it came. */
  readonly keyNews: KeysChanged[] = [];
  /** Those of which it is told anew how they stand, since a newer registration was refused. */
  readonly #doubtful: Set<string> = new Set();
  corks = 0;
  #hasResumed = false;

  constructor(
    registry: InProcessRegistry,
    backlogFramesMax: number = Number.POSITIVE_INFINITY,
    core: SessionCore = registry.core,
  ) {
    this.#registry = registry;
    this.#core = core;
    this.#backlogFramesMax = backlogFramesMax;
    this.session = this.#core.connect(this);
  }

  send(frame: string | Uint8Array): Delivery {
    if (this.closed !== undefined) return 'closed';
    if (this.#unread.length >= this.#backlogFramesMax) return 'dropped';
    const text = typeof frame === 'string' ? frame : Buffer.from(frame).toString();
    if (this.isReading) this.#read(text);
    else this.#unread.push(text);
    return 'sent';
  }

  cork(sends: () => void): void {
    this.corks += 1;
    sends();
  }

  ping(mark: string): boolean {
    this.pings += 1;
    if (!this.isReading) {
      this.#unansweredMark = mark;
      return true;
    }
    const hear = (): void => this.#core.onPong(this.session, mark);
    if (this.isPrompt) hear();
    else this.#registry.schedule(hear);
    return true;
  }

  end(reason: CloseReason): void {
    this.closed = reason;
    this.listener?.onGone(false);
    const close = (): void => this.#core.disconnected(this.session, false);
    // How long it takes until a connection is gone that nobody reads from any more, nobody knows.
    if (reason === 'resumed_elsewhere') this.#registry.schedule(close);
    else close();
  }

  request<M extends MethodName>(method: M, params: Methods[M]['params']): Answered {
    const id = this.requests.size + 1;
    const answered: Answered = { method, params };
    this.requests.set(id, answered);
    this.#core.receive(this.session, JSON.stringify({ jsonrpc: '2.0', id, method, params }));
    return answered;
  }

  /** Opens the session; with the secret of another it takes that one over. */
  open(resume?: string): Answered {
    return this.request('session.open', { client: 'simulated/1', ...(resume === undefined ? {} : { resume }) });
  }

  /** Subscribes, resuming from the view that is held, if one is given. */
  subscribe(
    service: string,
    mode: 'delta' | 'snapshot' = 'delta',
    held?: SubscriberView,
    filter: InstanceFilter = {},
  ): SubscriberView {
    const view = held !== undefined && held.version > 0 ? held.copy() : new SubscriberView(filter);
    this.#starting.set(this.requests.size + 1, view);
    const count = this.isCounting ? { count: view.instances.size } : {};
    const resume = view.version > 0 ? { version: view.version, ...count } : {};
    this.request('service.subscribe', { service, mode, ...view.filter, ...resume });
    return view;
  }

  unsubscribe(service: string): void {
    const key = serviceKey({ service });
    this.views.delete(key);
    for (const request of this.#starting.keys()) {
      if (serviceKey(this.requests.get(request)!.params as { service: string }) === key) this.#starting.delete(request);
    }
    this.request('service.unsubscribe', { service });
  }

  /** Reads everything that waits, and goes on reading. */
  resume(): void {
    this.isReading = true;
    for (const text of this.#unread.splice(0)) this.#read(text);
    if (this.#unansweredMark === undefined) this.#core.onActivity(this.session);
    else this.#core.onPong(this.session, this.#unansweredMark);
    this.#unansweredMark = undefined;
    if (this.closed === undefined) this.#core.onDrain(this.session);
  }

  leave(isClean: boolean): void {
    if (this.closed !== undefined) return;
    this.closed = 'client';
    this.listener?.onGone(isClean);
    this.#core.disconnected(this.session, isClean);
  }

  #read(text: string): void {
    const parsed: unknown = JSON.parse(text);
    if (Array.isArray(parsed)) for (const message of parsed) this.#readMessage(message as Message);
    else this.#readMessage(parsed as Message);
  }

  #readMessage(message: Message): void {
    if ('method' in message) {
      if (message.method === 'service.changed') this.#handleChange(message.params);
      if (message.method === 'instance.claim') this.#handleClaim(message.params);
      if (message.method === 'kv.changed') {
        this.keyNews.push(message.params);
        this.listener?.onKeyNews?.(message.params);
      }
      return;
    }
    const answered = this.requests.get(message.id);
    if (answered === undefined) throw new Error(`an answer to a request that was not made: ${JSON.stringify(message)}`);
    if (answered.result !== undefined || answered.error !== undefined)
      throw new Error(`answered twice: ${JSON.stringify(message)}`);
    if (message.result !== undefined) answered.result = message.result;
    if (message.error !== undefined) answered.error = message.error;
    const view = this.#starting.get(message.id);
    if (view !== undefined && message.result !== undefined) {
      view.begin(message.result as SubscribeResult);
      this.views.set(serviceKey(answered.params as { service: string }), view);
    }
    if (answered.method === 'session.open') {
      this.#hasResumed ||= (message.result as SessionOpenResult | undefined)?.resumed !== undefined;
    }
    // Whoever registers last shows, until it is told otherwise.
    if (answered.method === 'instance.register' && message.result !== undefined) {
      const key = serviceKey(answered.params as RegisterParams);
      this.hidden.delete(`${key} ${(message.result as RegisterResult).id}`);
    }
    if (answered.method === 'instance.register' && message.error !== undefined) {
      const { instance } = answered.params as RegisterParams;
      if (instance.id !== undefined)
        this.#doubtful.add(`${serviceKey(answered.params as RegisterParams)} ${instance.id}`);
    }
    this.listener?.onAnswer(answered);
  }

  #handleClaim(claim: InstanceClaim): void {
    this.claimNotices.push(claim);
    const name = `${serviceKey(claim)} ${claim.id}`;
    // Whoever takes a session over is told again what the connection before may have missed.
    if (claim.shown === !this.hidden.has(name) && !this.#hasResumed && !this.#doubtful.delete(name))
      throw new Error(`told twice that ${name} is ${claim.shown ? '' : 'not '}shown`);
    if (claim.shown) this.hidden.delete(name);
    else this.hidden.add(name);
  }

  #handleChange(change: ServiceChanged): void {
    this.notifications += 1;
    const view = this.views.get(serviceKey(change));
    // A push that crossed an unsubscribe on its way.
    if (view === undefined) return;
    view.take(change);
    this.listener?.onChange(serviceKey(change), view);
  }
}
