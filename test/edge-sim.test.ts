import { expect, test } from 'vitest';
import { createHistory, findFailure, shortenHistory } from './support/simulated-history.ts';
const from = Number(process.env.FROM ?? 1), count = Number(process.env.COUNT ?? 40), acts = Number(process.env.ACTS ?? 200);
test('edges', async () => {
  const faults = { kills: false, moves: false, ...JSON.parse(process.env.FAULTS ?? '{"percent":3}'), edges: true };
  let bad = 0;
  for (let seed = from; seed < from + count; seed++) {
    const history = createHistory(seed, acts);
    const failure = await findFailure(history, faults);
    if (failure === undefined) continue;
    bad += 1;
    console.log(`seed ${seed}: ${failure.slice(0, 300)}`);
    if (bad === 1) {
      const short = await shortenHistory(history, faults, 150);
      const trace: string[] = [];
      console.log(await findFailure(short, faults, trace), '\n' + trace.join('\n'));
    }
    if (bad > 3) break;
  }
  console.log('bad', bad);
  expect(bad).toBe(0);
}, 600_000);
