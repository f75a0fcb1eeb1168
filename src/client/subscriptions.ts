import type { Capability } from '../protocol/capabilities.ts';
import type { Failure } from '../protocol/errors.ts';
import { encodeFilter } from '../protocol/instance-filter.ts';
import { serviceKey } from '../protocol/service-key.ts';
import type {
  ServiceChanged,
  ServiceName,
  SubscribeMode,
  SubscribeParams,
  SubscribeResult,
} from '../protocol/types.ts';
import { askCache, noteUnsaved, save } from './caching.ts';
import type { ClientEvent } from './effects.ts';
import type { SubscriptionEntry, Ticket } from './entries.ts';
import { FilteredView } from './entries.ts';
import { RequestError } from './errors.ts';
import { finishKeeping, keepKnown } from './keeping.ts';
import { commonFilter, isSameFilter } from './selection.ts';
import { isPassing } from './turn.ts';
import type { Turn } from './turn.ts';
import { View } from './view.ts';
import type { Difference } from './view.ts';

/** The user wants to see a service. Returns what the ticket waits for, or why it cannot be. */
export function subscribe(
  turn: Turn,
  { ticket, service, mode, filter = {}, isStanding }: Extract<ClientEvent, { kind: 'subscribe' }>,
): FilteredView | RequestError {
  const { subscriptions } = turn.books;
  const key = serviceKey(service);
  let entry = subscriptions.get(key);
  if (entry === undefined) {
    const max = turn.serving?.limits.subscriptionsMax;
    if (max !== undefined && subscriptions.size >= max) {
      const message = `the session has ${max} subscriptions`;
      return new RequestError({ code: 'limit_exceeded', message, limit: 'subscriptionsMax', max });
    }
    entry = createSubscription(service, mode);
    subscriptions.set(key, entry);
    askCache(turn, entry);
  }
  const name = encodeFilter(filter);
  let filtered = entry.filtered.get(name);
  if (filtered === undefined) {
    filtered = new FilteredView(entry, filter);
    entry.filtered.set(name, filtered);
  }
  filtered.waiting.push(ticket);
  if (isStanding === true) entry.standing.add(ticket);
  refit(turn, entry);
  settleSubscribers(turn, filtered);
  return filtered;
}

function createSubscription(service: ServiceName, mode: SubscribeMode): SubscriptionEntry {
  return {
    kind: 'subscription',
    key: serviceKey(service),
    service,
    mode,
    filter: {},
    view: new View(),
    viewFilter: {},
    sentFilter: {},
    filtered: new Map(),
    phase: 'unsent',
    isChanged: false,
    dueAtMs: 0,
    wantsSnapshot: false,
    isForeign: false,
    isAnswered: false,
    isWarming: false,
    isAwaitingList: false,
    keepUntilMs: undefined,
    keepCount: 0,
    missedTo: 0,
    isLoading: false,
    cacheDueAtMs: undefined,
    isFromCache: false,
    cachedRegistry: undefined,
    saveAtMs: undefined,
    standing: new Set(),
    isToldStale: true,
  };
}

/** Asks for what those who look have in common, if that is not what was asked for last. */
function refit(turn: Turn, entry: SubscriptionEntry): void {
  const filter = commonFilter([...entry.filtered.values()].map((each) => each.filter));
  const isOther = !isSameFilter(filter, entry.filter);
  entry.filter = filter;
  if (entry.phase === 'sent') entry.isChanged ||= isOther;
  else if (isOther || entry.phase !== 'settled') restart(turn, entry);
}

/** Subscribes again. Until the answer is there the list may be behind. */
function restart(turn: Turn, entry: SubscriptionEntry): void {
  entry.phase = 'unsent';
  turn.reportFreshness(entry);
  turn.enqueue(entry);
}

/**
 * Hands the view to all who wait for it, once there is something to see, and to those who need not wait once the cache has been read. What
 * only the cache knows is shown after a while, so that whoever can reach a registry begins with what is.
 */
export function settleSubscribers(turn: Turn, filtered: FilteredView): void {
  const { entry, waiting } = filtered;
  const { cacheDueAtMs, standing } = entry;
  const isDue = cacheDueAtMs === undefined || turn.nowMs >= cacheDueAtMs;
  const isShown = filtered.version !== undefined && (isDue || !entry.isFromCache);
  const isRead = isDue || !entry.isLoading;
  filtered.waiting = [];
  for (const ticket of waiting) {
    if (!isShown && !(isRead && standing.has(ticket))) {
      filtered.waiting.push(ticket);
      continue;
    }
    standing.delete(ticket);
    if (turn.resolve(ticket, { kind: 'subscribed', subscription: filtered })) filtered.handles += 1;
  }
}

/** One `Subscription` was closed. */
export function release(turn: Turn, filtered: FilteredView): void {
  filtered.handles -= 1;
  dropIfUnseen(turn, filtered);
}

/** A call waited too long, or was given up. */
export function expireSubscription(turn: Turn, filtered: FilteredView, ticket: Ticket): void {
  filtered.waiting = filtered.waiting.filter((other) => other !== ticket);
  filtered.entry.standing.delete(ticket);
  dropIfUnseen(turn, filtered);
}

function dropIfUnseen(turn: Turn, filtered: FilteredView): void {
  const { entry } = filtered;
  if (filtered.handles > 0 || filtered.waiting.length > 0 || !isSeen(turn, entry)) return;
  if (!entry.filtered.delete(encodeFilter(filtered.filter))) return;
  if (entry.filtered.size > 0) {
    refit(turn, entry);
    return;
  }
  save(turn, entry);
  turn.books.subscriptions.delete(entry.key);
  // What has not been sent is skipped when its turn comes; anything else the server may know of.
  if (entry.phase !== 'unsent' || entry.isAnswered) turn.enqueue({ kind: 'unsubscription', service: entry.service });
}

export function isSeen(turn: Turn, entry: SubscriptionEntry): boolean {
  return turn.books.subscriptions.get(entry.key) === entry;
}

/** It goes out now. */
export function noteSubscriptionSent(entry: SubscriptionEntry): void {
  entry.phase = 'sent';
  entry.sentFilter = entry.filter;
  entry.isAwaitingList = false;
  entry.isChanged = false;
  entry.missedTo = 0;
}

/** What is asked: also from which version on, unless a snapshot is wanted or the version means nothing to this registry. */
export function subscribeParams(turn: Turn, entry: SubscriptionEntry): SubscribeParams {
  const { service, mode, filter, view, viewFilter, wantsSnapshot, isForeign } = entry;
  const { isWarming, offers } = turn.books;
  const { version } = view;
  const params = { ...service, mode, ...filter };
  if (version === undefined || wantsSnapshot || !isSameFilter(filter, viewFilter)) return params;
  // One that has just started waits with its answer for those who name a version.
  const resume = isForeign && !isWarming ? {} : { version };
  const isCounted = offers.includes('warming' satisfies Capability) && !entry.isAnswered;
  return { ...params, ...resume, ...(isCounted ? { count: view.size } : {}) };
}

export function acceptSubscription(turn: Turn, entry: SubscriptionEntry, result: SubscribeResult): void {
  if (!isSeen(turn, entry)) return;
  entry.isAnswered = true;
  const difference = applyResult(turn, entry, result);
  if (difference === undefined) {
    // Not an answer to what was asked; a pause, so that a server that goes on like this is not hammered.
    entry.wantsSnapshot = true;
    turn.retryLater(entry, turn.inputs.settings.backoffMinMs);
    return;
  }
  entry.wantsSnapshot = false;
  entry.isForeign = false;
  entry.phase = 'settled';
  turn.report(entry, difference);
  // What it lets stand for now is as the cache had it; but it has answered.
  entry.isFromCache &&= entry.isAwaitingList;
  entry.cacheDueAtMs = undefined;
  finishKeeping(turn, entry);
  noteUnsaved(turn, entry);
  // A batch is answered when all of it is, so a push can overtake the list it applies to. What it said is asked for again.
  if (entry.isChanged || entry.missedTo > result.version) turn.enqueue(entry);
  turn.reportFreshness(entry);
  for (const filtered of entry.filtered.values()) settleSubscribers(turn, filtered);
}

function applyResult(turn: Turn, entry: SubscriptionEntry, result: SubscribeResult): Difference | undefined {
  const { view } = entry;
  entry.isWarming = result.warming === true;
  if (!('from' in result)) {
    if (entry.isWarming) keepKnown(turn, entry);
    entry.viewFilter = entry.sentFilter;
    return view.applySnapshot(result.version, result.instances, entry.keepUntilMs === undefined);
  }
  const { from, version, put, remove } = result;
  if (entry.isWarming && from === view.version && version === from) {
    entry.isAwaitingList = true;
    entry.keepUntilMs = undefined;
    return [];
  }
  // From a version that means something else there.
  if (entry.isForeign) return undefined;
  const outcome = view.applyDelta({ from, to: version, put, remove });
  if (outcome.kind !== 'applied') return undefined;
  if (entry.isFromCache) view.confirmAll();
  return outcome.difference;
}

export function refuseSubscription(turn: Turn, entry: SubscriptionEntry, failure: Failure): void {
  if (!isSeen(turn, entry)) return;
  const { backoffMaxMs } = turn.inputs.settings;
  if (isPassing(failure)) {
    turn.retryLater(entry, turn.waitAfter(failure));
    return;
  }
  // Refused: the one before, if there was one, goes on, but its pushes have been passed over meanwhile.
  entry.phase = 'unsent';
  const refused = entry.filter;
  for (const filtered of entry.filtered.values()) {
    const tickets = filtered.waiting;
    filtered.waiting = [];
    for (const ticket of tickets) {
      entry.standing.delete(ticket);
      turn.reject(ticket, new RequestError(failure));
    }
    dropIfUnseen(turn, filtered);
  }
  if (!isSeen(turn, entry) || !isSameFilter(refused, entry.filter)) return;
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
    if (entry.isAwaitingList) {
      entry.isAwaitingList = false;
      entry.isWarming = false;
      entry.isFromCache = false;
      turn.report(entry, entry.view.applySnapshot(change.to, change.instances, true));
      turn.reportFreshness(entry);
      noteUnsaved(turn, entry);
      return;
    }
    if (change.to <= (entry.view.version ?? -1)) return;
    turn.report(entry, entry.view.applySnapshot(change.to, change.instances, entry.keepUntilMs === undefined));
    finishKeeping(turn, entry);
    noteUnsaved(turn, entry);
    return;
  }
  const outcome = entry.view.applyDelta(change);
  switch (outcome.kind) {
    case 'applied':
      turn.report(entry, outcome.difference);
      finishKeeping(turn, entry);
      noteUnsaved(turn, entry);
      return;
    case 'old':
      return;
    case 'gap':
      entry.wantsSnapshot = true;
      // Stale at once, also when it cannot be asked for before the next connection.
      restart(turn, entry);
      return;
    default:
      outcome satisfies never;
  }
}

/** The connection is gone, or the request went unanswered. */
export function resetSubscription(turn: Turn, entry: SubscriptionEntry): void {
  entry.phase = 'unsent';
  entry.isChanged = false;
  entry.missedTo = 0;
  turn.reportFreshness(entry);
}
