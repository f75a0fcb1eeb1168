import type { Failure } from '../protocol/errors.ts';
import type { ClientTables, Exchange, InFlight, Postponed, TicketEntry, Unsubscription } from './client-tables.ts';
import type { ClientEffect, Settlement } from './effects.ts';
import { isBehind } from './entries.ts';
import type { RegistrationEntry, SubscriptionEntry, Ticket } from './entries.ts';
import { RequestError } from './errors.ts';
import type { SlotcastError } from './errors.ts';
import { isHealthReport } from './health-report.ts';
import type { Inputs, LinkState } from './link-state.ts';
import { servingOf } from './link.ts';
import type { LockRequest } from './lock-entries.ts';
import { nextRegistrationPhase } from './registration-phase.ts';
import type { RegistrationEvent } from './registration-phase.ts';
import { nextSubscriptionPhase } from './subscription-phase.ts';
import type { SubscriptionEvent } from './subscription-phase.ts';
import type { Difference } from './view.ts';
import type { Unwatch, WatchEntry } from './watch-entries.ts';

/** Everything that a client is. The link is a value; the tables are updated in place. */
export interface ClientState {
  link: LinkState;
  readonly tables: ClientTables;
  armedAtMs: number | undefined;
  isFlushAsked: boolean;
}

/** A step in progress: what it works on and what it has decided so far. */
export class Step {
  readonly state: ClientState;
  readonly inputs: Inputs;
  readonly effects: ClientEffect[] = [];

  constructor(state: ClientState, inputs: Inputs) {
    this.state = state;
    this.inputs = inputs;
  }

  get tables(): ClientTables {
    return this.state.tables;
  }

  get nowMs(): number {
    return this.inputs.nowMs;
  }

  /** The session that requests are sent on. */
  get serving(): ReturnType<typeof servingOf> {
    return servingOf(this.state.link);
  }

  get isServing(): boolean {
    return this.serving !== undefined;
  }

  /** Whether anybody still waited for it. */
  resolve(ticket: Ticket, settlement: Settlement): boolean {
    const isAwaited = this.dropTicket(ticket);
    if (isAwaited) this.effects.push({ kind: 'resolve', ticket, settlement });
    return isAwaited;
  }

  reject(ticket: Ticket, error: SlotcastError): void {
    if (this.dropTicket(ticket)) this.effects.push({ kind: 'reject', ticket, error });
  }

  addTicket(ticket: Ticket, entry: TicketEntry): void {
    const { tickets, ticketsByTimeout } = this.tables;
    tickets.set(ticket, entry);
    const { timeoutMs } = entry;
    if (timeoutMs === undefined) return;
    const others = ticketsByTimeout.get(timeoutMs) ?? new Set();
    ticketsByTimeout.set(timeoutMs, others.add(ticket));
  }

  dropTicket(ticket: Ticket): boolean {
    const { tickets, ticketsByTimeout } = this.tables;
    const entry = tickets.get(ticket);
    if (entry === undefined) return false;
    tickets.delete(ticket);
    if (entry.timeoutMs !== undefined) {
      const others = ticketsByTimeout.get(entry.timeoutMs);
      others?.delete(ticket);
      if (others?.size === 0) ticketsByTimeout.delete(entry.timeoutMs);
    }
    return true;
  }

  /** Puts a request in the outbox. Without a session nothing is sent: everything is sent again on the next one. */
  enqueue(operation: Exchange | Unsubscription | LockRequest | WatchEntry | Unwatch): void {
    if (this.isServing) this.tables.outbox.push(operation);
  }

  /** Whether registrations may be sent: not before it is known what a resumed session holds. */
  get canSendRegistrations(): boolean {
    return this.isServing && this.tables.reconciliation === undefined;
  }

  moveRegistration(entry: RegistrationEntry, event: RegistrationEvent): void {
    const before = entry.phase.kind;
    entry.phase = nextRegistrationPhase(entry.phase, event);
    this.#follow(entry, before);
  }

  moveSubscription(entry: SubscriptionEntry, event: SubscriptionEvent): void {
    const before = entry.phase.kind;
    entry.phase = nextSubscriptionPhase(entry.phase, event);
    this.#follow(entry, before);
  }

  /** What was queued goes into the outbox; what was postponed is woken for. */
  #follow(entry: RegistrationEntry | SubscriptionEntry, before: string): void {
    const { phase } = entry;
    if (phase.kind === 'queued' && before !== 'queued') this.tables.outbox.push(entry);
    if (phase.kind === 'postponed') this.wakeForRetry(phase.retryAtMs);
  }

  /** A request goes out on a socket: gives it its number. */
  noteRequest(operation: InFlight['operation'], socket: number, timeoutMs: number): number {
    const { tables } = this;
    const id = tables.nextRequest;
    tables.nextRequest += 1;
    const content = operation.kind === 'registration' ? operation.wanted : undefined;
    const sentAtMs = this.nowMs;
    const isReport = operation.kind === 'registration' && isHealthReport(operation);
    const deadlineMs = sentAtMs + timeoutMs;
    tables.inFlight.set(id, { operation, socket, sentAtMs, deadlineMs, entries: 1, content, isHealthReport: isReport });
    return id;
  }

  /** Tries to take something back again later. */
  postpone(operation: Postponed['operation'], waitMs: number): void {
    const dueAtMs = this.nowMs + waitMs;
    this.tables.postponed.push({ operation, dueAtMs });
    this.wakeForRetry(dueAtMs);
  }

  /** How long to wait after a refusal that says to come back: what the server asks for and up to half as much again. */
  waitAfter({ retryAfterMs }: Failure): number {
    const waitMs = retryAfterMs ?? this.inputs.settings.backoffMinMs;
    return Math.round(waitMs * (1 + this.inputs.random / 2));
  }

  wakeForRetry(dueAtMs: number): void {
    this.tables.retryAtMs = Math.min(this.tables.retryAtMs ?? dueAtMs, dueAtMs);
  }

  /** Tells those who look at a service what became different for them. */
  report(entry: SubscriptionEntry, difference: Difference): void {
    if (difference.length === 0) return;
    for (const subscription of entry.filtered.values()) {
      const selected = subscription.select(difference);
      if (selected.length > 0) this.effects.push({ kind: 'changed', subscription, difference: selected });
    }
  }

  /** Reports whether the list may be out of date, if that has changed. */
  reportFreshness(entry: SubscriptionEntry): void {
    const isStale = isBehind(entry);
    if (isStale === entry.isReportedStale) return;
    entry.isReportedStale = isStale;
    for (const subscription of entry.filtered.values()) this.effects.push({ kind: 'freshness', subscription, isStale });
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
export function isRetryable({ code }: Failure): boolean {
  return code === 'busy' || code === 'draining' || code === 'read_only';
}
