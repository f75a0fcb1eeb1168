import { isBehind } from './entries.ts';
import type { SubscriptionEntry } from './entries.ts';
import type { Step } from './step.ts';

const saveAfterMs = 1000;
const savedPerMs = 10;

/** A cached list that is older than the registry's first word is worth having, so the cache is read while the client connects. */
export function askCache(step: Step, entry: SubscriptionEntry): void {
  const { isCaching, cacheAfterMs } = step.inputs.settings;
  if (!isCaching) return;
  entry.isLoading = true;
  entry.cacheDueAtMs = step.nowMs + cacheAfterMs;
  step.wakeForRetry(entry.cacheDueAtMs);
  step.effects.push({ kind: 'loadList', service: entry.service });
}

/** The list is saved before long: the longer it is, the less often. */
export function noteUnsaved(step: Step, entry: SubscriptionEntry): void {
  if (!step.inputs.settings.isCaching || entry.saveAtMs !== undefined) return;
  entry.saveAtMs = step.nowMs + Math.max(saveAfterMs, entry.view.size / savedPerMs);
  step.wakeForRetry(entry.saveAtMs);
}

/** Saves a list that has changed since it was saved, but none that may be behind: then the one that was saved is as good. */
export function save(step: Step, entry: SubscriptionEntry): void {
  if (entry.saveAtMs === undefined) return;
  entry.saveAtMs = undefined;
  const { service, view, viewFilter: filter } = entry;
  const { version, instances } = view;
  const { registry } = step.tables;
  if (isBehind(entry) || version === undefined) return;
  const list = { service, filter, ...(registry === undefined ? {} : { registry }), version, instances };
  step.effects.push({ kind: 'saveList', list });
}

export function saveAll(step: Step): void {
  for (const entry of step.tables.subscriptions.values()) save(step, entry);
}
