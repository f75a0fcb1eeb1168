import { expect, test } from 'vitest';

import { runHistories } from './support/simulated-history.ts';

/** How many of the histories are run, 0 to 1: all of them take some minutes. */
const share = Number(process.env['TEST_HISTORIES'] ?? 0.25);

function seedsOf(all: number): number[] {
  return Array.from({ length: Math.ceil(all * share) }, (_, i) => i + 1);
}

test('[PU1] [PU4] [SE1] [SE2] [SE7] after any history every subscriber holds exactly the live registrations, and every delta chained', async () => {
  const total = await runHistories(seedsOf(400), 250, { percent: 0, kills: false, moves: false });
  // A checker that compared nothing would have found nothing.
  expect(total.views).toBeGreaterThan(share * 400);
  expect(total.pushes).toBeGreaterThan(share * 2000);
  expect(total.resyncs).toBeGreaterThan(share * 20);
  expect(total.checks).toBeGreaterThan(share * 20_000);
});

test('[SE7] [SE8] the same holds while clients take over the sessions that they had', async () => {
  const total = await runHistories(seedsOf(150), 200, { percent: 0, kills: false, moves: false, resumes: true });
  expect(total.resumed).toBeGreaterThan(share * 300);
});

test('[SE2] [SE8] [PU5] the same holds while mass losses are held back, and nothing of those is removed', async () => {
  const total = await runHistories(seedsOf(150), 200, {
    percent: 0,
    kills: false,
    moves: false,
    guards: true,
    resumes: true,
  });
  expect(total.heldBack).toBeGreaterThan(share * 40);
  expect(total.resumed).toBeGreaterThan(share * 200);
});

test('[SE8] [SL3] the same holds while clients take sessions over and slots move', async () => {
  const total = await runHistories(seedsOf(100), 200, { percent: 8, kills: false, moves: true, resumes: true });
  expect(total.resumed).toBeGreaterThan(share * 300);
  expect(total.moves).toBeGreaterThan(share * 500);
});

test('[SE8] [RE1] the same holds while clients take sessions over and partitions die', async () => {
  const total = await runHistories(seedsOf(60), 200, { percent: 5, kills: true, moves: false, resumes: true });
  expect(total.resumed).toBeGreaterThan(share * 100);
  expect(total.deaths).toBeGreaterThan(share * 50);
});

test('[SE8] [SE2] [RE1] [SL3] the same holds with all of that together', async () => {
  const total = await runHistories(seedsOf(100), 200, {
    percent: 6,
    kills: true,
    moves: true,
    guards: true,
    resumes: true,
  });
  expect(total.heldBack).toBeGreaterThan(share * 10);
  expect(total.resumed).toBeGreaterThan(share * 100);
  expect(total.deaths).toBeGreaterThan(share * 50);
  expect(total.moves).toBeGreaterThan(share * 300);
});

test('[LI1] [SE7] the same holds where there is little room, and who is refused has what it had', async () => {
  const total = await runHistories(seedsOf(150), 200, {
    percent: 0,
    kills: false,
    moves: false,
    resumes: true,
    bounds: true,
  });
  expect(total.refused).toBeGreaterThan(share * 500);
});

test('[RE1] [RE3] [PU5] [SE7] the same holds while partitions die', async () => {
  const total = await runHistories(seedsOf(300), 200, { percent: 3, kills: true, moves: false });
  expect(total.deaths).toBeGreaterThan(share * 300);
});

test('[SL3] [SE7] the same holds while slots move and partitions come and go', async () => {
  const total = await runHistories(seedsOf(200), 200, { percent: 4, kills: false, moves: true });
  expect(total.moves).toBeGreaterThan(share * 1500);
});

test('[SL3] [RE1] the same holds while partitions die in the middle of moves', async () => {
  const total = await runHistories(seedsOf(200), 200, { percent: 6, kills: true, moves: true });
  expect(total.deaths).toBeGreaterThan(share * 200);
  expect(total.moves).toBeGreaterThan(share * 1000);
});

test('[RE4] [SE4] the same holds of leases while the host that holds them dies again and again', async () => {
  const total = await runHistories(seedsOf(120), 200, { percent: 3, kills: false, moves: false, edges: true });
  expect(total.edgeDeaths).toBeGreaterThan(share * 150);
  expect(total.renewed).toBeGreaterThan(share * 100);
});

test('[RE4] [RE1] [SL3] [SE8] the same holds while partitions die, slots move and clients take sessions over', async () => {
  const total = await runHistories(seedsOf(80), 200, {
    percent: 6,
    kills: true,
    moves: true,
    resumes: true,
    edges: true,
  });
  expect(total.edgeDeaths).toBeGreaterThan(share * 50);
  expect(total.deaths).toBeGreaterThan(share * 25);
  expect(total.moves).toBeGreaterThan(share * 100);
});

test('[PI1] [PI2] [PI3] the same holds of what is persistent, while its store fails, partitions die and slots move', async () => {
  const total = await runHistories(seedsOf(160), 200, {
    percent: 6,
    kills: true,
    moves: true,
    resumes: true,
    edges: true,
    persistent: true,
  });
  expect(total.stored).toBeGreaterThan(share * 2000);
  expect(total.unstored).toBeGreaterThan(share * 300);
  expect(total.deaths).toBeGreaterThan(share * 50);
  expect(total.moves).toBeGreaterThan(share * 200);
});

test('[SW2] [RE2] [SL3] the same holds while operators switch services off and on, partitions die and slots move', async () => {
  const total = await runHistories(seedsOf(160), 200, {
    percent: 6,
    kills: true,
    moves: true,
    resumes: true,
    edges: true,
    switches: true,
  });
  expect(total.switched).toBeGreaterThan(share * 1000);
  expect(total.deaths).toBeGreaterThan(share * 50);
  expect(total.moves).toBeGreaterThan(share * 200);
});

test('[SW6] [SW7] [RE2] in the end subscribers have what they are to have, whenever operators switch clients off and freeze pushes', async () => {
  const total = await runHistories(seedsOf(160), 200, {
    percent: 6,
    kills: true,
    moves: true,
    resumes: true,
    edges: true,
    orders: true,
  });
  expect(total.switched).toBeGreaterThan(share * 1000);
  expect(total.deaths).toBeGreaterThan(share * 50);
  expect(total.moves).toBeGreaterThan(share * 200);
});

test('[PI1] [PI3] [LI1] the same holds of what is persistent where there is little room', async () => {
  const total = await runHistories(seedsOf(150), 200, {
    percent: 3,
    kills: true,
    moves: false,
    resumes: true,
    bounds: true,
    persistent: true,
  });
  expect(total.stored).toBeGreaterThan(share * 500);
  expect(total.unstored).toBeGreaterThan(share * 300);
});
