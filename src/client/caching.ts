import { isBehind } from './entries.ts';
import type { SubscriptionEntry } from './entries.ts';
import type { Turn } from './turn.ts';

const saveAfterMs = 1000;
const savedPerMs = 10;

/** A cached list that is older than the registry's first word is worth having, so the cache is read while the client connects. */
export function askCache(turn: Turn, entry: SubscriptionEntry): void {
  const { isCaching, cacheAfterMs } = turn.inputs.settings;
  if (!isCaching) return;
  entry.isLoading = true;
  entry.cacheDueAtMs = turn.nowMs + cacheAfterMs;
  turn.wakeForRetry(entry.cacheDueAtMs);
  turn.effects.push({ kind: 'loadList', service: entry.service });
}

/** The list is saved before long: the longer it is, the less often. */
export function noteUnsaved(turn: Turn, entry: SubscriptionEntry): void {
  if (!turn.inputs.settings.isCaching || entry.saveAtMs !== undefined) return;
  entry.saveAtMs = turn.nowMs + Math.max(saveAfterMs, entry.view.size / savedPerMs);
  turn.wakeForRetry(entry.saveAtMs);
}

/** Saves a list that has changed since it was saved, but none that may be behind: then the one that was saved is as good. */
export function save(turn: Turn, entry: SubscriptionEntry): void {
  if (entry.saveAtMs === undefined) return;
  entry.saveAtMs = undefined;
  const { service, view, viewFilter: filter } = entry;
  const { version, instances } = view;
  const { registry } = turn.books;
  if (isBehind(entry) || version === undefined) return;
  const list = { service, filter, ...(registry === undefined ? {} : { registry }), version, instances };
  turn.effects.push({ kind: 'saveList', list });
}

export function saveAll(turn: Turn): void {
  for (const entry of turn.books.subscriptions.values()) save(turn, entry);
}
