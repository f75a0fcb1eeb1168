import fc from 'fast-check';
import { expect, test } from 'vitest';

import { RegistrationDigest } from '../../src/protocol/registration-digest.ts';
import { textCodec } from '../../src/runtime/text-codec.ts';
import { HostLog, SessionLog } from '../../src/sessions/session-log.ts';
import type { HeldRegistration } from '../../src/sessions/session-log.ts';

const step = fc.record({
  kind: fc.constantFrom('set', 'set', 'delete', 'hide', 'show', 'tell'),
  session: fc.nat(2),
  key: fc.constantFrom('n/g/a', 'n/g/b', 'n/g/c'),
  id: fc.constantFrom('1', '2', '3'),
});

test('sessions that share a log each keep their own, in the order in which it came', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const host = new HostLog(textCodec);
      const sessions = [0, 1, 2].map(() => ({
        log: new SessionLog(host),
        model: new Map<string, HeldRegistration>(),
      }));
      for (const [stamp, { kind, session, key, id }] of steps.entries()) {
        const { log, model } = sessions[session]!;
        const name = `${key} ${id}`;
        const isKnown = model.has(name);
        expect([log.has(key, id), log.stampOf(key, id)]).toEqual([isKnown, model.get(name)?.stamp]);
        if (kind === 'set') {
          const registration = { key, id, fragment: JSON.stringify({ id, stamp }), stamp };
          expect(log.set(registration)).toEqual(model.get(name));
          model.set(name, { ...registration, isHidden: false });
        } else if (kind === 'delete') {
          expect(log.delete(key, id)).toBe(model.delete(name));
        } else if (kind === 'tell') {
          log.noteTold(key, id, true);
          const isHidden = model.get(name)?.isHidden ?? false;
          expect(log.standingOf(key, id)).toEqual({ isHidden, isTold: isHidden || !isKnown });
          log.noteTold(key, id, false);
        } else {
          log.noteHidden(key, id, kind === 'hide');
          const known = model.get(name);
          if (known !== undefined) model.set(name, { ...known, isHidden: kind === 'hide' });
        }
      }
      for (const { log, model } of sessions) {
        expect([...log.values()]).toEqual([...model.values()]);
        expect([...log.services()]).toEqual([...model.values()].map(({ key }) => key));
        expect(log.names((key) => key === 'n/g/b')).toEqual(
          [...model.values()].filter(({ key }) => key === 'n/g/b').map(({ key, id }) => ({ key, id })),
        );
        expect(log.size).toBe(model.size);
        const digest = new RegistrationDigest();
        for (const { key, fragment } of model.values()) digest.add(key, fragment);
        expect(log.digest()).toBe(digest.toString());
      }
      for (const { log } of sessions) for (const { key, id } of log.names()) log.delete(key, id);
      expect([host.table.count, host.table.usedBytes]).toEqual([0, 0]);
      expect(sessions.map(({ log }) => log.digest())).toEqual(sessions.map(() => new RegistrationDigest().toString()));
    }),
  );
});

test('whoever comes back is told again of all that does not show, and of all that it was told of', () => {
  const log = new SessionLog(new HostLog(textCodec));
  for (const id of ['plain', 'hidden', 'untold', 'back', 'anew'])
    log.set({ key: 'n/g/a', id, fragment: JSON.stringify({ id }), stamp: 1 });
  for (const id of ['hidden', 'back', 'anew']) {
    log.noteHidden('n/g/a', id, true);
    log.noteTold('n/g/a', id, true);
  }
  log.noteHidden('n/g/a', 'untold', true);
  // That it shows again was told, and may have been lost with the connection.
  log.noteHidden('n/g/a', 'back', false);
  log.noteTold('n/g/a', 'back', false);
  // The answer says that it shows.
  log.set({ key: 'n/g/a', id: 'anew', fragment: JSON.stringify({ id: 'anew' }), stamp: 2 });
  expect(log.doubtTold().map(({ id }) => id)).toEqual(['hidden', 'untold', 'back']);
  for (const id of ['hidden', 'untold', 'back']) {
    const { isHidden, isTold } = log.standingOf('n/g/a', id);
    expect(isTold).toBe(false);
    // Whatever becomes of it before it is told.
    log.noteHidden('n/g/a', id, !isHidden);
    expect(log.standingOf('n/g/a', id)).toEqual({ isHidden: !isHidden, isTold: false });
    log.noteTold('n/g/a', id, !isHidden);
    expect(log.standingOf('n/g/a', id)).toEqual({ isHidden: !isHidden, isTold: true });
  }
});
