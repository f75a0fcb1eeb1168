import type { HashKey } from './fragment-bytes.ts';

/**
 * HalfSipHash-1-3 of a list's number, a tag and an id: its bytes are the two numbers, then each UTF-16 unit, all little-endian. Clients choose ids, and
 * could make any number of them with one value of a hash without a secret (or of FNV and Murmur with one), so that each look-up would walk all of them.
 * Source: https://github.com/veorq/SipHash, halfsiphash.c; the variant with one round a word and three at the end, as Linux uses it for hash tables.
 */
export function hashName(key: HashKey, list: number, tag: number, id: string): number {
  const [k0, k1] = key;
  let v0 = k0;
  let v1 = k1;
  let v2 = k0 ^ 0x6c79_6765;
  let v3 = k1 ^ 0x7465_6462;
  const { length } = id;
  const pairs = length >>> 1;
  // -2: the list, -1: the tag; then pairs of units, and last the length in bytes with what is left over.
  for (let i = -2; i <= pairs; i++) {
    let word: number;
    if (i < 0) word = i === -2 ? list : tag;
    else if (i < pairs) word = id.charCodeAt(2 * i) | (id.charCodeAt(2 * i + 1) << 16);
    else word = ((8 + 2 * length) << 24) | ((length & 1) === 0 ? 0 : id.charCodeAt(length - 1));
    v3 ^= word;
    // One round, written out here and below: calls would cost more than it does.
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 ^= word;
  }
  v2 ^= 0xff;
  for (let i = 0; i < 3; i++) {
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
  }
  return (v1 ^ v3) >>> 0;
}
