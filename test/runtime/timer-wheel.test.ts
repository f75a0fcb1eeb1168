import fc from 'fast-check';
import { expect, test } from 'vitest';

import { TimerWheel } from '../../src/runtime/timer-wheel.ts';

test('[LI1] every item comes out once, not before its deadline, and at most one tick after it', () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat({ max: 2000 }), { maxLength: 50 }),
      fc.array(fc.integer({ min: 1, max: 300 }), { maxLength: 20 }),
      fc.integer({ min: 1, max: 60 }),
      (deadlines, steps, itemsMax) => {
        const tickMs = 50;
        const wheel = new TimerWheel<number>(tickMs, 0);
        const advance = (nowMs: number): number[] => {
          const items: number[] = [];
          do {
            const some = wheel.advance(nowMs, itemsMax);
            expect(some.length).toBeLessThanOrEqual(itemsMax);
            items.push(...some);
          } while (wheel.isBehind);
          return items;
        };
        for (const [item, deadline] of deadlines.entries()) wheel.schedule(item, deadline);
        const out = new Map<number, { from: number; to: number }>();
        let now = 0;
        for (const step of [...steps, 3000]) {
          const before = now;
          now += step;
          for (const item of advance(now)) {
            expect(out.has(item)).toBe(false);
            out.set(item, { from: before, to: now });
          }
        }
        expect(out.size).toBe(deadlines.length);
        for (const [item, { from, to }] of out) {
          expect(to).toBeGreaterThanOrEqual(deadlines[item]!);
          // It was not yet due at the advance before, give or take the tick that buckets are wide.
          expect(from).toBeLessThan(Math.max(deadlines[item]!, tickMs) + tickMs);
        }
      },
    ),
  );
});

test('[LI1] any number of items may be due at once; so many are taken at a time', () => {
  const wheel = new TimerWheel<number>(50, 0);
  for (let item = 0; item < 200_000; item++) wheel.schedule(item, 100);
  const taken = new Set<number>();
  for (let turn = 0; turn < 4; turn++) {
    for (const item of wheel.advance(200, 50_000)) taken.add(item);
    expect(taken.size).toBe(50_000 * (turn + 1));
    expect(wheel.isBehind).toBe(true);
    // What is put in meanwhile is for later.
    wheel.schedule(-1 - turn, 100);
  }
  expect(wheel.advance(200, 1)).toEqual([]);
  expect(wheel.isBehind).toBe(false);
  expect(wheel.advance(300, 9)).toEqual([-1, -2, -3, -4]);
});

test('[LI1] what is cancelled does not come out, and nothing else stays away', () => {
  const wheel = new TimerWheel<number>(50, 0);
  const places = Array.from({ length: 10 }, (_, item) => wheel.schedule(item, item * 30));
  for (let item = 0; item < 10; item += 2) wheel.cancel(item, places[item]!);
  wheel.cancel(1, places[9]!);
  expect(wheel.advance(1000, 100)).toEqual([1, 3, 5, 7, 9]);
});
