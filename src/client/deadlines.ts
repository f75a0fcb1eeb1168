import { serviceKey } from '../protocol/service-key.ts';
import { handleCacheTimers } from './cache-timers.ts';
import type { TicketEntry, Unsubscription } from './client-tables.ts';
import type { Ticket } from './entries.ts';
import { ConnectionLostError, LockHeldError, RequestError, TimeoutError } from './errors.ts';
import type { SlotcastError } from './errors.ts';
import { handleLockTimers } from './lock-survival.ts';
import { contentionOf, giveUpLock, repeatLock } from './locks.ts';
import { expirePreviousConnection } from './previous-connection.ts';
import { askForPage } from './reconciliation.ts';
import { expireRegistration, isTracked, reviewRegistration, resetRegistration } from './registrations.ts';
import { expireRetention } from './retention.ts';
import type { Step } from './step.ts';
import { expireSubscription, isSubscribed, resetSubscription } from './subscriptions.ts';
import { handleWatchTimers, repeatUnwatch, repeatWatch, unwatch } from './watches.ts';

/** Settles calls that have waited too long, and gives up requests that nobody answers. */
export function expire(step: Step): void {
  expireTickets(step);
  expireRequests(step);
  expirePreviousConnection(step);
}

function expireTickets(step: Step): void {
  const { tables, nowMs } = step;
  for (const tickets of tables.ticketsByTimeout.values()) {
    for (const ticket of tickets) {
      const entry = tables.tickets.get(ticket);
      if (entry?.deadlineMs === undefined || entry.deadlineMs > nowMs) break;
      step.reject(ticket, expiryOf(step, ticket, entry));
      undo(step, ticket, entry.owner);
    }
  }
}

/** The user does not wait any more. */
export function abort(step: Step, ticket: Ticket): void {
  const entry = step.tables.tickets.get(ticket);
  if (entry === undefined) return;
  step.dropTicket(ticket);
  undo(step, ticket, entry.owner);
}

/** Nobody waits for a call: what only it wanted is given up. */
function undo(step: Step, ticket: Ticket, owner: TicketEntry['owner']): void {
  if (owner.kind === 'view') expireSubscription(step, owner, ticket);
  else if (owner.kind === 'registration') expireRegistration(step, owner, ticket);
  else if (owner.kind === 'watcher') unwatch(step, owner);
  else if (owner.kind === 'lockWait') giveUpLock(step, owner);
  else if (owner.kind === 'exchange') step.tables.exchanges.delete(owner);
}

function expireRequests(step: Step): void {
  const { tables, nowMs } = step;
  for (const [id, { deadlineMs, operation }] of tables.inFlight) {
    if (deadlineMs > nowMs) break;
    tables.inFlight.delete(id);
    if (operation.kind === 'registration' && isTracked(step, operation)) {
      resetRegistration(step, operation);
      reviewRegistration(step, operation);
    } else if (operation.kind === 'subscription' && isSubscribed(step, operation)) {
      resetSubscription(step, operation);
      step.moveSubscription(operation, { kind: 'request', canSend: step.isServing });
    } else if (operation.kind === 'unsubscription' || operation.kind === 'unwatch') {
      step.postpone(operation, 0);
    } else if (operation.kind === 'reconciliation') {
      askForPage(step, operation);
    } else if (operation.kind === 'lock') {
      repeatLock(step, operation);
    } else if (operation.kind === 'watch') {
      repeatWatch(step, operation);
    }
  }
}

function expiryOf(step: Step, ticket: Ticket, { owner, timeoutMs = 0 }: TicketEntry): SlotcastError {
  const { link } = step.state;
  const reason = owner.kind === 'lockWait' ? contentionOf(owner) : undefined;
  if (owner.kind === 'lockWait' && reason !== undefined) {
    return new LockHeldError(owner.entry.key, { timeoutMs, reason });
  }
  // It has been answered each time, if not with what was hoped for.
  if (
    owner.kind === 'registration' &&
    owner.postponement !== undefined &&
    owner.waitingCalls.includes(ticket) &&
    step.isServing
  )
    return new RequestError(owner.postponement);
  // Connected, it is the server's time that ran out, also for what had to wait its turn.
  if (step.isServing || isSent(owner, ticket)) return new TimeoutError(timeoutMs);
  return new ConnectionLostError(timeoutMs, link.cause);
}

function isSent(owner: TicketEntry['owner'], ticket: Ticket): boolean {
  if (owner.kind === 'view') return owner.entry.phase.kind === 'sent';
  if (owner.kind === 'registration') return owner.inFlightCalls.includes(ticket);
  if (owner.kind === 'watcher') return owner.entry.phase.kind === 'sent';
  return owner.kind === 'exchange' && owner.isSent;
}

export function retryRefused(step: Step): void {
  const { tables, nowMs } = step;
  if (tables.retryAtMs === undefined || tables.retryAtMs > nowMs) return;
  tables.retryAtMs = undefined;
  const canSend = step.canSendRegistrations;
  for (const entry of tables.registrations.values()) step.moveRegistration(entry, { kind: 'tick', nowMs, canSend });
  for (const entry of tables.subscriptions.values()) {
    step.moveSubscription(entry, { kind: 'tick', nowMs, canSend: step.isServing });
  }
  const { postponed } = tables;
  tables.postponed = [];
  for (const each of postponed) {
    if (each.dueAtMs > nowMs) {
      tables.postponed.push(each);
      step.wakeForRetry(each.dueAtMs);
    } else if (each.operation.kind === 'unsubscription') {
      repeat(step, each.operation);
    } else if (each.operation.kind === 'unwatch') {
      repeatUnwatch(step, each.operation);
    } else {
      askForPage(step, each.operation);
    }
  }
  handleLockTimers(step);
  handleWatchTimers(step);
  expireRetention(step);
  handleCacheTimers(step);
}

/** Ends a subscription now that could not be ended before; unless the user has come to want it again meanwhile. */
function repeat(step: Step, operation: Unsubscription): void {
  if (!step.tables.subscriptions.has(serviceKey(operation.service))) step.enqueue(operation);
}

/** When the first call or request is to be given up. */
export function firstDeadline(step: Step): number | undefined {
  const { tables } = step;
  let first = tables.previousConnection?.untilMs ?? Number.POSITIVE_INFINITY;
  for (const tickets of tables.ticketsByTimeout.values()) {
    for (const ticket of tickets) {
      first = Math.min(first, tables.tickets.get(ticket)?.deadlineMs ?? first);
      break;
    }
  }
  for (const { deadlineMs } of tables.inFlight.values()) {
    first = Math.min(first, deadlineMs);
    break;
  }
  return first === Number.POSITIVE_INFINITY ? undefined : first;
}
