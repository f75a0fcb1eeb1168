import fc from 'fast-check';
import { expect, test } from 'vitest';

import { endOfPrefix } from '../../src/durable/key-prefix.ts';
import { compareBytes } from '../../src/store/byte-order.ts';

test('what begins with a prefix lies between it and its end, and nothing else does', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary', minLength: 1, maxLength: 3 }),
      fc.string({ unit: 'binary' }),
      fc.string({ unit: 'binary' }),
      (prefix, rest, other) => {
        const end = endOfPrefix(prefix);
        const isBetween = (key: string): boolean =>
          compareBytes(prefix, key) <= 0 && (end === '' || compareBytes(key, end) < 0);
        expect(isBetween(prefix + rest)).toBe(true);
        expect(isBetween(other)).toBe(other.startsWith(prefix));
      },
    ),
    { numRuns: 200 },
  );
});

test.each([
  ['', ''],
  ['a', 'b'],
  ['a/', 'a0'],
  ['\u{d7ff}', '\u{e000}'],
  ['\u{ffff}', '\u{10000}'],
  ['a\u{10ffff}', 'b'],
  ['\u{10ffff}', ''],
])('the end of %j is %j', (prefix, end) => {
  expect(endOfPrefix(prefix)).toBe(end);
});
