/**
 * A real registry under faults, checked against a model. The seed decides who does what and which faults come; threads, sockets and timers
 * decide the rest, so a run with the same seed is similar, not the same. Ends with status 0 if nothing was wrong and enough was done.
 */
import { parseArgs } from 'node:util';

import { Campaign } from './campaign.ts';
import { runFleet } from './fleet.ts';
import { formatReport } from './report.ts';
import type { SettingValues } from './settings.ts';

const exitUsage = 2;
const fleetClients = 30;
const usage = `Usage: npm run chaos -- [--seconds N] [--seed N] [--io-threads N] [--transport NAME] [--full-disk] [--json]
       npm run chaos -- --down N[,N…] [--io-threads N] [--json]

  --seconds N           how long (default 60); longer where the machine is too busy to do enough in that time
  --seed N              who does what, and which faults come (default 1)
  --io-threads N        threads that hold sessions; 0, the default: they are on the main thread
  --transport NAME      of the registry: auto (default), uws, or node
  --full-disk           the disk of the registry has no room now and then, where there is prlimit; leases that are lost then are reported, and not all of them are explained yet
  --break SETTING=VALUE starts the registry with a setting by which it breaks what it promises, to see that it is found
  --json                the result as JSON
  --down N[,N…]         instead: ${fleetClients} clients of the SDK, all defaults, and a registry that is down for so many seconds, one time after the other
`;

interface Options {
  readonly seconds: number;
  readonly seed: number;
  readonly ioThreads: number;
  readonly transport: string;
  readonly fullDisk: boolean;
  readonly broken: SettingValues;
  readonly isJson: boolean;
  /** Seconds; undefined: the usual run. */
  readonly down: readonly number[] | undefined;
}

/** Undefined: help was asked for. */
function readOptions(): Options | undefined {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '60' },
      seed: { type: 'string', default: '1' },
      'io-threads': { type: 'string', default: '0' },
      transport: { type: 'string', default: 'auto' },
      'full-disk': { type: 'boolean', default: false },
      break: { type: 'string', multiple: true, default: [] },
      down: { type: 'string' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return undefined;
  const seconds = Number(values.seconds);
  const seed = Number(values.seed);
  const ioThreads = Number(values['io-threads']);
  if (!Number.isFinite(seconds) || seconds <= 0 || !Number.isInteger(seed) || !Number.isInteger(ioThreads)) {
    throw new Error('--seconds must be above 0, and --seed and --io-threads whole numbers');
  }
  const down = values.down?.split(',').map(Number);
  if (down?.some((seconds) => !(seconds >= 0)) === true) throw new Error('--down wants seconds, with commas between');
  const broken = Object.fromEntries(values.break.map(readSetting));
  const { transport, 'full-disk': fullDisk } = values;
  return { seconds, seed, ioThreads, transport, fullDisk, broken, isJson: values.json, down };
}

function readSetting(text: string): [string, string] {
  const [, name, value] = /^(\w+)=(.*)$/.exec(text) ?? [];
  if (name === undefined || value === undefined) throw new Error(`--break wants SETTING=VALUE, not ${text}`);
  return [name, value];
}

async function runCampaign({ isJson, ...options }: Options): Promise<void> {
  const print = (line: string): void => {
    if (!isJson) process.stdout.write(`${line}\n`);
  };
  const { seed, seconds, ioThreads, transport } = options;
  print(`seed ${seed}, ${seconds} s, ${ioThreads} I/O threads, transport ${transport}`);
  const result = await new Campaign({ ...options, print }).run();
  const { tally, checks, failure, lack, story } = result;
  if (isJson) {
    process.stdout.write(`${JSON.stringify({ seed, seconds, ioThreads, failure, lack, story, checks, tally })}\n`);
  }
  for (const line of formatReport(result)) print(line);
  if (failure !== undefined) {
    print(`FAILED, seed ${seed}: ${failure}`);
    print('what led to it, as far as it is known:');
    for (const line of story) print(`  ${line}`);
  }
  if (lack !== undefined) print(`NOT ENOUGH: ${lack}`);
  if (failure === undefined && lack === undefined) print('nothing was wrong');
  process.exitCode = failure === undefined && lack === undefined ? 0 : 1;
}

async function runDown(down: readonly number[], { ioThreads, broken, isJson }: Options): Promise<void> {
  const lines: string[] = [];
  const print = (line: string): void => {
    lines.push(line);
    if (!isJson) process.stdout.write(`${line}\n`);
  };
  const { failures } = await runFleet({ clients: fleetClients, downSeconds: down, ioThreads, broken, print });
  if (isJson) process.stdout.write(`${JSON.stringify({ ioThreads, failures, lines })}\n`);
  for (const failure of failures) print(`FAILED: ${failure}`);
  if (failures.length === 0) print('nothing was wrong');
  process.exitCode = failures.length === 0 ? 0 : 1;
}

function readOptionsOrSay(): Options | undefined {
  try {
    const options = readOptions();
    if (options === undefined) process.stdout.write(usage);
    return options;
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
    process.exitCode = exitUsage;
    return undefined;
  }
}

const options = readOptionsOrSay();
if (options?.down !== undefined) await runDown(options.down, options);
else if (options !== undefined) await runCampaign(options);
