import { noteUnsaved } from './caching.ts';
import type { SubscriptionEntry } from './entries.ts';
import type { Turn } from './turn.ts';

/**
 * A registry that the client has just come to, or that has just started, does not know yet who is on the way to it (PU5). So what is
 * known from before stays in a view, unconfirmed, until the registry has as many as were known, or had the time to: `confirmWithinMs`,
 * and longer while it says itself that it is warming.
 */
export function keepKnown(turn: Turn, entry: SubscriptionEntry): void {
  const { view } = entry;
  if (view.version === undefined || entry.keepUntilMs !== undefined) return;
  entry.keepUntilMs = turn.nowMs + turn.inputs.settings.confirmWithinMs;
  entry.keepCount = view.size;
  turn.wakeForRetry(entry.keepUntilMs);
}

/** The session is with another registry than the one that the view is of. */
export function moveToForeign(turn: Turn, entry: SubscriptionEntry): void {
  if (entry.view.version === undefined) return;
  entry.isForeign = true;
  // Those who are on the way have all their time from here on.
  entry.keepUntilMs = undefined;
  keepKnown(turn, entry);
}

/** Ends the keeping when there is no reason for it any more. */
export function finishKeeping(turn: Turn, entry: SubscriptionEntry): void {
  const { view, keepUntilMs, keepCount, isWarming } = entry;
  if (keepUntilMs === undefined || entry.isForeign || entry.phase !== 'settled') return;
  const hasAll = view.size - view.unconfirmedCount >= keepCount;
  if (!hasAll && (isWarming || (view.unconfirmedCount > 0 && turn.nowMs < keepUntilMs))) {
    turn.wakeForRetry(Math.max(keepUntilMs, turn.nowMs));
    return;
  }
  entry.keepUntilMs = undefined;
  turn.report(entry, view.dropUnconfirmed());
  turn.reportFreshness(entry);
  noteUnsaved(turn, entry);
}

/** The time to confirm what is kept is over: it goes; but a registry that said that it is warming is asked again. */
export function expireKeeping(turn: Turn): void {
  for (const entry of turn.books.subscriptions.values()) {
    const { keepUntilMs } = entry;
    if (keepUntilMs === undefined) continue;
    if (keepUntilMs > turn.nowMs) {
      turn.wakeForRetry(keepUntilMs);
    } else if (entry.phase === 'settled' && entry.isWarming) {
      entry.keepUntilMs = turn.nowMs + turn.inputs.settings.confirmWithinMs;
      turn.wakeForRetry(entry.keepUntilMs);
      entry.phase = 'unsent';
      turn.reportFreshness(entry);
      turn.enqueue(entry);
    } else {
      // Not before the registry has answered.
      finishKeeping(turn, entry);
    }
  }
}
