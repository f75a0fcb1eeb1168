/**
 * A real server under faults, checked against a model. The seed decides who does what and which faults come; threads, sockets and timers
 * decide the rest, so a run with the same seed is similar, not the same. Ends with status 0 if nothing was wrong and enough was done.
 */
import { parseArgs } from 'node:util';

import { Campaign } from './campaign.ts';
import type { CampaignResult } from './campaign.ts';
import { findLack } from './tally.ts';

const exitUsage = 2;
const usage = `Usage: npm run chaos -- [--seconds N] [--seed N] [--io-threads N] [--json]

  --seconds N      how long (default 60)
  --seed N         who does what, and which faults come (default 1)
  --io-threads N   threads that hold sessions; 0, the default: they are on the main thread
  --json           the result as JSON
`;

function readOptions(): { seconds: string; seed: string; 'io-threads': string; json: boolean; help: boolean } {
  try {
    return parseArgs({
      options: {
        seconds: { type: 'string', default: '60' },
        seed: { type: 'string', default: '1' },
        'io-threads': { type: 'string', default: '0' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    }).values;
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
    return process.exit(exitUsage);
  }
}

const values = readOptions();
const seconds = Number(values.seconds);
const seed = Number(values.seed);
const ioThreads = Number(values['io-threads']);

function print(line: string): void {
  if (!values.json) process.stdout.write(`${line}\n`);
}

function wordCounts(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');
}

function wordReport({ tally, checks, stats }: CampaignResult): string[] {
  const { counters = {}, move } = stats ?? {};
  const of = (name: string): number => counters[name] ?? 0;
  return [
    `operations: ${wordCounts(tally.operations)}`,
    `faults: ${wordCounts(tally.faults)}`,
    `partitions that died: ${of('partition_died')}; sessions that broke: ${of('session_broken')}; steps of moves taken back at the end: ${move?.stepsRolledBack ?? 0}`,
    `checks: ${tally.viewsJudged} views judged as they changed, ${checks} instances in them; ${tally.ghostSweeps} searches for what should have gone`,
    `in quiet, ${tally.barriers} times: ${tally.viewsCompared} views and ${tally.servicesCompared} services compared with what sessions and partitions hold; the longest until all agreed ${tally.convergenceMaxMs} ms`,
    `pushes: ${tally.pushes}, of which ${tally.pushesEmpty} changed nothing; dropped for slow readers ${of('push_dropped')}, made up for ${of('push_resynced')}`,
    `the longest that a slot did not answer: ${tally.slotShutMaxMs} ms`,
  ];
}

async function runCampaign(): Promise<void> {
  print(`seed ${seed}, ${seconds} s, ${ioThreads} I/O threads`);
  const result = await new Campaign({ seconds, seed, ioThreads, print }).run();
  const { tally, checks, failure, story, stats } = result;
  const lack = failure === undefined ? findLack(tally, checks, seconds) : undefined;
  if (values.json) {
    const { counters } = stats ?? {};
    process.stdout.write(
      `${JSON.stringify({ seed, seconds, ioThreads, failure, lack, story, checks, tally, counters })}\n`,
    );
  }
  for (const line of wordReport(result)) print(line);
  if (failure !== undefined) {
    print(`FAILED, seed ${seed}: ${failure}`);
    print('what led to it, as far as it is known:');
    for (const line of story) print(`  ${line}`);
  }
  if (lack !== undefined) print(`NOT ENOUGH: ${lack}`);
  if (failure === undefined && lack === undefined) print('nothing was wrong');
  process.exitCode = failure === undefined && lack === undefined ? 0 : 1;
}

if (values.help) {
  process.stdout.write(usage);
} else if (Number.isFinite(seconds) && seconds > 0 && Number.isInteger(seed) && Number.isInteger(ioThreads)) {
  await runCampaign();
} else {
  process.stderr.write(`--seconds must be above 0, and --seed and --io-threads whole numbers\n\n${usage}`);
  process.exitCode = exitUsage;
}
