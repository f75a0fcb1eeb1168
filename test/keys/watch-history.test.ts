import { expect, test } from 'vitest';

import { plantedWatchBugs } from '../support/planted-watch-bugs.ts';
import { runWatchHistories } from '../support/watch-history.ts';

/** How many of the histories are run, 0 to 1. */
const share = Number(process.env['TEST_HISTORIES'] ?? 0.25);

function seedsOf(count: number): number[] {
  return Array.from({ length: Math.ceil(count) }, (_, i) => i + 1);
}

test('[KV9] [KV10] [KV11] watches are told exactly what is committed while partitions and the store die and clients do not read', async () => {
  const total = await runWatchHistories(seedsOf(200 * share));
  expect(total.told).toBeGreaterThan(share * 20_000);
  for (const count of Object.values(total)) expect(count).toBeGreaterThan(share * 400);
});

test.each(plantedWatchBugs)('[KV9] [KV10] [KV11] histories find a planted bug: $name', async ({ plant }) => {
  const takeOut = plant();
  try {
    await expect(runWatchHistories(seedsOf(100))).rejects.toThrow();
  } finally {
    takeOut();
  }
});
