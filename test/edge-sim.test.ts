import { expect, test } from 'vitest';
import { runHistories } from './support/simulated-history.ts';
const from = Number(process.env.FROM ?? 1), count = Number(process.env.COUNT ?? 40), acts = Number(process.env.ACTS ?? 200);
const seeds = Array.from({ length: count }, (_, i) => from + i);
test('edges', async () => {
  const total = await runHistories(seeds, acts, { kills: false, moves: false, ...JSON.parse(process.env.FAULTS ?? '{"percent":3}'), edges: true });
  console.log(JSON.stringify(total));
  expect(total.edgeDeaths).toBeGreaterThan(0);
}, 600_000);
