import { expect, test } from 'vitest';

import { parseMetrics, quantileOf, rateOf, readLabels, sumOf } from '../../src/console/metrics.ts';
import type { MetricSample } from '../../src/console/metrics.ts';
import { searchNames } from '../../src/console/service-names.ts';

function sampleAt(at: number, text: string): MetricSample {
  return { at, values: parseMetrics(text) };
}

const before = sampleAt(
  100,
  `# HELP pushes_total Pushes.
# TYPE pushes_total counter
pushes_total{kind="delta"} 10
pushes_total{kind="snap\\"shot\\""} 5
took_seconds_bucket{le="0.001"} 4
took_seconds_bucket{le="0.002"} 4
took_seconds_bucket{le="+Inf"} 4
`,
);
const after = sampleAt(
  102,
  `pushes_total{kind="delta"} 30
pushes_total{kind="snap\\"shot\\""} 6
pushes_totals 1000
took_seconds_bucket{le="0.001"} 4
took_seconds_bucket{le="0.002"} 12
took_seconds_bucket{le="+Inf"} 14
`,
);

test('a family is summed over its series, or over those with some labels, and over no other family', () => {
  expect(sumOf(after.values, 'pushes_total')).toBe(36);
  expect(sumOf(after.values, 'pushes_total', { kind: 'delta' })).toBe(30);
  expect(sumOf(after.values, 'unknown')).toBe(0);
  expect(readLabels('pushes_total{kind="a",thread="io-1"}', 'pushes_total')).toEqual({ kind: 'a', thread: 'io-1' });
});

test('a rate is what a counter rose in a second, and none of a counter that began anew', () => {
  expect(rateOf(before, after, 'pushes_total')).toBe(10.5);
  expect(rateOf({ ...after, at: 100 }, { ...before, at: 102 }, 'pushes_total')).toBeNull();
});

test('a quantile is of what was observed between two samples, and at most the last bound', () => {
  const took = { family: 'took_seconds' };
  // Eight between 1 and 2 ms, two above.
  expect(quantileOf(0.4, before, after, took)).toBeCloseTo(0.0015, 6);
  expect(quantileOf(0.8, before, after, took)).toBeCloseTo(0.002, 6);
  expect(quantileOf(0.99, before, after, took)).toBe(0.002);
  expect(quantileOf(0.5, after, { ...after, at: 104 }, took)).toBeNull();
});

test('a name is found by all words of a query, in any order and case', () => {
  const searched = ['public/default/orders-api', 'public/default/billing', 'staging/blue/orders'];
  const names = { keys: searched, searched, instances: [1, 1, 1], hasMore: false };
  expect(searchNames(names, 'Orders')).toEqual([0, 2]);
  expect(searchNames(names, 'ord blue')).toEqual([2]);
  expect(searchNames(names, 'x')).toEqual([]);
  expect(searchNames(names, '  ')).toBeUndefined();
});
