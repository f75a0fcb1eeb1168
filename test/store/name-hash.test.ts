import { expect, test } from 'vitest';

import { hashName } from '../../src/store/name-hash.ts';

/** Of the bytes 0, 1, 2, …, under the key 0, 1, …, 7: from Linux, lib/siphash_kunit.c (on 32-bit machines). */
const vectors: readonly (readonly [length: number, hash: number])[] = [
  [8, 0x577999b1],
  [10, 0xe4fa32cf],
];

test.for(vectors)('the hash of %i bytes is HalfSipHash-1-3', ([length, hash]) => {
  let id = '';
  for (let at = 8; at < length; at += 2) id += String.fromCharCode(at | ((at + 1) << 8));
  expect(hashName([0x0302_0100, 0x0706_0504], 0x0302_0100, 0x0706_0504, id)).toBe(hash);
});

test('ids that FNV-1a takes for one, as clients can make them, are told apart', () => {
  const prime = 0x0100_0193;
  let hash = Math.imul(0x811c_9dc5, prime) ^ 0x9e37_79b1;
  const choices: [string, string][] = [];
  while (choices.length < 3) {
    const seen = new Map<number, string>();
    for (let i = 0; ; i++) {
      const part = i.toString(36).padStart(8, '0');
      let next = hash;
      for (const character of part) next = Math.imul(next ^ character.charCodeAt(0), prime);
      const other = seen.get(next);
      if (other !== undefined) {
        choices.push([other, part]);
        hash = next;
        break;
      }
      seen.set(next, part);
    }
  }
  const ids = Array.from({ length: 8 }, (_, n) => choices.map((pair, i) => pair[(n >> i) & 1]).join(''));
  for (const key of [
    [0, 0],
    [1, 2],
    [-5, 77],
  ] as const) {
    expect(new Set(ids.map((id) => hashName(key, 0, 0, id))).size).toBe(8);
  }
});
