import fc from 'fast-check';
import { expect, test } from 'vitest';

import { backoffMs } from '../../src/client/backoff.ts';

const bounds = { backoffMinMs: 100, backoffMaxMs: 10_000 };

test('a wait lies in the upper half of what doubles with each round', () => {
  expect([0, 1, 2, 3].map((round) => backoffMs(bounds, round, 0))).toEqual([50, 100, 200, 400]);
  expect(backoffMs(bounds, 0, 0.999_999)).toBe(100);
});

test('no wait is longer than backoffMaxMs, however many rounds', () => {
  fc.assert(
    fc.property(fc.nat(), fc.double({ min: 0, max: 0.999_999_999, noNaN: true }), (round, random) => {
      const wait = backoffMs(bounds, round, random);
      expect(wait).toBeGreaterThanOrEqual(50);
      expect(wait).toBeLessThanOrEqual(bounds.backoffMaxMs);
    }),
  );
});
