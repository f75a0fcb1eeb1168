import fc from 'fast-check';
import { expect, test } from 'vitest';

import { Hearing } from '../../src/bench/hearing.ts';

const events = 40;
const step = 4;

test('changes that come merged are heard as if they had come one by one', () => {
  const push = fc.record({ last: fc.nat(events - 1), count: fc.integer({ min: 1, max: 6 }), atMs: fc.nat(200) });
  fc.assert(
    fc.property(fc.array(push, { maxLength: 60 }), (pushes) => {
      const merged = new Hearing(100, events, (event) => event - 100);
      const single = new Hearing(100, events, (event) => event - 100);
      for (const { last, count, atMs } of pushes.toSorted((a, b) => a.atMs - b.atMs)) {
        const known = Math.min(count, Math.floor(last / step) + 1);
        merged.hearRun(100 + last, step, known, atMs);
        for (let i = 0; i < known; i++) single.hear(100 + last - i * step, atMs);
      }
      merged.finish();
      expect([...merged.heard]).toEqual([...single.heard]);
      expect([...merged.firstAtMs]).toEqual([...single.firstAtMs]);
      expect([...merged.lastAtMs]).toEqual([...single.lastAtMs]);
      expect(merged.received).toBe(single.received);
      expect(merged.slowestMs).toBe(single.slowestMs);
      expect([merged.each.totalCount, merged.each.getValueAtPercentile(50), merged.each.maxValue]).toEqual([
        single.each.totalCount,
        single.each.getValueAtPercentile(50),
        single.each.maxValue,
      ]);
    }),
  );
});

test('it is settled when as much was heard as is awaited, merged or not', async () => {
  const hearing = new Hearing(0, events, () => 0);
  hearing.hearRun(8, step, 3, 1);
  hearing.await(4);
  hearing.hear(1, 2);
  await hearing.settled;
  expect(hearing.received).toBe(4);
});
