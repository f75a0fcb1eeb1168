import { expect, test } from 'vitest';

import { plantedJournalBugs } from '../support/planted-journal-bugs.ts';
import { runWarmRestarts } from '../support/warm-restart-history.ts';
import type { WarmRestartFindings } from '../support/warm-restart-history.ts';

/** How many of the histories are run, 0 to 1. */
const share = Number(process.env['TEST_HISTORIES'] ?? 0.25);

function countFrom(first: number, count: number): number[] {
  return Array.from({ length: Math.ceil(count) }, (_, i) => first + i);
}

/** `histories`: that were run; a checker that compared nothing would have found nothing. */
function expectMuch(histories: number, findings: WarmRestartFindings): void {
  const { crashes, stops, lists, kept, resumed, digests, continued } = findings;
  expect(crashes).toBeGreaterThan(2 * histories);
  expect(stops).toBeGreaterThan(histories);
  expect(lists).toBeGreaterThan(20 * histories);
  expect(kept).toBeGreaterThan(10 * histories);
  expect(resumed).toBeGreaterThan(4 * histories);
  expect(digests).toBeGreaterThan(2 * histories);
  expect(continued).toBeGreaterThan(2 * histories);
}

test.each([
  { kills: false, moves: false, histories: 300 },
  { kills: true, moves: false, histories: 150 },
  { kills: false, moves: true, histories: 200 },
  { kills: true, moves: true, histories: 200 },
])(
  '[WS1] [WS3] [PU1] what was noted of claims, sessions and versions outlives the process, again and again (kills: $kills, moves: $moves)',
  async ({ kills, moves, histories }) => {
    const seeds = countFrom(1, histories * share);
    expectMuch(seeds.length, await runWarmRestarts(seeds, { kills, moves }));
  },
);

test.each(plantedJournalBugs)(
  '[WS1] [WS3] histories find a planted bug: $name',
  async ({ plant, faults, seed = 1 }) => {
    const takeOut = plant();
    try {
      await expect(runWarmRestarts(countFrom(seed, 100), faults)).rejects.toThrow(/^seed /);
    } finally {
      takeOut();
    }
  },
);
