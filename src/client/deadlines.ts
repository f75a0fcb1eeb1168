import { serviceKey } from '../protocol/service-key.ts';
import { registrationName } from './books.ts';
import type { Ticket, TicketEntry, Unsubscription, Withdrawal } from './books.ts';
import { ConnectionLostError, TimeoutError } from './errors.ts';
import type { SlotcastError } from './errors.ts';
import { expireRegistration, isWanted, resetRegistration } from './registrations.ts';
import { expireSubscription, isSeen, resetSubscription } from './subscriptions.ts';
import type { Turn } from './turn.ts';

/** Settles calls that have waited too long, and gives up requests that nobody answers. */
export function expire(turn: Turn): void {
  const { books, nowMs } = turn;
  for (const [ticket, { deadlineMs, owner }] of books.tickets) {
    if (deadlineMs > nowMs) break;
    turn.reject(ticket, expiryOf(turn, ticket, owner));
    if (owner.kind === 'registration') expireRegistration(turn, owner, ticket);
    else if (owner.kind === 'subscription') expireSubscription(turn, owner, ticket);
    else if (owner.kind === 'read') books.reads.delete(owner);
  }
  for (const [id, { deadlineMs, errand }] of books.inFlight) {
    if (deadlineMs > nowMs) break;
    books.inFlight.delete(id);
    if (errand.kind === 'registration' && isWanted(turn, errand)) {
      resetRegistration(errand);
      turn.enqueue(errand);
    } else if (errand.kind === 'subscription' && isSeen(turn, errand)) {
      resetSubscription(turn, errand);
      turn.enqueue(errand);
    } else if (errand.kind === 'withdrawal' || errand.kind === 'unsubscription') {
      turn.postpone(errand, 0);
    }
  }
}

function expiryOf(turn: Turn, ticket: Ticket, owner: TicketEntry['owner']): SlotcastError {
  const { requestTimeoutMs } = turn.inputs.settings;
  const { link } = turn.state;
  const isSent =
    owner.kind === 'withdrawal' ||
    (owner.kind === 'registration' && owner.riding.includes(ticket)) ||
    (owner.kind === 'subscription' && owner.phase === 'sent') ||
    (owner.kind === 'read' && owner.isSent);
  // Connected, it is the server's time that ran out, also for what had to wait its turn.
  if (isSent || link.kind === 'ready') return new TimeoutError(requestTimeoutMs);
  return new ConnectionLostError(requestTimeoutMs, link.cause);
}

export function retryRefused(turn: Turn): void {
  const { books, nowMs } = turn;
  if (books.retryAtMs === undefined || books.retryAtMs > nowMs) return;
  books.retryAtMs = undefined;
  for (const entry of [...books.registrations.values(), ...books.subscriptions.values()]) {
    if (entry.phase !== 'refused') continue;
    if (entry.dueAtMs <= nowMs) turn.enqueue(entry);
    else turn.wakeForRetry(entry.dueAtMs);
  }
  const { postponed } = books;
  books.postponed = [];
  for (const each of postponed) {
    if (each.dueAtMs <= nowMs) {
      repeat(turn, each.errand);
    } else {
      books.postponed.push(each);
      turn.wakeForRetry(each.dueAtMs);
    }
  }
}

/** Takes something back now that could not be before; unless the user has come to want it again meanwhile. */
function repeat(turn: Turn, errand: Withdrawal | Unsubscription): void {
  const { registrations, subscriptions } = turn.books;
  const key = serviceKey(errand.service);
  if (errand.kind === 'unsubscription') {
    if (!subscriptions.has(key)) turn.enqueue(errand);
    return;
  }
  const anew = registrations.get(registrationName(key, errand.id));
  if (anew === undefined) turn.enqueue(errand);
  // Its content has replaced what was to go.
  else if (anew.phase === 'settled' && errand.ticket !== undefined)
    turn.resolve(errand.ticket, { kind: 'deregistered' });
  // Were it refused, the old content would still have to go.
  else if (anew.phase !== 'settled') turn.postpone(errand, turn.inputs.settings.backoffMinMs);
}

export function firstDeadline(entries: ReadonlyMap<number, { readonly deadlineMs: number }>): number | undefined {
  for (const { deadlineMs } of entries.values()) return deadlineMs;
  return undefined;
}
