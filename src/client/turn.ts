import type { Failure } from '../protocol/errors.ts';
import type { Books, Errand, Postponed, RegistrationEntry, SubscriptionEntry, Ticket } from './books.ts';
import type { ClientEffect, Settlement } from './effects.ts';
import { RequestError } from './errors.ts';
import type { SlotcastError } from './errors.ts';
import type { Inputs, LinkState } from './link.ts';

/** Everything that a client is. The link is a value; the books are updated in place. */
export interface ClientState {
  link: LinkState;
  readonly books: Books;
  armedAtMs: number | undefined;
  isFlushAsked: boolean;
}

/** One step under way: what it works on and what it has decided so far. */
export class Turn {
  readonly state: ClientState;
  readonly inputs: Inputs;
  readonly effects: ClientEffect[] = [];

  constructor(state: ClientState, inputs: Inputs) {
    this.state = state;
    this.inputs = inputs;
  }

  get books(): Books {
    return this.state.books;
  }

  get nowMs(): number {
    return this.inputs.nowMs;
  }

  get isReady(): boolean {
    return this.state.link.kind === 'ready';
  }

  resolve(ticket: Ticket, settlement: Settlement): void {
    if (this.books.tickets.delete(ticket)) this.effects.push({ kind: 'resolve', ticket, settlement });
  }

  reject(ticket: Ticket, error: SlotcastError): void {
    if (this.books.tickets.delete(ticket)) this.effects.push({ kind: 'reject', ticket, error });
  }

  /** Puts something in the queue to the server. Without a connection there is none: all is told anew on the next. */
  enqueue(errand: Errand): void {
    if (!this.isReady) return;
    if (errand.kind === 'registration' || errand.kind === 'subscription') {
      if (errand.phase === 'queued' || errand.phase === 'sent') return;
      errand.phase = 'queued';
    }
    this.books.outbox.push(errand);
  }

  /** Tries a standing wish again later. */
  retryLater(entry: RegistrationEntry | SubscriptionEntry, waitMs: number): void {
    entry.phase = 'refused';
    entry.dueAtMs = this.nowMs + waitMs;
    this.wakeForRetry(entry.dueAtMs);
  }

  /** Tries to take something back again later. */
  postpone(errand: Postponed['errand'], waitMs: number): void {
    const dueAtMs = this.nowMs + waitMs;
    this.books.postponed.push({ errand, dueAtMs });
    this.wakeForRetry(dueAtMs);
  }

  /** How long to wait after a refusal that says to come back: what the server asks for and up to half as much again. */
  waitAfter({ retryAfterMs }: Failure): number {
    const waitMs = retryAfterMs ?? this.inputs.settings.backoffMinMs;
    return Math.round(waitMs * (1 + this.inputs.random / 2));
  }

  wakeForRetry(dueAtMs: number): void {
    this.books.retryAtMs = Math.min(this.books.retryAtMs ?? dueAtMs, dueAtMs);
  }

  notifyRefused(entry: RegistrationEntry | SubscriptionEntry, failure: Failure): void {
    const { service } = entry;
    const what =
      entry.kind === 'registration'
        ? { kind: entry.kind, service, id: entry.id }
        : ({ kind: entry.kind, service } as const);
    this.effects.push({ kind: 'notify', notice: { kind: 'refused', what, error: new RequestError(failure) } });
  }
}

/** Whether a refusal says to come back, rather than no. */
export function isPassing({ code }: Failure): boolean {
  return code === 'busy' || code === 'draining';
}
