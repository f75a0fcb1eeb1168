import { expect, test } from 'vitest';

import { MetricReadings } from '../../src/cli/metric-readings.ts';
import { formatFamily } from '../../src/metrics/exposition.ts';

const odd = 'a"b\\c\nd}';
const text = [
  formatFamily({ name: 'sessions', type: 'gauge', help: 'x' }, [
    { labels: { state: 'held' }, value: 2 },
    { labels: { state: odd }, value: 3 },
  ]),
  formatFamily({ name: 'plain', type: 'gauge', help: 'x' }, [{ labels: {}, value: Number.POSITIVE_INFINITY }]),
].join('');

test('what the exposition writes is read, whatever labels hold', () => {
  const readings = new MetricReadings(text);
  expect(readings.sum('sessions')).toBe(5);
  expect(readings.sum('sessions', { state: odd })).toBe(3);
  expect([...readings.by('sessions', 'state')]).toEqual([
    ['held', 2],
    [odd, 3],
  ]);
  expect(readings.sum('plain')).toBe(Number.POSITIVE_INFINITY);
  expect(readings.sum('nothing')).toBeUndefined();
});

function histogram(...counts: [number, number, number]): MetricReadings {
  const [first, second, rest] = counts;
  const lines = [
    ['0.1', first],
    ['0.2', first + second],
    ['+Inf', first + second + rest],
  ];
  return new MetricReadings(lines.map(([le, count]) => `h_bucket{t="a",le="${le}"} ${count}\n`).join(''));
}

test('a quantile is interpolated in its bucket, of what came since the reading before', () => {
  expect(histogram(0, 10, 0).quantile('h', 0.5)).toBeCloseTo(0.15);
  expect(histogram(10, 10, 0).quantile('h', 0.5)).toBeCloseTo(0.1);
  expect(histogram(10, 10, 0).quantile('h', 0.5, histogram(10, 0, 0))).toBeCloseTo(0.15);
  expect(histogram(0, 0, 5).quantile('h', 0.5)).toBe(0.2);
  expect(histogram(5, 0, 0).quantile('h', 0.5, histogram(5, 0, 0))).toBeUndefined();
  expect(histogram(5, 0, 0).quantile('h', 0.5, undefined, { t: 'b' })).toBeUndefined();
});
