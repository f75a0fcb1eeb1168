import fc from 'fast-check';
import { expect, test } from 'vitest';

import { compareBytes } from '../../src/store/byte-order.ts';

test('texts are in the order of their bytes in UTF-8', () => {
  const unit = fc.constantFrom('a', 'b', '\ud7ff', '\ue000', '\uffee', '\u{10000}', '\u{1f600}', 'é');
  const text = fc.string({ unit, maxLength: 5 });
  fc.assert(
    fc.property(text, text, (a, b) => {
      expect(Math.sign(compareBytes(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
    }),
  );
});
