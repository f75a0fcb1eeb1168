import type { Capability } from '../protocol/capabilities.ts';
import type { Failure } from '../protocol/errors.ts';
import { encodeFilter } from '../protocol/instance-filter.ts';
import { serviceKey } from '../protocol/service-key.ts';
import type {
  Instance,
  InstanceFilter,
  ServiceChanged,
  ServiceName,
  SubscribeMode,
  SubscribeParams,
  SubscribeResult,
} from '../protocol/types.ts';
import { askCache, noteUnsaved, save } from './caching.ts';
import type { UserCall } from './effects.ts';
import type { SubscriptionEntry, Ticket } from './entries.ts';
import { FilteredView } from './entries.ts';
import { RequestError } from './errors.ts';
import { finishRetention, retainKnown } from './retention.ts';
import { commonFilter, isSameFilter } from './selection.ts';
import { isRetryable } from './step.ts';
import type { Step } from './step.ts';
import { appliesPushes, unsentSubscription } from './subscription-phase.ts';
import { View } from './view.ts';
import type { Difference } from './view.ts';

type SubscribeCall = Extract<UserCall, { kind: 'subscribe' }>;

/** The view that a call is about, or why there cannot be one. */
export function findOrCreateView(
  step: Step,
  { service, mode, filter = {} }: SubscribeCall,
): FilteredView | RequestError {
  const { subscriptions } = step.tables;
  const key = serviceKey(service);
  let entry = subscriptions.get(key);
  if (entry === undefined) {
    const max = step.serving?.limits.subscriptionsMax;
    if (max !== undefined && subscriptions.size >= max) {
      const message = `the session has ${max} subscriptions`;
      return new RequestError({ code: 'limit_exceeded', message, limit: 'subscriptionsMax', max });
    }
    entry = createSubscription(service, mode);
    subscriptions.set(key, entry);
    askCache(step, entry);
  }
  const name = encodeFilter(filter);
  let filtered = entry.filtered.get(name);
  if (filtered === undefined) {
    filtered = new FilteredView(entry, filter);
    entry.filtered.set(name, filtered);
  }
  return filtered;
}

/** The user wants to see a service. */
export function subscribe(step: Step, filtered: FilteredView, { ticket, isStanding }: SubscribeCall): void {
  const { entry } = filtered;
  filtered.waitingCalls.push(ticket);
  if (isStanding === true) entry.standing.add(ticket);
  updateCommonFilter(step, entry);
  settleSubscribers(step, filtered);
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
    filtered: new Map(),
    phase: unsentSubscription,
    chain: 'intact',
    isAnswered: false,
    isWarming: false,
    isSwitchedOff: false,
    retention: undefined,
    isLoading: false,
    cacheDueAtMs: undefined,
    cached: undefined,
    saveAtMs: undefined,
    standing: new Set(),
    isReportedStale: true,
  };
}

/** Asks for what those who look have in common, if that is not what was asked for last. */
function updateCommonFilter(step: Step, entry: SubscriptionEntry): void {
  const filter = commonFilter([...entry.filtered.values()].map((each) => each.filter));
  const kind = isSameFilter(filter, entry.filter) ? 'request' : 'restart';
  entry.filter = filter;
  request(step, entry, kind);
}

/** Until the answer is there the list may be behind, also while it cannot be asked for. */
function request(step: Step, entry: SubscriptionEntry, kind: 'request' | 'restart'): void {
  step.moveSubscription(entry, { kind, canSend: step.isServing });
  step.reportFreshness(entry);
}

function retryLater(step: Step, entry: SubscriptionEntry, waitMs: number): void {
  step.moveSubscription(entry, { kind: 'postpone', retryAtMs: step.nowMs + waitMs });
}

/**
 * Hands the view to all who wait for it, once there is something to see, and to those who need not wait once the cache has been read. What
 * only the cache knows is shown after a while, so that whoever can reach a registry begins with what is.
 */
export function settleSubscribers(step: Step, filtered: FilteredView): void {
  const { entry, waitingCalls } = filtered;
  const { cacheDueAtMs, standing } = entry;
  const isDue = cacheDueAtMs === undefined || step.nowMs >= cacheDueAtMs;
  const isShown = filtered.version !== undefined && (isDue || entry.cached === undefined);
  const isRead = isDue || !entry.isLoading;
  filtered.waitingCalls = [];
  for (const ticket of waitingCalls) {
    if (!isShown && !(isRead && standing.has(ticket))) {
      filtered.waitingCalls.push(ticket);
      continue;
    }
    standing.delete(ticket);
    if (step.resolve(ticket, { kind: 'subscribed', subscription: filtered })) filtered.handles += 1;
  }
}

/** One `Subscription` was closed. */
export function release(step: Step, filtered: FilteredView): void {
  filtered.handles -= 1;
  dropIfUnused(step, filtered);
}

/** A call waited too long, or was given up. */
export function expireSubscription(step: Step, filtered: FilteredView, ticket: Ticket): void {
  filtered.waitingCalls = filtered.waitingCalls.filter((other) => other !== ticket);
  filtered.entry.standing.delete(ticket);
  dropIfUnused(step, filtered);
}

function dropIfUnused(step: Step, filtered: FilteredView): void {
  const { entry } = filtered;
  if (filtered.handles > 0 || filtered.waitingCalls.length > 0 || !isSubscribed(step, entry)) return;
  if (!entry.filtered.delete(encodeFilter(filtered.filter))) return;
  if (entry.filtered.size > 0) {
    updateCommonFilter(step, entry);
    return;
  }
  save(step, entry);
  step.tables.subscriptions.delete(entry.key);
  // What has not been sent is skipped when its turn comes; anything else the server may know of.
  if (entry.phase.kind !== 'unsent' || entry.isAnswered)
    step.enqueue({ kind: 'unsubscription', service: entry.service });
}

export function isSubscribed(step: Step, entry: SubscriptionEntry): boolean {
  return step.tables.subscriptions.get(entry.key) === entry;
}

/** It goes out now. */
export function noteSubscriptionSent(step: Step, entry: SubscriptionEntry): void {
  step.moveSubscription(entry, { kind: 'send', filter: entry.filter });
}

/** What is asked: also from which version on, unless a snapshot is wanted or the version means nothing to this registry. */
export function subscribeParams(step: Step, entry: SubscriptionEntry): SubscribeParams {
  const { service, mode, filter, view, viewFilter, chain } = entry;
  const { isWarming, offers } = step.tables;
  const { version } = view;
  const params = { ...service, mode, ...filter };
  if (version === undefined || chain === 'broken' || !isSameFilter(filter, viewFilter)) return params;
  // One that has just started waits with its answer for those who name a version.
  const resume = chain === 'foreign' && !isWarming ? {} : { version };
  const isCounted = offers.includes('warming' satisfies Capability) && !entry.isAnswered;
  return { ...params, ...resume, ...(isCounted ? { count: view.size } : {}) };
}

export function acceptSubscription(step: Step, entry: SubscriptionEntry, result: SubscribeResult): void {
  const { phase } = entry;
  if (!isSubscribed(step, entry) || phase.kind !== 'sent') return;
  entry.isAnswered = true;
  const applied = applyResult(step, entry, phase.filter, result);
  if (applied === undefined) {
    // Not an answer to what was asked; a pause, so that a server that continues like this is not hammered.
    entry.chain = 'broken';
    retryLater(step, entry, step.inputs.settings.backoffMinMs);
    return;
  }
  const { difference, isAwaitingList } = applied;
  entry.chain = 'intact';
  step.moveSubscription(entry, { kind: 'accept', isAwaitingList });
  step.report(entry, difference);
  // For now the list stays as the cache had it; but the registry has answered.
  if (!isAwaitingList) entry.cached = undefined;
  entry.cacheDueAtMs = undefined;
  finishRetention(step, entry);
  noteUnsaved(step, entry);
  // A batch is answered when all of it is, so a push can overtake the list it applies to. What it said is asked for again.
  const isOutdated = phase.missedTo > result.version || !isSameFilter(phase.filter, entry.filter);
  if (isOutdated) step.moveSubscription(entry, { kind: 'restart', canSend: step.isServing });
  step.reportFreshness(entry);
  for (const filtered of entry.filtered.values()) settleSubscribers(step, filtered);
}

interface Applied {
  readonly difference: Difference;
  /** The registry lets the client keep its list until it has a better one. */
  readonly isAwaitingList: boolean;
}

/** Undefined: it does not fit the client's list. */
function applyResult(
  step: Step,
  entry: SubscriptionEntry,
  filter: InstanceFilter,
  result: SubscribeResult,
): Applied | undefined {
  const { view } = entry;
  entry.isWarming = result.warming === true;
  if (!('from' in result)) {
    if (entry.isWarming) retainKnown(step, entry);
    entry.viewFilter = filter;
    return { difference: applyList(entry, result, result.version), isAwaitingList: false };
  }
  const { from, version, put, remove } = result;
  if (entry.isWarming && from === view.version && version === from) {
    entry.retention = undefined;
    return { difference: [], isAwaitingList: true };
  }
  // From a version that means something else there, or that was not named.
  if (entry.chain !== 'intact') return undefined;
  const outcome = view.applyDelta({ from, to: version, put, remove });
  if (outcome.kind !== 'applied') return undefined;
  if (entry.cached !== undefined) view.confirmAll();
  return { difference: [...outcome.difference, ...noteSwitch(entry, result)], isAwaitingList: false };
}

export function refuseSubscription(step: Step, entry: SubscriptionEntry, failure: Failure): void {
  if (!isSubscribed(step, entry)) return;
  const { backoffMaxMs } = step.inputs.settings;
  if (isRetryable(failure)) {
    retryLater(step, entry, step.waitAfter(failure));
    return;
  }
  // Refused: the one before, if there was one, continues, but its pushes have been passed over meanwhile.
  step.moveSubscription(entry, { kind: 'reset' });
  const refused = entry.filter;
  for (const filtered of entry.filtered.values()) {
    const tickets = filtered.waitingCalls;
    filtered.waitingCalls = [];
    for (const ticket of tickets) {
      entry.standing.delete(ticket);
      step.reject(ticket, new RequestError(failure));
    }
    dropIfUnused(step, filtered);
  }
  if (!isSubscribed(step, entry) || !isSameFilter(refused, entry.filter)) return;
  step.notifyRefused(entry, failure);
  retryLater(step, entry, backoffMaxMs);
}

/** A push came. It is applied only to the version it starts from (PU1). */
export function handleChange(step: Step, change: ServiceChanged): void {
  const entry = step.tables.subscriptions.get(serviceKey(change));
  if (entry === undefined) return;
  if (!appliesPushes(entry.phase)) {
    // Its place in the order is not known before the answer is there.
    step.moveSubscription(entry, { kind: 'overtake', to: change.to });
    return;
  }
  if ('snapshot' in change) {
    if (entry.phase.kind === 'awaitingList') {
      step.moveSubscription(entry, { kind: 'list' });
      entry.isWarming = false;
      entry.cached = undefined;
      entry.retention = undefined;
      step.report(entry, applyList(entry, change, change.to));
      step.reportFreshness(entry);
      noteUnsaved(step, entry);
      return;
    }
    if (change.to <= (entry.view.version ?? -1)) return;
    step.report(entry, applyList(entry, change, change.to));
    finishRetention(step, entry);
    noteUnsaved(step, entry);
    return;
  }
  const outcome = entry.view.applyDelta(change);
  switch (outcome.kind) {
    case 'applied':
      step.report(entry, [...outcome.difference, ...noteSwitch(entry, change)]);
      finishRetention(step, entry);
      noteUnsaved(step, entry);
      return;
    case 'old':
      return;
    case 'gap':
      entry.chain = 'broken';
      request(step, entry, 'restart');
      return;
    default:
      outcome satisfies never;
  }
}

/** A whole list; it takes away nothing that is kept. */
function applyList(
  entry: SubscriptionEntry,
  list: { readonly instances: readonly Instance[]; readonly closed?: true },
  version: number,
): Difference {
  const gone = noteSwitch(entry, list);
  return [...gone, ...entry.view.applySnapshot(version, list.instances, entry.retention === undefined)];
}

/** A list that an operator wants empty is not kept for what may come back. Returns what was kept and goes with this. */
function noteSwitch(entry: SubscriptionEntry, { closed }: { readonly closed?: true }): Difference {
  entry.isSwitchedOff = closed === true;
  if (!entry.isSwitchedOff) return [];
  entry.retention = undefined;
  return entry.view.dropUnconfirmed();
}

/** The connection is gone, or the request went unanswered. */
export function resetSubscription(step: Step, entry: SubscriptionEntry): void {
  step.moveSubscription(entry, { kind: 'reset' });
  step.reportFreshness(entry);
}
