import { serviceKey } from '../protocol/service-key.ts';
import type { ServiceName } from '../protocol/types.ts';
import { save } from './caching.ts';
import type { SubscriptionEntry } from './entries.ts';
import { moveToForeign } from './keeping.ts';
import type { CachedList } from './list-cache.ts';
import { covers } from './selection.ts';
import { settleSubscribers } from './subscriptions.ts';
import type { Turn } from './turn.ts';

/**
 * The cache has been read. Its list is what is known from before, all of it unconfirmed, until a registry has answered: that is asked for what
 * changed since, if it is the one that the list is of.
 */
export function takeCached(turn: Turn, service: ServiceName, list: CachedList | undefined): void {
  const entry = turn.books.subscriptions.get(serviceKey(service));
  if (entry === undefined || !entry.isLoading) return;
  entry.isLoading = false;
  if (list !== undefined && entry.view.version === undefined && covers(list.filter, entry.filter)) {
    entry.isFromCache = true;
    entry.cachedRegistry = list.registry;
    entry.viewFilter = list.filter;
    turn.report(entry, entry.view.applyCached(list.version, list.instances));
    if (turn.isServing && list.registry !== turn.books.registry) moveToForeign(turn, entry);
  }
  for (const filtered of entry.filtered.values()) settleSubscribers(turn, filtered);
}

/** Those who waited for a registry get what the cache has. */
function settleDue(turn: Turn, entry: SubscriptionEntry): void {
  if (entry.cacheDueAtMs === undefined) return;
  if (entry.cacheDueAtMs > turn.nowMs) {
    turn.wakeForRetry(entry.cacheDueAtMs);
    return;
  }
  entry.cacheDueAtMs = undefined;
  for (const filtered of entry.filtered.values()) settleSubscribers(turn, filtered);
}

/** What is due with the cache. */
export function attendCache(turn: Turn): void {
  if (!turn.inputs.settings.isCaching) return;
  for (const entry of turn.books.subscriptions.values()) {
    settleDue(turn, entry);
    const { saveAtMs } = entry;
    if (saveAtMs === undefined) continue;
    if (saveAtMs > turn.nowMs) turn.wakeForRetry(saveAtMs);
    else save(turn, entry);
  }
}
