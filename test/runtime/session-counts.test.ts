import fc from 'fast-check';
import { expect, test } from 'vitest';

import { LocalSessionCounts, SharedSessionCounts, sessionCountsBytes } from '../../src/runtime/session-counts.ts';

const address = fc.integer({ min: 0, max: 2000 }).map((n) => `10.0.${n >> 8}.${n & 255}`);

test('[LI1] counts that threads share are exact in all, and for an address never too low', () => {
  fc.assert(
    fc.property(fc.array(address, { maxLength: 500 }), fc.infiniteStream(fc.boolean()), (addresses, leaves) => {
      const exact = new LocalSessionCounts();
      const memory = new SharedArrayBuffer(sessionCountsBytes);
      const threads = [new SharedSessionCounts(memory), new SharedSessionCounts(memory)];
      for (const [i, each] of addresses.entries()) {
        exact.enter(each);
        threads[i % 2]!.enter(each);
        if (leaves.next().value !== true) continue;
        exact.leave(each);
        threads[(i + 1) % 2]!.leave(each);
      }
      for (const counts of threads) {
        expect(counts.total).toBe(exact.total);
        for (const each of addresses) expect(counts.ofAddress(each)).toBeGreaterThanOrEqual(exact.ofAddress(each));
      }
    }),
    { numRuns: 50 },
  );
});

test('[LI1] few addresses are counted too high', () => {
  const counts = new SharedSessionCounts(new SharedArrayBuffer(sessionCountsBytes));
  const addresses = Array.from({ length: 10_000 }, (_, i) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`);
  for (const each of addresses) counts.enter(each);
  // At 10,000 addresses over 65,536 places, one in seven shares a place, and one in fifty both.
  expect(addresses.filter((each) => counts.ofAddress(each) > 1).length).toBeLessThan(300);
  for (const each of addresses) counts.leave(each);
  expect(addresses.map((each) => counts.ofAddress(each)).every((count) => count === 0)).toBe(true);
});
