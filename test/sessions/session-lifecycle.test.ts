import fc from 'fast-check';
import { expect, test } from 'vitest';

import { nextState } from '../../src/sessions/session-lifecycle.ts';
import type { LifecycleEvent, SessionState } from '../../src/sessions/session-lifecycle.ts';
import type { Socket } from '../../src/transport/transport.ts';

const socket: Socket = {
  address: '127.0.0.1',
  send: () => 'sent',
  cork: (sends) => {
    sends();
  },
  ping: () => true,
  end: () => undefined,
};
const connected: SessionState = { kind: 'connected', socket };
const leased: SessionState = { kind: 'leased', lease: 'l', ttlMs: 1, expiresAtMs: 1 };
const moving: SessionState = { kind: 'moving' };

const events: readonly LifecycleEvent[] = [
  { kind: 'ended' },
  { kind: 'broke', removeAtMs: 5 },
  { kind: 'landed', removeAtMs: 7 },
  { kind: 'heldBack' },
  { kind: 'takenOver' },
];
const history = fc.array(fc.constantFrom(...events), { maxLength: 8 });

function run(from: SessionState, happened: readonly LifecycleEvent[]): SessionState[] {
  const states = [from];
  for (const event of happened) states.push(nextState(states.at(-1)!, event));
  return states;
}

test.each([
  ['a connection that breaks is kept for its grace', connected, events[1]!, { kind: 'broken', removeAtMs: 5 }],
  ['what a guard holds back is held', { kind: 'broken', removeAtMs: 5 }, events[3]!, { kind: 'held' }],
  ['a session on its way stays where it lands', moving, events[2]!, { kind: 'broken', removeAtMs: 7 }],
  ['a lease has no connection that breaks', leased, events[1]!, leased],
  ['nobody takes a lease over', leased, events[4]!, leased],
] as const)('[SE2] [SE8] %s', (_name, state, event, expected) => {
  expect(nextState(state, event)).toEqual(expected);
});

test('[SE8] a session that is over, or goes on elsewhere, never comes back, whatever happens', () => {
  fc.assert(
    fc.property(fc.constantFrom(connected, leased, moving), history, (from, happened) => {
      const kinds = run(from, happened).map(({ kind }) => kind);
      const end = kinds.findIndex((kind) => kind === 'ended' || kind === 'resumed');
      const after = end < 0 ? [] : kinds.slice(end);
      expect(after.every((kind) => kind === after[0])).toBe(true);
    }),
  );
});

test('[SE2] nothing is held back that has not had its grace', () => {
  fc.assert(
    fc.property(fc.constantFrom(connected, leased, moving), history, (from, happened) => {
      const kinds = run(from, happened).map(({ kind }) => kind);
      const held = kinds.indexOf('held');
      expect(held < 0 ? 'broken' : kinds[held - 1]).toBe('broken');
    }),
  );
});

test('what changes nothing gives back the very state', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(connected, leased, moving),
      history,
      fc.constantFrom(...events),
      (from, before, event) => {
        const state = run(from, before).at(-1)!;
        const next = nextState(state, event);
        expect(next === state).toBe(next.kind === state.kind);
      },
    ),
  );
});
