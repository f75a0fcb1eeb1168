import { expect, test } from 'vitest';

import { runKeyHistories } from '../support/key-history.ts';
import { plantedKeyBugs } from '../support/planted-key-bugs.ts';

/** How many of the histories are run, 0 to 1. */
const share = Number(process.env['TEST_HISTORIES'] ?? 0.25);

function seedsOf(count: number): number[] {
  return Array.from({ length: Math.ceil(count) }, (_, i) => i + 1);
}

test('[KV1] [KV5] [KV6] [KV7] what is said of a key is linearizable while partitions and the store die and slots move', () => {
  const total = runKeyHistories(seedsOf(1500 * share));
  expect(total.events).toBeGreaterThan(share * 30_000);
  for (const count of Object.values(total)) expect(count).toBeGreaterThan(share * 500);
});

test.each(plantedKeyBugs)('[KV1] [KV5] [KV6] [KV7] histories find a planted bug: $name', ({ plant }) => {
  const takeOut = plant();
  try {
    expect(() => runKeyHistories(seedsOf(1500))).toThrow();
  } finally {
    takeOut();
  }
});
