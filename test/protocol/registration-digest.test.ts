import fc from 'fast-check';
import { expect, test } from 'vitest';

import {
  hashRegistration,
  MurmurLanes,
  RegistrationDigest,
  RegistrationHasher,
} from '../../src/protocol/registration-digest.ts';

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
  const bytes = utf8.encode(text);
  const lanes = new MurmurLanes(seed, seed);
  lanes.finish(bytes, lanes.take(bytes, 0, bytes.length), bytes.length, bytes.length);
  expect([lanes.low, lanes.high]).toEqual([expected, expected]);
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

test('[SE8] a digest of bytes, wherever they lie, is that of the text', () => {
  const registrations = fc.array(fc.tuple(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'binary' }), fc.nat(5)));
  fc.assert(
    fc.property(registrations, (list) => {
      const digest = new RegistrationDigest();
      const hasher = new RegistrationHasher();
      const lanes = list.map(([key, fragment, place]) => {
        const bytes = new Uint8Array([...new Uint8Array(place).fill(7), ...utf8.encode(fragment), 7, 7]);
        hasher.setKey(key);
        return hasher.hash(bytes, place, bytes.length - 2);
      });
      for (const one of lanes) digest.addLanes(one);
      expect(digest.toString()).toBe(digestOf(list.map(([key, fragment]) => [key, fragment])));
      for (const one of lanes.slice(1)) digest.subtractLanes(one);
      expect(digest.toString()).toBe(digestOf(list.slice(0, 1).map(([key, fragment]) => [key, fragment])));
    }),
  );
});
