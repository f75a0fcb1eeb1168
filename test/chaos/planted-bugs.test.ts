import { afterEach, expect, test } from 'vitest';

import { plantedBugs } from '../support/planted-bugs.ts';
import { createHistory, findFailure, shortenHistory } from '../support/simulated-history.ts';

const seedsMax = 200;
const actsUsual = 200;

let takeOut: () => void = () => undefined;
afterEach(() => {
  takeOut();
  takeOut = () => undefined;
});

test.each(plantedBugs)(
  'the checker finds it when $name',
  { timeout: 200_000 },
  async ({ plant, faults, seed: first = 1, acts = actsUsual }) => {
    takeOut = plant();
    let seed = first;
    let found: string | undefined;
    for (; found === undefined && seed < first + seedsMax; seed++)
      found = await findFailure(createHistory(seed, acts), faults);
    takeOut();
    takeOut = () => undefined;
    expect(found, `${seedsMax} histories, and nothing was found`).toBeDefined();
    if (process.env['PRINT_PLANTED'] !== undefined) console.log(`${seed - 1} | ${found?.slice(0, 150)}`);
    // Without it the same histories pass.
    for (let again = first; again < seed; again++)
      expect(await findFailure(createHistory(again, acts), faults)).toBeUndefined();
  },
);

test('a history that fails is shortened to a few steps that still fail', async () => {
  const { plant, faults } = plantedBugs.find(({ name }) => name === 'a broken connection gets no grace')!;
  takeOut = plant();
  const history = createHistory(1, actsUsual);
  const short = await shortenHistory(history, faults);
  expect(await findFailure(short, faults)).toBeDefined();
  expect(short.steps.length).toBeLessThan(history.steps.length / 5);
});
