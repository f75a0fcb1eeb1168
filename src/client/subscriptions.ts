import type { Failure } from '../protocol/errors.ts';
import { serviceKey } from '../protocol/service-key.ts';
import type { ServiceChanged, SubscribeResult } from '../protocol/types.ts';
import type { SubscriptionEntry, Ticket } from './books.ts';
import type { ClientEvent } from './effects.ts';
import { RequestError } from './errors.ts';
import { isPassing } from './turn.ts';
import type { Turn } from './turn.ts';
import { View } from './view.ts';
import type { Difference } from './view.ts';

/** The user wants to see a service. Returns what the ticket waits for, or why it cannot be. */
export function subscribe(
  turn: Turn,
  { ticket, service, mode }: Extract<ClientEvent, { kind: 'subscribe' }>,
): SubscriptionEntry | RequestError {
  const { subscriptions } = turn.books;
  const key = serviceKey(service);
  let entry = subscriptions.get(key);
  if (entry === undefined) {
    const { link } = turn.state;
    if (link.kind === 'ready' && subscriptions.size >= link.limits.subscriptionsMax) {
      const max = link.limits.subscriptionsMax;
      const message = `the session has ${max} subscriptions`;
      return new RequestError({ code: 'limit_exceeded', message, limit: 'subscriptionsMax', max });
    }
    entry = {
      kind: 'subscription',
      key,
      service,
      mode,
      view: new View(),
      phase: 'unsent',
      dueAtMs: 0,
      wantsSnapshot: false,
      missedTo: 0,
      handles: 0,
      waiting: [],
    };
    subscriptions.set(key, entry);
  }
  entry.waiting.push(ticket);
  turn.enqueue(entry);
  return entry;
}

/** Hands the view to all who wait for it, once there is something to see. */
export function settleSubscribers(turn: Turn, entry: SubscriptionEntry): void {
  if (entry.view.version === undefined) return;
  for (const ticket of entry.waiting) {
    entry.handles += 1;
    turn.resolve(ticket, { kind: 'subscribed', subscription: entry });
  }
  entry.waiting = [];
}

/** One `Subscription` was closed. */
export function release(turn: Turn, entry: SubscriptionEntry): void {
  entry.handles -= 1;
  dropIfUnseen(turn, entry);
}

/** A call waited too long. */
export function expireSubscription(turn: Turn, entry: SubscriptionEntry, ticket: Ticket): void {
  entry.waiting = entry.waiting.filter((other) => other !== ticket);
  dropIfUnseen(turn, entry);
}

function dropIfUnseen(turn: Turn, entry: SubscriptionEntry): void {
  if (entry.handles > 0 || entry.waiting.length > 0 || !isSeen(turn, entry)) return;
  turn.books.subscriptions.delete(entry.key);
  // What has not been sent is skipped when its turn comes; anything else the server may know of.
  if (entry.phase !== 'unsent') turn.enqueue({ kind: 'unsubscription', service: entry.service });
}

export function isSeen(turn: Turn, entry: SubscriptionEntry): boolean {
  return turn.books.subscriptions.get(entry.key) === entry;
}

/** It goes out now. */
export function noteSubscriptionSent(entry: SubscriptionEntry): void {
  entry.phase = 'sent';
  entry.missedTo = 0;
}

/** The version to resume from, unless a snapshot is wanted. */
export function resumeVersion({ view, wantsSnapshot }: SubscriptionEntry): number | undefined {
  return wantsSnapshot ? undefined : view.version;
}

export function acceptSubscription(turn: Turn, entry: SubscriptionEntry, result: SubscribeResult): void {
  if (!isSeen(turn, entry)) return;
  const difference = applyResult(entry, result);
  if (difference === undefined) {
    // Not an answer to what was asked; a pause, so that a server that goes on like this is not hammered.
    entry.wantsSnapshot = true;
    turn.retryLater(entry, turn.inputs.settings.backoffMinMs);
    return;
  }
  entry.wantsSnapshot = false;
  entry.phase = 'settled';
  report(turn, entry, difference);
  // A batch is answered when all of it is, so a push can overtake the list it applies to. What it said is asked for again.
  if (entry.missedTo > result.version) turn.enqueue(entry);
  else turn.effects.push({ kind: 'freshness', subscription: entry });
  settleSubscribers(turn, entry);
}

function applyResult({ view }: SubscriptionEntry, result: SubscribeResult): Difference | undefined {
  if (!('from' in result)) return view.applySnapshot(result.version, result.instances);
  const outcome = view.applyDelta({ from: result.from, to: result.version, put: result.put, remove: result.remove });
  return outcome.kind === 'applied' ? outcome.difference : undefined;
}

function report(turn: Turn, entry: SubscriptionEntry, difference: Difference): void {
  if (difference.length > 0) turn.effects.push({ kind: 'changed', subscription: entry, difference });
}

export function refuseSubscription(turn: Turn, entry: SubscriptionEntry, failure: Failure): void {
  if (!isSeen(turn, entry)) return;
  const { backoffMaxMs } = turn.inputs.settings;
  if (isPassing(failure)) {
    turn.retryLater(entry, turn.waitAfter(failure));
    return;
  }
  const tickets = entry.waiting;
  entry.waiting = [];
  for (const ticket of tickets) turn.reject(ticket, new RequestError(failure));
  // Not told to the server: there is nothing to unsubscribe.
  entry.phase = 'unsent';
  dropIfUnseen(turn, entry);
  if (!isSeen(turn, entry)) return;
  turn.notifyRefused(entry, failure);
  turn.retryLater(entry, backoffMaxMs);
}

/** A push came. It is applied only to the version it starts from (PU1). */
export function takeChange(turn: Turn, change: ServiceChanged): void {
  const entry = turn.books.subscriptions.get(serviceKey(change));
  if (entry === undefined) return;
  if (entry.phase !== 'settled') {
    // Its place in the order is not known before the answer is there.
    entry.missedTo = Math.max(entry.missedTo, change.to);
    return;
  }
  if ('snapshot' in change) {
    if (change.to <= (entry.view.version ?? -1)) return;
    report(turn, entry, entry.view.applySnapshot(change.to, change.instances));
    return;
  }
  const outcome = entry.view.applyDelta(change);
  switch (outcome.kind) {
    case 'applied':
      report(turn, entry, outcome.difference);
      return;
    case 'old':
      return;
    case 'gap':
      entry.wantsSnapshot = true;
      // Stale at once, also when it cannot be asked for before the next connection.
      entry.phase = 'unsent';
      turn.effects.push({ kind: 'freshness', subscription: entry });
      turn.enqueue(entry);
      return;
    default:
      outcome satisfies never;
  }
}

/** The connection is gone, or the request went unanswered. */
export function resetSubscription(turn: Turn, entry: SubscriptionEntry): void {
  const wasFresh = entry.phase === 'settled';
  entry.phase = 'unsent';
  entry.missedTo = 0;
  if (wasFresh) turn.effects.push({ kind: 'freshness', subscription: entry });
}
