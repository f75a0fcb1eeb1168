import fc from 'fast-check';
import { expect, test } from 'vitest';

import { crc16 } from '../../src/slots/crc16.ts';

/** The definition, bit by bit. */
function crc16BitByBit(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc & 0x8000) === 0 ? (crc << 1) & 0xffff : ((crc << 1) ^ 0x1021) & 0xffff;
  }
  return crc;
}

test('[SL1] the check value of "123456789" is 0x31C3', () => {
  expect(crc16('123456789')).toBe(0x31c3);
});

test('[SL1] the hash is that of the UTF-8 bytes, whatever the text', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      expect(crc16(text)).toBe(crc16BitByBit(Buffer.from(text)));
    }),
  );
});

test('[SL1] a lone surrogate hashes as the replacement character', () => {
  for (const text of ['\ud800', 'a\udc00b', '\ud83d', '\ud83d\ud83d\ude00']) {
    expect(crc16(text)).toBe(crc16BitByBit(Buffer.from(text)));
  }
});

test('[SL1] a range hashes as its substring', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.nat(), fc.nat(), (text, a, b) => {
      const [start, end] = [
        Math.min(a % (text.length + 1), b % (text.length + 1)),
        Math.max(a % (text.length + 1), b % (text.length + 1)),
      ];
      expect(crc16(text, start, end)).toBe(crc16(text.slice(start, end)));
    }),
  );
});
