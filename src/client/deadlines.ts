import { serviceKey } from '../protocol/service-key.ts';
import type { TicketEntry, Unsubscription } from './books.ts';
import { attendCache } from './cached-lists.ts';
import type { Ticket } from './entries.ts';
import { ConnectionLostError, TimeoutError } from './errors.ts';
import type { SlotcastError } from './errors.ts';
import { expireFormer } from './former.ts';
import { expireKeeping } from './keeping.ts';
import { askForPage } from './reconciliation.ts';
import { expireRegistration, isKept, pursue, resetRegistration } from './registrations.ts';
import { expireSubscription, isSeen, resetSubscription } from './subscriptions.ts';
import type { Turn } from './turn.ts';

/** Settles calls that have waited too long, and gives up requests that nobody answers. */
export function expire(turn: Turn): void {
  expireTickets(turn);
  expireRequests(turn);
  expireFormer(turn);
}

function expireTickets(turn: Turn): void {
  const { books, nowMs } = turn;
  for (const tickets of books.ticketsByTimeout.values()) {
    for (const ticket of tickets) {
      const entry = books.tickets.get(ticket);
      if (entry?.deadlineMs === undefined || entry.deadlineMs > nowMs) break;
      turn.reject(ticket, expiryOf(turn, ticket, entry));
      undo(turn, ticket, entry.owner);
    }
  }
}

/** The user does not wait any more. */
export function abort(turn: Turn, ticket: Ticket): void {
  const entry = turn.books.tickets.get(ticket);
  if (entry === undefined) return;
  turn.dropTicket(ticket);
  undo(turn, ticket, entry.owner);
}

/** Nobody waits for a call: what only it wanted is given up. */
function undo(turn: Turn, ticket: Ticket, owner: TicketEntry['owner']): void {
  if (owner.kind === 'view') expireSubscription(turn, owner, ticket);
  else if (owner.kind === 'registration') expireRegistration(turn, owner, ticket);
  else if (owner.kind === 'read') turn.books.reads.delete(owner);
}

function expireRequests(turn: Turn): void {
  const { books, nowMs } = turn;
  for (const [id, { deadlineMs, errand }] of books.inFlight) {
    if (deadlineMs > nowMs) break;
    books.inFlight.delete(id);
    if (errand.kind === 'registration' && isKept(turn, errand)) {
      resetRegistration(errand);
      pursue(turn, errand);
    } else if (errand.kind === 'subscription' && isSeen(turn, errand)) {
      resetSubscription(turn, errand);
      turn.enqueue(errand);
    } else if (errand.kind === 'unsubscription') {
      turn.postpone(errand, 0);
    } else if (errand.kind === 'reconciliation') {
      askForPage(turn, errand);
    }
  }
}

function expiryOf(turn: Turn, ticket: Ticket, { owner, timeoutMs = 0 }: TicketEntry): SlotcastError {
  const { link } = turn.state;
  // Connected, it is the server's time that ran out, also for what had to wait its turn.
  if (turn.isServing || isSent(owner, ticket)) return new TimeoutError(timeoutMs);
  return new ConnectionLostError(timeoutMs, link.cause);
}

function isSent(owner: TicketEntry['owner'], ticket: Ticket): boolean {
  if (owner.kind === 'view') return owner.entry.phase === 'sent';
  if (owner.kind === 'registration') return owner.riding.includes(ticket);
  return owner.kind === 'read' && owner.isSent;
}

export function retryRefused(turn: Turn): void {
  const { books, nowMs } = turn;
  if (books.retryAtMs === undefined || books.retryAtMs > nowMs) return;
  books.retryAtMs = undefined;
  for (const entry of [...books.registrations.values(), ...books.subscriptions.values()]) {
    if (entry.phase !== 'refused') continue;
    if (entry.dueAtMs > nowMs) turn.wakeForRetry(entry.dueAtMs);
    else turn.enqueue(entry);
  }
  const { postponed } = books;
  books.postponed = [];
  for (const each of postponed) {
    if (each.dueAtMs > nowMs) {
      books.postponed.push(each);
      turn.wakeForRetry(each.dueAtMs);
    } else if (each.errand.kind === 'unsubscription') {
      repeat(turn, each.errand);
    } else {
      askForPage(turn, each.errand);
    }
  }
  expireKeeping(turn);
  attendCache(turn);
}

/** Ends a subscription now that could not be ended before; unless the user has come to want it again meanwhile. */
function repeat(turn: Turn, errand: Unsubscription): void {
  if (!turn.books.subscriptions.has(serviceKey(errand.service))) turn.enqueue(errand);
}

/** When the first call or request is to be given up. */
export function firstDeadline(turn: Turn): number | undefined {
  const { books } = turn;
  let first = books.former?.untilMs ?? Number.POSITIVE_INFINITY;
  for (const tickets of books.ticketsByTimeout.values()) {
    for (const ticket of tickets) {
      first = Math.min(first, books.tickets.get(ticket)?.deadlineMs ?? first);
      break;
    }
  }
  for (const { deadlineMs } of books.inFlight.values()) {
    first = Math.min(first, deadlineMs);
    break;
  }
  return first === Number.POSITIVE_INFINITY ? undefined : first;
}
