import { WebSocket } from 'ws';

import type {
  InstanceClaim,
  InstanceFilter,
  ServiceChanged,
  GoawayParams,
  SessionOpenResult,
  SubscribeResult,
} from '../src/protocol/types.ts';
import type { Fate } from '../test/support/ledger.ts';
import { SubscriberView } from '../test/support/subscriber-view.ts';

export interface Answer {
  readonly result?: { readonly version: number } & Readonly<Record<string, unknown>>;
  readonly error?: { readonly data: { readonly code: string } };
}

/** What became of a view. */
export interface ViewChange {
  readonly service: string;
  /** Whether it was pushed; else it is how a subscription began. */
  readonly isPush: boolean;
  /** Whether the whole list has come for the first time since the client held another one. */
  readonly isRenewal: boolean;
  /** Nothing of it was new. */
  readonly isEmpty: boolean;
  /** Instances that are not in it any more. */
  readonly lost: readonly string[];
  /** How many are in it that were not. */
  readonly gained: number;
}

export interface ActorEvents {
  readonly onChange: (actor: Actor, change: ViewChange) => void;
  /** The connection was ended from the other side; `state` is what the client was doing. */
  readonly onClose: (actor: Actor, code: number, state: ActorState) => void;
  /** It is asked to reconnect, after so many milliseconds. */
  readonly onGoaway: (actor: Actor, goaway: GoawayParams) => void;
  readonly onWrong: (message: string) => void;
}

/**
 * opening → open → frozen (does not read, for ever) → gone; or open → paused → open; or open → left (another connection is to take its session over) → gone;
 * or open → gone.
 */
export type ActorState = 'opening' | 'open' | 'paused' | 'frozen' | 'left' | 'gone';

/** The handshake was refused with a status of HTTP and a code. */
export class HandshakeRefusal extends Error {
  override readonly name: string = 'HandshakeRefusal';
  readonly code: string;

  constructor(code: string) {
    super(`the handshake was refused: ${code}`);
    this.code = code;
  }
}

export interface ActorOptions {
  readonly url: string;
  readonly fate: Fate;
  readonly isWatcher: boolean;
  /** Of the registry, in which it connects. */
  readonly life: number;
  readonly events: ActorEvents;
}

type Notification =
  | { readonly method: 'service.changed'; readonly params: ServiceChanged }
  | { readonly method: 'instance.claim'; readonly params: InstanceClaim }
  | { readonly method: 'session.goaway'; readonly params: GoawayParams };

type Message = ({ readonly id: number | null } & Answer) | (Notification & { id?: undefined });

/** One client with a real socket. It keeps its views by the rules of the protocol, and says so where they are broken. */
export class Actor {
  /** That of the session which it has, be it by taking it over. */
  fate: Fate;
  readonly life: number;
  readonly views: Map<string, SubscriberView> = new Map();
  state: ActorState = 'opening';
  /** Registers nothing, so that it may read as slowly as it likes. */
  readonly isWatcher: boolean;
  /** When it last went on reading after a pause, on the steady clock. */
  resumedAtMs = 0;
  /** What the registry said when the session was opened. */
  opened: SessionOpenResult | undefined;
  /** What it was told that does not show, since another has registered it later, as `service id` (SE7). */
  readonly hidden: Set<string> = new Set();
  claimNotices = 0;
  readonly #socket: WebSocket;
  readonly #events: ActorEvents;
  readonly #answers: Map<number, (answer: Answer | undefined) => void> = new Map();
  /** Views of subscriptions that wait for their answer. */
  readonly #starting: Map<number, { service: string; view: SubscriberView; isPassedOver: boolean }> = new Map();
  /** The filter of the last subscription to each service that was asked for; undefined: which one is in force is not known. */
  readonly #filters: Map<string, string | undefined> = new Map();
  /** Services whose list stands for now, since the registry has just started: the next push brings the whole list. */
  readonly #waiting: Set<string> = new Set();
  #lastId = 0;

  private constructor({ fate, isWatcher, life, events }: ActorOptions, socket: WebSocket) {
    this.fate = fate;
    this.isWatcher = isWatcher;
    this.life = life;
    this.#socket = socket;
    this.#events = events;
    socket.on('message', (bytes: Buffer) => {
      try {
        this.#take(bytes.toString());
      } catch (error) {
        events.onWrong(`${this.fate.name}: ${error instanceof Error ? error.message : String(error)}`);
      }
    });
    socket.on('close', (code) => {
      const { state } = this;
      this.state = 'gone';
      if (state !== 'gone') events.onClose(this, code, state);
      for (const take of this.#answers.values()) take(undefined);
      this.#answers.clear();
    });
  }

  /** Connects; rejects with a {@link HandshakeRefusal}, or with the socket's error. */
  static connect(options: ActorOptions): Promise<Actor> {
    const socket = new WebSocket(options.url, { perMessageDeflate: false });
    return new Promise((resolve, reject) => {
      socket.once('open', () => {
        resolve(new Actor(options, socket));
      });
      socket.once('unexpected-response', (request, response) => {
        let body = '';
        response.on('data', (chunk) => (body += String(chunk)));
        response.on('end', () => {
          request.destroy();
          reject(new HandshakeRefusal(readCode(body)));
        });
      });
      // Whatever ends a connection, `close` follows.
      socket.on('error', reject);
    });
  }

  get unanswered(): number {
    return this.#answers.size;
  }

  /** Opens the session, or takes that of `secret` over; undefined: the connection ended before the answer. */
  async open(secret?: string): Promise<Answer | undefined> {
    const params = {
      client: 'chaos',
      ...(secret === undefined ? {} : { resume: secret }),
      capabilities: ['claims'],
    };
    const answer = await this.ask('session.open', params);
    if (answer?.result === undefined) return answer;
    this.opened = answer.result as unknown as SessionOpenResult;
    return answer;
  }

  /** It has the session that it wanted, and takes part from now on. */
  enter(): void {
    if (this.state === 'opening') this.state = 'open';
  }

  /** Another connection is to take its session over. */
  leaveBehind(): void {
    this.state = 'left';
  }

  /** Resolves with the answer, or undefined if the connection ended before it. */
  ask(method: string, params: object): Promise<Answer | undefined> {
    return new Promise((resolve) => {
      if (this.state === 'gone') resolve(undefined);
      else this.#send(method, params, resolve);
    });
  }

  request(method: string, params: object, take: (answer: Answer) => void): void {
    this.#send(method, params, (answer) => {
      if (answer !== undefined) take(answer);
    });
  }

  /** Subscribes anew with a filter, or resumes from what is held. */
  subscribe(
    service: string,
    mode: 'delta' | 'snapshot',
    held: SubscriberView | InstanceFilter,
    take: (answer: Answer) => void,
  ): void {
    const view = held instanceof SubscriberView ? held.copy() : new SubscriberView(held);
    const resume = view.version > 0 ? { version: view.version, count: view.instances.size } : {};
    const params = { service, mode, ...view.filter, ...resume };
    const id = this.#send('service.subscribe', params, (answer) => {
      this.#starting.delete(id);
      if (answer?.error !== undefined) this.#filters.set(service, undefined);
      if (answer !== undefined) take(answer);
    });
    const filter = JSON.stringify(view.filter);
    // What one holds of one filter says nothing of another that the connection has subscribed with.
    const isPassedOver = this.#filters.has(service) && this.#filters.get(service) !== filter;
    this.#filters.set(service, filter);
    this.#starting.set(id, { service, view, isPassedOver });
  }

  unsubscribe(service: string, take: (answer: Answer) => void): void {
    this.views.delete(service);
    this.#filters.delete(service);
    for (const [id, starting] of this.#starting) if (starting.service === service) this.#starting.delete(id);
    this.request('service.unsubscribe', { service }, take);
  }

  /** Whether what it shows of a service is from before the registry was started, for now. */
  isWaiting(service: string): boolean {
    return this.#waiting.has(service);
  }

  sendGarbage(frame: string): void {
    this.#socket.send(frame);
  }

  /** Sends something that cannot count any more, without waiting for an answer. */
  sendLate(method: string, params: object): void {
    if (this.#socket.readyState === WebSocket.OPEN)
      this.#socket.send(JSON.stringify({ jsonrpc: '2.0', method, params }));
  }

  pause(): void {
    this.state = 'paused';
    this.#socket.pause();
  }

  resume(): void {
    this.state = 'open';
    this.#socket.resume();
  }

  /** Reads nothing and answers no ping from now on. */
  freeze(): void {
    this.state = 'frozen';
    this.#socket.pause();
  }

  close(): void {
    this.state = 'gone';
    this.#socket.close(1000);
  }

  terminate(): void {
    this.state = 'gone';
    this.#socket.terminate();
  }

  #send(method: string, params: object, take: (answer: Answer | undefined) => void): number {
    this.#lastId += 1;
    this.#answers.set(this.#lastId, take);
    this.#socket.send(JSON.stringify({ jsonrpc: '2.0', id: this.#lastId, method, params }));
    return this.#lastId;
  }

  #take(text: string): void {
    if (this.state === 'gone') return;
    const message = JSON.parse(text) as Message | readonly unknown[];
    // The answer to garbage.
    if ('length' in message || message.id === null) return;
    if (message.id === undefined) {
      this.#handleNotification(message);
      return;
    }
    const take = this.#answers.get(message.id);
    if (take === undefined) throw new Error(`an answer to no request: ${text.slice(0, 200)}`);
    this.#answers.delete(message.id);
    const starting = this.#starting.get(message.id);
    if (starting !== undefined && message.result !== undefined) {
      this.#begin(starting, message.result as unknown as SubscribeResult);
    }
    take(message);
  }

  #handleNotification({ method, params }: Notification): void {
    if (method === 'service.changed') this.#change(params);
    else if (method === 'session.goaway') this.#events.onGoaway(this, params);
    else {
      this.claimNotices += 1;
      const name = `${params.service} ${params.id}`;
      if (params.shown) this.hidden.delete(name);
      else this.hidden.add(name);
    }
  }

  #begin(
    { service, view, isPassedOver }: { service: string; view: SubscriberView; isPassedOver: boolean },
    result: SubscribeResult,
  ): void {
    const before = new Set(isPassedOver ? [] : view.instances.keys());
    view.begin(result);
    this.views.set(service, view);
    this.#waiting.delete(service);
    if ('from' in result && result.warming === true) this.#waiting.add(service);
    this.#report(service, before, { isPush: false, isRenewal: !('from' in result), isEmpty: false });
  }

  #change(change: ServiceChanged): void {
    const { service } = change;
    const view = this.views.get(service);
    // A push that crossed an unsubscribe on its way.
    if (view === undefined) return;
    const isRenewal = this.#waiting.delete(service);
    if (isRenewal && !('snapshot' in change)) throw new Error(`[PU5] the list of ${service} was to come whole`);
    const isEmpty = changesNothing(view, change);
    const before = new Set(view.instances.keys());
    view.take(change);
    this.#report(service, before, { isPush: true, isRenewal, isEmpty });
  }

  #report(
    service: string,
    before: ReadonlySet<string>,
    what: Pick<ViewChange, 'isPush' | 'isRenewal' | 'isEmpty'>,
  ): void {
    const { instances } = this.views.get(service)!;
    const lost = [...before].filter((id) => !instances.has(id));
    const gained = [...instances.keys()].filter((id) => !before.has(id)).length;
    this.#events.onChange(this, { service, lost, gained, ...what });
  }
}

function readCode(body: string): string {
  try {
    return (JSON.parse(body) as { error: { code: string } }).error.code;
  } catch {
    return `a body that is no error: ${body.slice(0, 100)}`;
  }
}

function changesNothing({ instances }: SubscriberView, change: ServiceChanged): boolean {
  const put = 'snapshot' in change ? change.instances : change.put;
  if ('snapshot' in change ? put.length !== instances.size : change.remove.some((id) => instances.has(id)))
    return false;
  return put.every((instance) => instances.get(instance.id)?.metadata?.['mark'] === instance.metadata?.['mark']);
}
