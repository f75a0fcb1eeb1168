import { noteUnsaved } from './caching.ts';
import type { SubscriptionEntry } from './entries.ts';
import type { Step } from './step.ts';

/**
 * A registry that the client has just come to, or that has just started, does not know yet who is on the way to it (PU5). So what is
 * known from before stays in a view, unconfirmed, until the registry has as many as were known, or had the time to: `confirmWithinMs`,
 * and longer while it says itself that it is warming.
 */
export function retainKnown(step: Step, entry: SubscriptionEntry): void {
  const { view } = entry;
  if (view.version === undefined || entry.retainUntilMs !== undefined) return;
  entry.retainUntilMs = step.nowMs + step.inputs.settings.confirmWithinMs;
  entry.retainedCount = view.size;
  step.wakeForRetry(entry.retainUntilMs);
}

/** The session is with another registry than the one that the view is of. */
export function retainAcrossRegistries(step: Step, entry: SubscriptionEntry): void {
  if (entry.view.version === undefined) return;
  entry.isForeign = true;
  // Those who are on the way have all their time from here on.
  entry.retainUntilMs = undefined;
  retainKnown(step, entry);
}

/** Ends the keeping when there is no reason for it any more. */
export function finishRetention(step: Step, entry: SubscriptionEntry): void {
  const { view, retainUntilMs, retainedCount, isWarming } = entry;
  if (retainUntilMs === undefined || entry.isForeign || entry.phase !== 'settled') return;
  const hasAll = view.size - view.unconfirmedCount >= retainedCount;
  if (!hasAll && (isWarming || (view.unconfirmedCount > 0 && step.nowMs < retainUntilMs))) {
    step.wakeForRetry(Math.max(retainUntilMs, step.nowMs));
    return;
  }
  entry.retainUntilMs = undefined;
  step.report(entry, view.dropUnconfirmed());
  step.reportFreshness(entry);
  noteUnsaved(step, entry);
}

/** The time to confirm what is kept is over: it goes; but a registry that said that it is warming is asked again. */
export function expireRetention(step: Step): void {
  for (const entry of step.tables.subscriptions.values()) {
    const { retainUntilMs } = entry;
    if (retainUntilMs === undefined) continue;
    if (retainUntilMs > step.nowMs) {
      step.wakeForRetry(retainUntilMs);
    } else if (entry.phase === 'settled' && entry.isWarming) {
      entry.retainUntilMs = step.nowMs + step.inputs.settings.confirmWithinMs;
      step.wakeForRetry(entry.retainUntilMs);
      entry.phase = 'unsent';
      step.reportFreshness(entry);
      step.enqueue(entry);
    } else {
      // Not before the registry has answered.
      finishRetention(step, entry);
    }
  }
}
