import { expect, test } from 'vitest';

import type { Failure } from '../../src/protocol/errors.ts';
import { SlotGate } from '../../src/routing/slot-gate.ts';
import { slotOf } from '../../src/slots/slot.ts';

const key = 'public/DEFAULT/pay';
const slot = slotOf(key);

function setUp(waitingMax = 10): { gate: SlotGate; done: string[]; refused: Failure[]; wait: (name: string) => void } {
  const gate = new SlotGate({ waitingMax, waitTimeoutMs: 1000, nowMs: 0 });
  const done: string[] = [];
  const refused: Failure[] = [];
  const wait = (name: string): void => {
    gate.wait(
      slot,
      () => done.push(name),
      (failure) => refused.push(failure),
    );
  };
  return { gate, done, refused, wait };
}

test('[SL3] what waited for a slot is done in its order once it opens', () => {
  const { gate, done, wait } = setUp();
  gate.freeze([slot]);
  expect([gate.isFrozen(key), gate.isFrozen('public/DEFAULT/other')]).toEqual([true, false]);
  wait('a');
  gate.wait(slot, () => done.push('b'));
  wait('c');
  gate.thaw([slot]);
  expect(done).toEqual(['a', 'b', 'c']);
  expect([gate.isThawed, gate.waitingCount]).toEqual([true, 0]);
});

test('[SL3] a slot that is frozen for two reasons opens with the last', () => {
  const { gate, done, wait } = setUp();
  gate.freeze([slot]);
  gate.freeze([slot]);
  wait('a');
  gate.thaw([slot]);
  expect(done).toEqual([]);
  gate.thaw([slot]);
  expect(done).toEqual(['a']);
  expect(() => {
    gate.thaw([slot]);
  }).toThrow(/is not frozen/);
});

test('[RE3] what waits too long is refused with a time to come back; what must be done is done', () => {
  const { gate, done, refused, wait } = setUp();
  gate.freeze([slot]);
  wait('a');
  gate.wait(slot, () => done.push('b'));
  gate.tick(999);
  expect(refused).toEqual([]);
  gate.tick(1000);
  expect(refused).toMatchObject([{ code: 'busy', limit: 'slotWaitTimeoutMs', retryAfterMs: 250 }]);
  gate.thaw([slot]);
  expect(done).toEqual(['b']);
});

test('[LI1] [RE3] too many that wait are refused at once', () => {
  const { gate, refused, wait } = setUp(2);
  gate.freeze([slot]);
  for (const name of ['a', 'b', 'c']) wait(name);
  expect(refused).toMatchObject([{ code: 'busy', limit: 'waitingRequestsMax', max: 2 }]);
});

test('[SL3] what concerns every slot waits for the last one', () => {
  const { gate, done } = setUp();
  gate.freeze([1, 2]);
  gate.wait('all', () => done.push('all'));
  gate.wait([1, 3], () => done.push('one and three'));
  gate.thaw([1]);
  expect(done).toEqual(['one and three']);
  gate.thaw([2]);
  expect(done).toEqual(['one and three', 'all']);
});

test('[RE3] whoever waits for any slots to thaw has its turn with the first that do, and at once where none is frozen', () => {
  const { gate, done } = setUp();
  gate.wait('next', () => done.push('at once'));
  gate.freeze([1, 2]);
  gate.freeze([1]);
  gate.wait(2, () => done.push('two'));
  gate.wait('next', () => {
    done.push('next');
    gate.wait('next', () => done.push('the one after'));
  });
  gate.thaw([1]);
  expect(done).toEqual(['at once']);
  gate.thaw([1]);
  expect(done).toEqual(['at once', 'next']);
  gate.thaw([2]);
  expect(done).toEqual(['at once', 'next', 'two', 'the one after']);
});

test('the longest time that a slot was frozen is known', () => {
  const { gate } = setUp();
  gate.tick(100);
  gate.freeze([slot]);
  gate.tick(350);
  gate.thaw([slot]);
  expect(gate.longestFreezeMs).toBe(250);
});
