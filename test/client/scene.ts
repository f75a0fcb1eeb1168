import type { SubscriptionEntry } from '../../src/client/entries.ts';
import type { FilteredView } from '../../src/client/entries.ts';
import type { ClientOptions } from '../../src/client/options.ts';
import { encodeFilter } from '../../src/protocol/instance-filter.ts';
import type { Instance, InstanceFilter, WireLimits } from '../../src/protocol/types.ts';
import { SimulatedShell } from './simulated-shell.ts';

export const service = { namespace: 'public', group: 'DEFAULT', service: 'one' };
export const limits: WireLimits = {
  frameBytesMax: 10_000,
  batchEntriesMax: 1000,
  requestsInFlightMax: 1000,
  registrationsMax: 1000,
  subscriptionsMax: 1000,
};

export interface Request {
  readonly id: number;
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
}

/** A client with a server that is played by hand. */
export class Scene extends SimulatedShell {
  constructor(options: Partial<ClientOptions> = {}) {
    // It stays where it is: the newest socket is the one that serves, but for goaway.
    super({ returnAfterMs: 0, ...options });
    this.dispatch({ kind: 'tick' });
  }

  get socket(): number {
    return this.state.link.newest;
  }

  /** Opens the session on the newest socket, as a server of the first edition would, or with `later`, a later one; returns what it was asked. */
  connect(announced: Partial<WireLimits> = {}, later: object = {}): Request['params'] {
    this.dispatch({ kind: 'socketOpened', socket: this.socket });
    const open = this.takeRequests().find(({ method }) => method === 'session.open');
    this.answer(open!.id, { session: 's', heartbeatMs: 60_000, limits: { ...limits, ...announced }, ...later });
    return open!.params;
  }

  /** The connection breaks, and another one is made. */
  reconnect(later: object = {}): Request['params'] {
    this.cut();
    this.advance(200);
    return this.connect({}, later);
  }

  get view(): SubscriptionEntry {
    return this.state.tables.subscriptions.get('public/DEFAULT/one')!;
  }

  filtered(filter: InstanceFilter = {}): FilteredView {
    return this.view.filtered.get(encodeFilter(filter))!;
  }

  /** Registers, and has it acknowledged. */
  registered(id: string, weight = 1): void {
    this.register(id, weight);
    this.answer(this.takeRequests()[0]!.id, { version: 5, id });
  }

  subscribed(instances: readonly Instance[] = [], filter: InstanceFilter = {}): void {
    this.call({ kind: 'subscribe', service, mode: 'delta', filter });
    this.answer(this.takeRequests()[0]!.id, { version: 5, instances });
  }

  cut(): void {
    this.dispatch({ kind: 'socketClosed', socket: this.socket, cause: 'cut' });
  }

  frame(value: object): void {
    this.dispatch({ kind: 'frame', socket: this.socket, text: JSON.stringify(value) });
  }

  answer(id: number, result: object): void {
    this.frame({ jsonrpc: '2.0', id, result });
  }

  refuse(id: number, code: string, fields: object = {}): void {
    this.frame({ jsonrpc: '2.0', id, error: { code: 0, message: code, data: { code, ...fields } } });
  }

  /** Frames sent since the last call, each as the requests in it. */
  takeFrames(): Request[][] {
    this.flush();
    return this.sent.splice(0).map(({ text }) => {
      const value = JSON.parse(text) as Request | Request[];
      return Array.isArray(value) ? value : [value];
    });
  }

  takeRequests(): Request[] {
    return this.takeFrames().flat();
  }

  errorOf(ticket: number): Error | undefined {
    const outcome = this.outcomes.get(ticket);
    return outcome?.kind === 'rejected' ? outcome.error : undefined;
  }

  register(id: string, weight = 1): number {
    return this.call({ kind: 'register', service, instance: { id, host: 'h', port: 1, weight } });
  }
}
