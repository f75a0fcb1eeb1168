import fc from 'fast-check';
import { expect, test } from 'vitest';

import { estimate, median, percentile } from '../../bench/statistics.ts';

test('percentiles are by the nearest rank', () => {
  const hundred = Array.from({ length: 100 }, (_, i) => i + 1);
  expect(percentile(hundred, 0.5)).toBe(50);
  expect(percentile(hundred, 0.99)).toBe(99);
  expect(percentile(hundred, 1)).toBe(100);
  expect(percentile([7], 0.99)).toBe(7);
  expect(percentile([], 0.5)).toBeNaN();
});

test('the median of an even number lies between the two in the middle', () => {
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(median([3, 1, 2])).toBe(2);
});

test('bounds hold the median and lie within what was measured', () => {
  const values = fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(values, (measured) => {
      const { median: middle, low, high } = estimate(measured);
      expect(low).toBeLessThanOrEqual(middle);
      expect(middle).toBeLessThanOrEqual(high);
      expect(low).toBeGreaterThanOrEqual(Math.min(...measured));
      expect(high).toBeLessThanOrEqual(Math.max(...measured));
    }),
    { numRuns: 25 },
  );
});

test('equal measurements have equal bounds, whenever they are computed', () => {
  const measured = [1.2, 1.4, 1.1, 1.9, 1.3];
  expect(estimate(measured)).toEqual(estimate(measured));
  expect(() => estimate([])).toThrow('nothing was measured');
});
