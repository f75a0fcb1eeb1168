import fc from 'fast-check';
import { expect, test } from 'vitest';

import { nextPhase } from '../../src/sessions/subscription-lifecycle.ts';
import type { SubscriptionEvent, SubscriptionPhase } from '../../src/sessions/subscription-lifecycle.ts';

const beginnings = ['began', 'beganInBatch', 'beganWarming', 'beganWarmingInBatch'] as const;
const events: readonly SubscriptionEvent[] = [
  ...beginnings,
  'batchSent',
  'warmed',
  'missed',
  'asked',
  'refreshed',
  'failed',
  'left',
];

function run(...happened: readonly SubscriptionEvent[]): SubscriptionPhase {
  let phase: SubscriptionPhase = 'starting';
  for (const event of happened) phase = nextPhase(phase, event);
  return phase;
}

/** The phases of a history, of which what cannot happen is left out. */
function walk(happened: readonly SubscriptionEvent[]): SubscriptionPhase[] {
  const phases: SubscriptionPhase[] = ['starting'];
  for (const event of happened) {
    try {
      phases.push(nextPhase(phases.at(-1)!, event));
    } catch {
      phases.push(phases.at(-1)!);
    }
  }
  return phases;
}

test.each([
  [
    'what is pushed before the answer of its batch is made up for after it',
    ['beganInBatch', 'missed', 'batchSent'],
    'stale',
  ],
  ['nothing was pushed before the answer of its batch', ['beganInBatch', 'batchSent'], 'live'],
  ['it misses a push, and gets the latest state', ['began', 'missed', 'asked', 'refreshed'], 'live'],
  [
    'pushes that come while the latest state is on its way are part of it',
    ['began', 'missed', 'asked', 'missed'],
    'refreshing',
  ],
  ['it has not read enough for the latest state either', ['began', 'missed', 'asked', 'failed'], 'stale'],
  ['who waits for its service to be warm misses nothing', ['beganWarming', 'missed', 'warmed'], 'live'],
  [
    'its service is warm before the answer of its batch is sent',
    ['beganWarmingInBatch', 'warmed', 'missed', 'batchSent'],
    'stale',
  ],
] as const)('[PU1] [PU4] [PU5] %s', (_name, happened, expected) => {
  expect(run(...happened)).toBe(expected);
});

test('[PU4] one that missed a push is live again only with the latest state', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...events), { maxLength: 30 }), (happened) => {
      const phases = walk(happened);
      for (let at = 1; at < phases.length; at++) {
        const [before, phase] = [phases[at - 1], phases[at]];
        if (phase !== 'live' || before === 'live') continue;
        expect(before).toMatch(/^(starting|answering|warming|refreshing)$/);
        if (before === 'refreshing') expect(happened[at - 1]).toBe('refreshed');
      }
    }),
  );
});

test('one that is over stays so, and whatever was under way for it may still come to an end', () => {
  for (const event of events) expect(nextPhase('over', event)).toBe('over');
  for (const beginning of beginnings) expect(run(beginning, 'left')).toBe('over');
});

test('what cannot happen is a bug', () => {
  expect(() => run('began', 'began')).toThrow('cannot be began');
  expect(() => run('asked')).toThrow('a subscription that is starting cannot be asked');
});
