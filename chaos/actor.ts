import { WebSocket } from 'ws';

import type { InstanceFilter, ServiceChanged, SubscribeResult } from '../src/protocol/types.ts';
import type { Fate } from '../test/support/ledger.ts';
import { SubscriberView } from '../test/support/subscriber-view.ts';

export interface Answer {
  readonly result?: { readonly version: number } & Readonly<Record<string, unknown>>;
  readonly error?: { readonly data: { readonly code: string } };
}

export interface ActorEvents {
  /** A view has changed; `isEmpty`: nothing that was pushed was new. */
  readonly onChange: (actor: Actor, service: string, isPush: boolean, isEmpty: boolean) => void;
  /** The server ended the connection; `state` is what the client was doing. */
  readonly onClose: (actor: Actor, code: number, state: ActorState) => void;
  readonly onWrong: (message: string) => void;
}

/** open → frozen (does not read, for ever) → gone; or open → paused → open; or open → gone. */
export type ActorState = 'open' | 'paused' | 'frozen' | 'gone';

/** One client with a real socket. It keeps its views by the rules of the protocol, and says so where they are broken. */
export class Actor {
  readonly fate: Fate;
  readonly views: Map<string, SubscriberView> = new Map();
  state: ActorState = 'open';
  /** Registers nothing, so that it may read as slowly as it likes. */
  readonly isWatcher: boolean;
  /** When it last went on reading after a pause, on the steady clock. */
  resumedAtMs = 0;
  readonly #socket: WebSocket;
  readonly #events: ActorEvents;
  readonly #answers: Map<number, (answer: Answer) => void> = new Map();
  /** Views of subscriptions that wait for their answer. */
  readonly #starting: Map<number, { service: string; view: SubscriberView }> = new Map();
  #lastId = 0;

  private constructor(fate: Fate, isWatcher: boolean, socket: WebSocket, events: ActorEvents) {
    this.fate = fate;
    this.isWatcher = isWatcher;
    this.#socket = socket;
    this.#events = events;
    socket.on('message', (bytes: Buffer) => {
      try {
        this.#take(bytes.toString());
      } catch (error) {
        events.onWrong(`${fate.name}: ${error instanceof Error ? error.message : String(error)}`);
      }
    });
    socket.on('close', (code) => {
      const state = this.state;
      this.state = 'gone';
      if (state !== 'gone') events.onClose(this, code, state);
    });
  }

  static open(url: string, fate: Fate, isWatcher: boolean, events: ActorEvents): Promise<Actor> {
    const socket = new WebSocket(url, { perMessageDeflate: false });
    return new Promise((resolve, reject) => {
      socket.once('open', () => {
        resolve(new Actor(fate, isWatcher, socket, events));
      });
      // Whatever ends a connection, `close` follows.
      socket.on('error', reject);
    });
  }

  get unanswered(): number {
    return this.#answers.size;
  }

  request(method: string, params: object, take: (answer: Answer) => void): number {
    this.#lastId += 1;
    this.#answers.set(this.#lastId, take);
    this.#socket.send(JSON.stringify({ jsonrpc: '2.0', id: this.#lastId, method, params }));
    return this.#lastId;
  }

  /** Subscribes anew with a filter, or resumes from what is held. */
  subscribe(
    service: string,
    mode: 'delta' | 'snapshot',
    held: SubscriberView | InstanceFilter,
    take: (answer: Answer) => void,
  ): void {
    const view = held instanceof SubscriberView ? held.copy() : new SubscriberView(held);
    const resume = view.version > 0 ? { version: view.version } : {};
    const params = { service, mode, ...view.filter, ...resume };
    this.#starting.set(this.request('service.subscribe', params, take), { service, view });
  }

  unsubscribe(service: string, take: (answer: Answer) => void): void {
    this.views.delete(service);
    for (const [id, starting] of this.#starting) if (starting.service === service) this.#starting.delete(id);
    this.request('service.unsubscribe', { service }, take);
  }

  sendGarbage(frame: string): void {
    this.#socket.send(frame);
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

  #take(text: string): void {
    if (this.state === 'gone') return;
    const message = JSON.parse(text) as
      | ({ id: number | null } & Answer)
      | { id?: undefined; method: string; params: ServiceChanged };
    if (message.id === undefined) {
      if (message.method === 'service.changed') this.#change(message.params);
      return;
    }
    // The answer to garbage.
    if (message.id === null) return;
    const take = this.#answers.get(message.id);
    if (take === undefined) throw new Error(`an answer to no request: ${text.slice(0, 200)}`);
    this.#answers.delete(message.id);
    const starting = this.#starting.get(message.id);
    this.#starting.delete(message.id);
    if (starting !== undefined && message.result !== undefined) {
      starting.view.begin(message.result as unknown as SubscribeResult);
      this.views.set(starting.service, starting.view);
      this.#events.onChange(this, starting.service, false, false);
    }
    take(message);
  }

  #change(change: ServiceChanged): void {
    const view = this.views.get(change.service);
    // A push that crossed an unsubscribe on its way.
    if (view === undefined) return;
    const isEmpty = changesNothing(view, change);
    view.take(change);
    this.#events.onChange(this, change.service, true, isEmpty);
  }
}

function changesNothing({ instances }: SubscriberView, change: ServiceChanged): boolean {
  const put = 'snapshot' in change ? change.instances : change.put;
  if ('snapshot' in change ? put.length !== instances.size : change.remove.some((id) => instances.has(id)))
    return false;
  return put.every((instance) => instances.get(instance.id)?.metadata?.['mark'] === instance.metadata?.['mark']);
}
