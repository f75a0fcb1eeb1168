import { expect, test } from 'vitest';

import { slotCount, slotOf } from '../../src/slots/slot.ts';

test('[SL1] "123456789" is slot 12739', () => {
  expect(slotOf('123456789')).toBe(12_739);
});

test.each([
  ['foo', 12_182],
  ['bar', 5061],
  ['hello', 866],
])('[SL1] %s is in the slot in which Redis Cluster has it', (key, slot) => {
  expect(slotOf(key)).toBe(slot);
});

test.each([
  ['{user1000}.following', 'user1000', 'a tag'],
  ['public/DEFAULT/{user1000}.followers', 'user1000', 'a tag anywhere in the key'],
  ['foo{bar}{zap}', 'bar', 'only the first tag'],
  ['foo{{bar}}zap', '{bar', 'up to the first closing brace'],
])('[SL1] %s is hashed as %s: %s counts', (key, hashed) => {
  expect(slotOf(key)).toBe(slotOf(hashed));
});

test.each(['foo{}{bar}', 'foo{bar', 'foo}bar{', '{}'])('[SL1] %s has no tag and is hashed whole', (key) => {
  // Brackets that make no tag change the hash like any other character.
  expect(slotOf(key)).not.toBe(slotOf(key.replaceAll(/[{}]/g, '')));
  expect(slotOf(key)).toBeLessThan(slotCount);
});
