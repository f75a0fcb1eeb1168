import { expect, test } from 'vitest';

import { SessionJournal } from '../../src/sessions/session-journal.ts';
import type { SessionEvent } from '../../src/sessions/session-journal.ts';
import type { Session } from '../../src/sessions/session.ts';
import { InProcessRegistry } from '../support/in-process-registry.ts';
import { SimulatedClient } from '../support/simulated-client.ts';

async function connect(): Promise<Session> {
  const registry = await InProcessRegistry.start();
  return new SimulatedClient(registry).session;
}

function record(isVerbose: boolean): { journal: SessionJournal; events: SessionEvent[] } {
  const events: SessionEvent[] = [];
  return { journal: new SessionJournal(isVerbose, (event) => events.push(event)), events };
}

test('ten thousand clients that are closed together are ten lines, and how many more there were', async () => {
  const session = await connect();
  const { journal, events } = record(false);
  for (let i = 0; i < 10_000; i++) journal.noteEnded(session, false, 'heartbeat_timeout', 1000 + i / 100);
  journal.noteEnded(session, false, 'slow_consumer', 1100);
  journal.tick(10_999);
  expect(events.filter(({ kind }) => kind === 'closed')).toHaveLength(11);
  expect(events.filter(({ kind }) => kind === 'suppressed')).toEqual([]);
  journal.tick(11_000);
  expect(events.at(-1)).toEqual({ kind: 'suppressed', what: 'closed heartbeat_timeout', count: 9990 });
  // Of the other sort none was left out.
  journal.tick(100_000);
  expect(events).toHaveLength(12);
  journal.noteEnded(session, false, 'heartbeat_timeout', 100_001);
  expect(events.at(-1)).toMatchObject({ kind: 'closed', reason: 'heartbeat_timeout' });
});

test('what was left out is told when the next one comes after the window, though nobody ticks', async () => {
  const { journal, events } = record(false);
  for (let i = 0; i < 12; i++) journal.noteOriginRefused(`https://${'x'.repeat(1000)}`, '10.0.0.1', 0);
  journal.noteOriginRefused('https://a.example', '10.0.0.2', 20_000);
  expect(events.slice(10)).toEqual([
    { kind: 'suppressed', what: 'origin refused', count: 2 },
    { kind: 'originRefused', origin: 'https://a.example', address: '10.0.0.2' },
  ]);
  expect(events[0]).toMatchObject({ kind: 'originRefused', origin: `https://${'x'.repeat(248)}` });
});

test('comings and goings are told only to a log that wants them, and never with a secret', async () => {
  const session = await connect();
  session.opened = { client: 'test/1', app: 'shop', token: 'hidden' };
  for (const isVerbose of [false, true]) {
    const { journal, events } = record(isVerbose);
    journal.noteConnected(session);
    journal.noteOpened(session);
    journal.noteEnded(session, true, undefined, 0);
    journal.noteEnded(session, false, undefined, 0);
    journal.noteEnded(session, false, 'going_away', 0);
    expect(events.map(({ kind }) => kind)).toEqual(
      isVerbose ? ['connected', 'opened', 'left', 'broken', 'closed'] : [],
    );
    const text = JSON.stringify(events);
    expect(text).not.toContain('hidden');
    expect(text).not.toContain(session.secret);
    if (isVerbose) expect(events[1]).toMatchObject({ session: session.name, app: 'shop', client: 'test/1' });
  }
});

test('requests that are refused are told as often, apart from bounds, with who asked', async () => {
  const session = await connect();
  const { journal, events } = record(false);
  const identity = { session: session.name, address: session.address };
  for (let i = 0; i < 100; i++) journal.noteRefusal('invalid_params', session, 1000);
  journal.noteRefusal('not_found', '10.0.0.9', 1000);
  expect(events.splice(0)).toEqual([
    { kind: 'refused', code: 'invalid_params', count: 1, ...identity },
    { kind: 'refused', code: 'not_found', count: 1, address: '10.0.0.9' },
  ]);
  journal.tick(11_000);
  expect(events).toEqual([{ kind: 'refused', code: 'invalid_params', count: 99, ...identity }]);
});

test('[LI1] a bound is told at once when it is met, and then once in a window with how often that was, and by whom last', async () => {
  const session = await connect();
  session.opened = { client: 'test/1', app: 'shop' };
  const { journal, events } = record(false);
  const identity = { session: session.name, address: session.address, client: 'test/1', app: 'shop' };
  journal.noteBound('registrationsMax', session, 1000);
  expect(events).toEqual([{ kind: 'boundMet', bound: 'registrationsMax', count: 1, ...identity }]);
  for (let i = 0; i < 10_000; i++) journal.noteBound('registrationsMax', '10.0.0.9', 1000 + i / 10);
  journal.noteBound('registrationsMax', session, 2000);
  // Others have windows of their own.
  journal.noteBound('leasesMax', '10.0.0.8', 2000);
  expect(events.splice(1)).toEqual([{ kind: 'boundMet', bound: 'leasesMax', count: 1, address: '10.0.0.8' }]);
  journal.tick(10_999);
  expect(events).toHaveLength(1);
  journal.tick(11_000);
  expect(events.splice(1)).toEqual([{ kind: 'boundMet', bound: 'registrationsMax', count: 10_001, ...identity }]);
  // What is told when a window is over begins another one.
  journal.noteBound('registrationsMax', undefined, 20_999);
  journal.noteBound('registrationsMax', undefined, 21_000);
  expect(events.splice(1)).toEqual([{ kind: 'boundMet', bound: 'registrationsMax', count: 2 }]);
  // After a quiet window it is as at first.
  journal.tick(31_000);
  expect(events).toHaveLength(1);
  journal.noteBound('registrationsMax', undefined, 31_001);
  expect(events.splice(1)).toEqual([{ kind: 'boundMet', bound: 'registrationsMax', count: 1 }]);
});
