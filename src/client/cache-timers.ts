import { serviceKey } from '../protocol/service-key.ts';
import type { ServiceName } from '../protocol/types.ts';
import { save } from './caching.ts';
import type { SubscriptionEntry } from './entries.ts';
import type { CachedList } from './list-cache.ts';
import { retainAcrossRegistries } from './retention.ts';
import { covers } from './selection.ts';
import type { Step } from './step.ts';
import { settleSubscribers } from './subscriptions.ts';

/**
 * The cache has been read. Its list is what is known from before, all of it unconfirmed, until a registry has answered: that is asked for what
 * changed since, if it is the one that the list is of.
 */
export function applyCachedList(step: Step, service: ServiceName, list: CachedList | undefined): void {
  const entry = step.tables.subscriptions.get(serviceKey(service));
  if (entry === undefined || !entry.isLoading) return;
  entry.isLoading = false;
  if (list !== undefined && entry.view.version === undefined && covers(list.filter, entry.filter)) {
    entry.cached = { registry: list.registry };
    entry.viewFilter = list.filter;
    step.report(entry, entry.view.applyCached(list.version, list.instances));
    if (step.isServing && list.registry !== step.tables.registry) retainAcrossRegistries(step, entry);
  }
  for (const filtered of entry.filtered.values()) settleSubscribers(step, filtered);
}

/** Those who waited for a registry get what the cache has. */
function settleDue(step: Step, entry: SubscriptionEntry): void {
  if (entry.cacheDueAtMs === undefined) return;
  if (entry.cacheDueAtMs > step.nowMs) {
    step.wakeForRetry(entry.cacheDueAtMs);
    return;
  }
  entry.cacheDueAtMs = undefined;
  for (const filtered of entry.filtered.values()) settleSubscribers(step, filtered);
}

/** What is due with the cache. */
export function handleCacheTimers(step: Step): void {
  if (!step.inputs.settings.isCaching) return;
  for (const entry of step.tables.subscriptions.values()) {
    settleDue(step, entry);
    const { saveAtMs } = entry;
    if (saveAtMs === undefined) continue;
    if (saveAtMs > step.nowMs) step.wakeForRetry(saveAtMs);
    else save(step, entry);
  }
}
