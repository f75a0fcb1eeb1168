import { noteUnsaved } from './caching.ts';
import type { SubscriptionEntry } from './entries.ts';
import type { Step } from './step.ts';
import { appliesPushes } from './subscription-phase.ts';

/**
 * A registry that the client has just come to, or that has just started, does not know yet who is on the way to it (PU5). So what is
 * known from before stays in a view, unconfirmed, until the registry has as many as were known, or has had enough time: `confirmWithinMs`,
 * and longer while it says itself that it is warming.
 */
export function retainKnown(step: Step, entry: SubscriptionEntry): void {
  const { view } = entry;
  if (view.version === undefined || entry.retention !== undefined) return;
  entry.retention = { untilMs: step.nowMs + step.inputs.settings.confirmWithinMs, count: view.size };
  step.wakeForRetry(entry.retention.untilMs);
}

/** The session is with another registry than the one that the view is of. */
export function retainAcrossRegistries(step: Step, entry: SubscriptionEntry): void {
  if (entry.view.version === undefined) return;
  if (entry.chain === 'intact') entry.chain = 'foreign';
  // Those who are on the way have all their time from here on.
  entry.retention = undefined;
  retainKnown(step, entry);
}

/** Ends the keeping when there is no reason for it any more. */
export function finishRetention(step: Step, entry: SubscriptionEntry): void {
  const { view, retention, isWarming } = entry;
  // Not before the registry has answered.
  if (retention === undefined || !appliesPushes(entry.phase)) return;
  const hasAll = view.size - view.unconfirmedCount >= retention.count;
  if (!hasAll && (isWarming || (view.unconfirmedCount > 0 && step.nowMs < retention.untilMs))) {
    step.wakeForRetry(Math.max(retention.untilMs, step.nowMs));
    return;
  }
  entry.retention = undefined;
  step.report(entry, view.dropUnconfirmed());
  step.reportFreshness(entry);
  noteUnsaved(step, entry);
}

/** The time to confirm what is kept is over: it goes; but a registry that said that it is warming is asked again. */
export function expireRetention(step: Step): void {
  for (const entry of step.tables.subscriptions.values()) {
    const { retention } = entry;
    if (retention === undefined) continue;
    if (retention.untilMs > step.nowMs) {
      step.wakeForRetry(retention.untilMs);
    } else if (appliesPushes(entry.phase) && entry.isWarming) {
      const untilMs = step.nowMs + step.inputs.settings.confirmWithinMs;
      entry.retention = { ...retention, untilMs };
      step.wakeForRetry(untilMs);
      step.moveSubscription(entry, { kind: 'restart', canSend: step.isServing });
      step.reportFreshness(entry);
    } else {
      finishRetention(step, entry);
    }
  }
}
