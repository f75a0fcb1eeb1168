import { expect, test } from 'vitest';

import { nextRegistrationPhase, unsentRegistration } from '../../src/client/registration-phase.ts';
import type { RegistrationEvent, RegistrationPhase } from '../../src/client/registration-phase.ts';

const retryAtMs = 500;
const phases: Readonly<Record<RegistrationPhase['kind'], RegistrationPhase>> = {
  unsent: unsentRegistration,
  queued: { kind: 'queued' },
  sent: { kind: 'sent' },
  outdated: { kind: 'outdated' },
  settled: { kind: 'settled' },
  postponed: { kind: 'postponed', retryAtMs },
};
const due: RegistrationEvent = { kind: 'review', isDue: true, canSend: true };
const answer: RegistrationEvent = { kind: 'answer' };
const postpone: RegistrationEvent = { kind: 'postpone', retryAtMs };

/** Leads a registration from phase to phase; returns where it ends. */
function lead(...events: readonly RegistrationEvent[]): RegistrationPhase {
  return events.reduce(nextRegistrationPhase, unsentRegistration);
}

test.each<[event: RegistrationEvent, after: Readonly<Record<RegistrationPhase['kind'], RegistrationPhase['kind']>>]>([
  [
    due,
    {
      unsent: 'queued',
      queued: 'queued',
      sent: 'outdated',
      outdated: 'outdated',
      settled: 'queued',
      postponed: 'queued',
    },
  ],
  [
    { kind: 'review', isDue: true, canSend: false },
    {
      unsent: 'unsent',
      queued: 'queued',
      sent: 'outdated',
      outdated: 'outdated',
      settled: 'unsent',
      postponed: 'unsent',
    },
  ],
  [
    { kind: 'review', isDue: false, canSend: true },
    {
      unsent: 'settled',
      queued: 'settled',
      sent: 'outdated',
      outdated: 'outdated',
      settled: 'settled',
      postponed: 'settled',
    },
  ],
  [
    { kind: 'send' },
    {
      unsent: 'unsent',
      queued: 'sent',
      sent: 'sent',
      outdated: 'outdated',
      settled: 'settled',
      postponed: 'postponed',
    },
  ],
  [
    answer,
    {
      unsent: 'unsent',
      queued: 'queued',
      sent: 'unsent',
      outdated: 'unsent',
      settled: 'settled',
      postponed: 'postponed',
    },
  ],
  [
    postpone,
    {
      unsent: 'unsent',
      queued: 'queued',
      sent: 'postponed',
      outdated: 'postponed',
      settled: 'settled',
      postponed: 'postponed',
    },
  ],
  [
    { kind: 'reset' },
    { unsent: 'unsent', queued: 'unsent', sent: 'unsent', outdated: 'unsent', settled: 'unsent', postponed: 'unsent' },
  ],
  [
    { kind: 'tick', nowMs: retryAtMs, canSend: true },
    { unsent: 'unsent', queued: 'queued', sent: 'sent', outdated: 'outdated', settled: 'settled', postponed: 'queued' },
  ],
])('a registration in each phase on %o', (event, after) => {
  for (const phase of Object.values(phases)) {
    expect(nextRegistrationPhase(phase, event).kind, `in ${phase.kind}`).toBe(after[phase.kind]);
  }
});

test('what is wanted anew while a request is under way waits for its answer, and is sent then', () => {
  const outdated = lead(due, { kind: 'send' }, due);
  expect(outdated.kind).toBe('outdated');
  expect(nextRegistrationPhase(nextRegistrationPhase(outdated, answer), due).kind).toBe('queued');
});

test('what was refused for now is tried at its time and not before, and not while nothing may be sent', () => {
  const postponed = lead(due, { kind: 'send' }, postpone);
  expect(nextRegistrationPhase(postponed, { kind: 'tick', nowMs: retryAtMs - 1, canSend: true })).toBe(postponed);
  expect(nextRegistrationPhase(postponed, { kind: 'tick', nowMs: retryAtMs, canSend: false }).kind).toBe('unsent');
  expect(nextRegistrationPhase(postponed, { kind: 'tick', nowMs: retryAtMs, canSend: true }).kind).toBe('queued');
});

test('an answer that comes after the session was lost changes nothing', () => {
  const lost = lead(due, { kind: 'send' }, { kind: 'reset' });
  expect(nextRegistrationPhase(lost, answer)).toBe(lost);
  expect(nextRegistrationPhase(lost, postpone)).toBe(lost);
});
