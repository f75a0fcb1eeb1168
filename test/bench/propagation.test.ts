import fc from 'fast-check';
import { expect, test } from 'vitest';

import { Propagation } from '../../src/bench/propagation.ts';

const events = 40;
const step = 4;

test('changes that come merged are heard as if they had come one by one', () => {
  const push = fc.record({ last: fc.nat(events - 1), count: fc.integer({ min: 1, max: 6 }), atMs: fc.nat(200) });
  fc.assert(
    fc.property(fc.array(push, { maxLength: 60 }), (pushes) => {
      const merged = new Propagation(100, events, (event) => event - 100);
      const single = new Propagation(100, events, (event) => event - 100);
      for (const { last, count, atMs } of pushes.toSorted((a, b) => a.atMs - b.atMs)) {
        const known = Math.min(count, Math.floor(last / step) + 1);
        merged.recordRun(100 + last, step, known, atMs);
        for (let i = 0; i < known; i++) single.record(100 + last - i * step, atMs);
      }
      merged.finish();
      expect([...merged.deliveries]).toEqual([...single.deliveries]);
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
  const propagation = new Propagation(0, events, () => 0);
  propagation.recordRun(8, step, 3, 1);
  propagation.await(4);
  propagation.record(1, 2);
  await propagation.settled;
  expect(propagation.received).toBe(4);
});
