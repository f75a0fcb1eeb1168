import { expect, test } from 'vitest';

import { runHistories } from './support/simulated-history.ts';

function countFrom(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

test('[PU1] [PU4] [SE1] [SE2] [SE7] after any history every subscriber holds exactly the live registrations, and every delta chained', async () => {
  const total = await runHistories(countFrom(1, 400), 250, { percent: 0, kills: false, moves: false });
  // A checker that compared nothing would have found nothing.
  expect(total.views).toBeGreaterThan(400);
  expect(total.pushes).toBeGreaterThan(2000);
  expect(total.resyncs).toBeGreaterThan(20);
  expect(total.checks).toBeGreaterThan(20_000);
});

test('[SE7] [SE8] the same holds while clients take over the sessions that they had', async () => {
  const total = await runHistories(countFrom(1, 150), 200, { percent: 0, kills: false, moves: false, resumes: true });
  expect(total.resumed).toBeGreaterThan(300);
});

test('[SE2] [SE8] [PU5] the same holds while mass losses are held back, and nothing of those is removed', async () => {
  const total = await runHistories(countFrom(1, 150), 200, {
    percent: 0,
    kills: false,
    moves: false,
    guards: true,
    resumes: true,
  });
  expect(total.heldBack).toBeGreaterThan(40);
  expect(total.resumed).toBeGreaterThan(200);
});

test('[SE8] [SL3] the same holds while clients take sessions over and slots move', async () => {
  const total = await runHistories(countFrom(1, 100), 200, { percent: 8, kills: false, moves: true, resumes: true });
  expect(total.resumed).toBeGreaterThan(300);
  expect(total.moves).toBeGreaterThan(500);
});

test('[SE8] [RE1] the same holds while clients take sessions over and partitions die', async () => {
  const total = await runHistories(countFrom(1, 60), 200, { percent: 5, kills: true, moves: false, resumes: true });
  expect(total.resumed).toBeGreaterThan(100);
  expect(total.deaths).toBeGreaterThan(50);
});

test('[SE8] [SE2] [RE1] [SL3] the same holds with all of that together', async () => {
  const total = await runHistories(countFrom(1, 100), 200, {
    percent: 6,
    kills: true,
    moves: true,
    guards: true,
    resumes: true,
  });
  expect(total.heldBack).toBeGreaterThan(10);
  expect(total.resumed).toBeGreaterThan(100);
  expect(total.deaths).toBeGreaterThan(50);
  expect(total.moves).toBeGreaterThan(300);
});

test('[RE1] [RE3] [PU5] [SE7] the same holds while partitions die', async () => {
  const total = await runHistories(countFrom(1, 300), 200, { percent: 3, kills: true, moves: false });
  expect(total.deaths).toBeGreaterThan(300);
});

test('[SL3] [SE7] the same holds while slots move and partitions come and go', async () => {
  const total = await runHistories(countFrom(1, 200), 200, { percent: 4, kills: false, moves: true });
  expect(total.moves).toBeGreaterThan(1500);
});

test('[SL3] [RE1] the same holds while partitions die in the middle of moves', async () => {
  const total = await runHistories(countFrom(1, 200), 200, { percent: 6, kills: true, moves: true });
  expect(total.deaths).toBeGreaterThan(200);
  expect(total.moves).toBeGreaterThan(1000);
});
