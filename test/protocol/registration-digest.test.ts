import fc from 'fast-check';
import { expect, test } from 'vitest';

import { hashRegistration, murmur3, RegistrationDigest } from '../../src/protocol/registration-digest.ts';

const utf8 = new TextEncoder();

function digestOf(list: readonly (readonly [string, string])[]): string {
  const digest = new RegistrationDigest();
  for (const [key, fragment] of list) digest.add(key, fragment);
  return digest.toString();
}

test.each([
  ['', 0, 0],
  ['', 1, 0x514e_28b7],
  ['test', 0, 0xba6b_d213],
  ['Hello, world!', 0, 0xc036_3e43],
  ['The quick brown fox jumps over the lazy dog', 0x9747_b28c, 0x2fa8_26cd],
])('MurmurHash3 of %j with seed %i', (text, seed, expected) => {
  expect(murmur3(utf8.encode(text), seed)).toBe(expected);
});

test('[SE8] a digest depends on what is registered, and not on the order', () => {
  const registrations = fc.uniqueArray(fc.tuple(fc.string(), fc.string({ unit: 'grapheme' })), {
    selector: ([key, fragment]) => `${key}\n${fragment}`,
    minLength: 1,
  });
  fc.assert(
    fc.property(registrations, (list) => {
      expect(digestOf(list.toReversed())).toBe(digestOf(list));
      expect(digestOf(list.slice(1))).not.toBe(digestOf(list));
      expect(digestOf(list.slice(0, 1))).toBe(hashRegistration(...list[0]!));
    }),
  );
  expect(digestOf([])).toBe('0000000000000000');
});
