/**
 * Replays one history of the simulation (`test/simulation.test.ts`), which is the same whenever its seed, length and faults are. Prints what was done, and
 * what was wrong. Ends with status 1 if anything was.
 */
import { parseArgs } from 'node:util';

import { createHistory, findFailure, shortenHistory } from '../test/support/simulated-history.ts';
import type { Faults } from '../test/support/simulated-history.ts';

const usage = `Usage: npm run replay -- SEED [--acts N] [--percent N] [--kills] [--moves] [--guards] [--resumes] [--shorten]

Replays a history of the simulation. Seed, acts and faults are those of the test that failed.

  --acts N      things that are done (default 200)
  --percent N   of a hundred steps, how many disturb the registry (default 5)
  --kills       partitions die
  --moves       slots move
  --guards      mass losses are held back
  --resumes     clients take over the sessions that they had
  --shorten     of a history that fails, find a shorter one first
`;

interface Order {
  readonly seed: number;
  readonly acts: number;
  readonly isShortened: boolean;
  readonly faults: Faults;
}

function readOrder(): Order {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      acts: { type: 'string', default: '200' },
      percent: { type: 'string', default: '5' },
      kills: { type: 'boolean', default: false },
      moves: { type: 'boolean', default: false },
      guards: { type: 'boolean', default: false },
      resumes: { type: 'boolean', default: false },
      edges: { type: 'boolean', default: false },
      shorten: { type: 'boolean', default: false },
    },
  });
  const [seed, acts, percent] = [positionals[0], values.acts, values.percent].map(Number) as [number, number, number];
  if (positionals.length !== 1 || ![seed, acts, percent].every((value) => Number.isInteger(value) && value >= 0)) {
    throw new Error('one seed is needed; it, --acts and --percent are whole numbers');
  }
  const { kills, moves, guards, resumes, edges } = values;
  return { seed, acts, isShortened: values.shorten, faults: { percent, kills, moves, guards, resumes, edges } };
}

async function replay({ seed, acts, isShortened, faults }: Order): Promise<boolean> {
  const whole = createHistory(seed, acts);
  const isWrong = isShortened && (await findFailure(whole, faults)) !== undefined;
  const history = isWrong ? await shortenHistory(whole, faults) : whole;
  const trace: string[] = [];
  const failure = await findFailure(history, faults, trace);
  for (const line of trace) process.stdout.write(`${line}\n`);
  process.stdout.write(`${history.steps.length} steps: ${failure ?? 'nothing wrong'}\n`);
  return failure === undefined;
}

let order: Order | undefined;
try {
  order = readOrder();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${usage}\n`);
  process.exitCode = 2;
}
if (order !== undefined && !(await replay(order))) process.exitCode = 1;
