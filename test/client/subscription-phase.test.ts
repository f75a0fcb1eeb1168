import { expect, test } from 'vitest';

import { appliesPushes, nextSubscriptionPhase, unsentSubscription } from '../../src/client/subscription-phase.ts';
import type { SubscriptionEvent, SubscriptionPhase } from '../../src/client/subscription-phase.ts';

type PhaseKind = SubscriptionPhase['kind'];

const retryAtMs = 500;
const filter = { zone: 'z1' };
const phases: Readonly<Record<PhaseKind, SubscriptionPhase>> = {
  unsent: unsentSubscription,
  queued: { kind: 'queued' },
  sent: { kind: 'sent', filter, missedTo: 0 },
  live: { kind: 'live' },
  awaitingList: { kind: 'awaitingList' },
  postponed: { kind: 'postponed', retryAtMs },
};
const request: SubscriptionEvent = { kind: 'request', canSend: true };
const send: SubscriptionEvent = { kind: 'send', filter };
const postpone: SubscriptionEvent = { kind: 'postpone', retryAtMs };

/** Leads a subscription from phase to phase; returns where it ends. */
function lead(...events: readonly SubscriptionEvent[]): SubscriptionPhase {
  return events.reduce(nextSubscriptionPhase, unsentSubscription);
}

/** Only what an event moves is listed. */
test.each<[event: SubscriptionEvent, moved: Readonly<Partial<Record<PhaseKind, PhaseKind>>>]>([
  [request, { unsent: 'queued', postponed: 'queued' }],
  [{ kind: 'request', canSend: false }, { postponed: 'unsent' }],
  [
    { kind: 'restart', canSend: true },
    { unsent: 'queued', live: 'queued', awaitingList: 'queued', postponed: 'queued' },
  ],
  [
    { kind: 'restart', canSend: false },
    { live: 'unsent', awaitingList: 'unsent', postponed: 'unsent' },
  ],
  [send, { queued: 'sent' }],
  [{ kind: 'accept', isAwaitingList: false }, { sent: 'live' }],
  [{ kind: 'accept', isAwaitingList: true }, { sent: 'awaitingList' }],
  [postpone, { unsent: 'postponed', queued: 'postponed', sent: 'postponed' }],
  [
    { kind: 'reset' },
    { queued: 'unsent', sent: 'unsent', live: 'unsent', awaitingList: 'unsent', postponed: 'unsent' },
  ],
  [{ kind: 'overtake', to: 7 }, {}],
  [{ kind: 'list' }, { awaitingList: 'live' }],
  [{ kind: 'tick', nowMs: retryAtMs, canSend: true }, { postponed: 'queued' }],
  [{ kind: 'tick', nowMs: retryAtMs, canSend: false }, { postponed: 'unsent' }],
  [{ kind: 'tick', nowMs: retryAtMs - 1, canSend: true }, {}],
])('a subscription in each phase on %o', (event, moved) => {
  for (const phase of Object.values(phases)) {
    const expected = moved[phase.kind] ?? phase.kind;
    expect(nextSubscriptionPhase(phase, event).kind, `in ${phase.kind}`).toBe(expected);
  }
});

test('[PU1] pushes that overtake the answer are remembered by the highest version, for this request alone', () => {
  const overtaken = lead(request, send, { kind: 'overtake', to: 7 }, { kind: 'overtake', to: 5 });
  expect(overtaken).toEqual({ kind: 'sent', filter, missedTo: 7 });
  const again = [{ kind: 'reset' }, request, send] as const;
  expect(again.reduce(nextSubscriptionPhase, overtaken)).toEqual({ kind: 'sent', filter, missedTo: 0 });
});

test('the filter of the request that is under way is kept, whatever is wanted meanwhile', () => {
  expect(lead(request, send, { kind: 'restart', canSend: true }, { kind: 'send', filter: {} })).toEqual({
    kind: 'sent',
    filter,
    missedTo: 0,
  });
});

test('[PU1] pushes are applied only once the present session has answered', () => {
  const applying = Object.values(phases).filter((phase) => appliesPushes(phase));
  expect(applying.map(({ kind }) => kind)).toEqual(['live', 'awaitingList']);
});
