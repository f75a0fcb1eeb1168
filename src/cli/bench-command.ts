import { readFileSync, writeFileSync } from 'node:fs';

import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';

import { splitCores } from '../bench/cores.ts';
import { UsageError } from '../bench/failures.ts';
import { formatOption } from '../bench/report/formatting.ts';
import { renderReport } from '../bench/report/page.ts';
import { ProgressLine } from '../bench/report/progress.ts';
import { listScenarios } from '../bench/report/scenario-list.ts';
import { formatResult } from '../bench/report/table.ts';
import type { BenchResult } from '../bench/result.ts';
import type { Scenario } from '../bench/scenario.ts';
import { scenarios } from '../bench/scenarios/all.ts';
import { resolveSizes } from '../bench/size-resolution.ts';
import { scales, sizeNames, sizeOptions } from '../bench/sizes.ts';
import type { ResolvedSizes, Scale, Sizes } from '../bench/sizes.ts';
import { runSuite } from '../bench/suite.ts';
import { resolveConfig } from '../config/config-checking.ts';
import { readSettingText } from '../config/config-sources.ts';
import { settingNames } from '../config/config.ts';
import type { SettingName } from '../config/config.ts';
import { productVersion } from '../runtime/product-version.ts';
import { partitionsMax } from '../slots/slot-table.ts';
import { exitCodes } from './exit-codes.ts';
import { parseCount } from './registry.ts';

interface BenchOptions extends Sizes {
  readonly list: boolean;
  readonly size: Scale;
  readonly url?: string;
  readonly pid?: number;
  readonly partitions?: number;
  readonly ioThreads?: number;
  readonly setting?: Record<string, unknown>;
  readonly loadProcesses?: number;
  readonly seed: number;
  readonly pin: boolean;
  readonly quiet: boolean;
  readonly json?: string;
  readonly html?: string;
  readonly compare?: string;
}

/** What shells give for a command that SIGINT ended. */
const interruptedStatus = 130;
const ioThreadsMax = 64;
const loadProcessesMax = 64;
const seedMax = 1_000_000_000;

/** `bench`: puts a registry under load, and says how it did. */
export function addBenchCommand(program: Command): void {
  const command = program
    .command('bench')
    .description('put a registry under load, one that it starts or one that runs, and report how it did')
    .argument('[scenarios...]', 'what to run, or `all`; see --list')
    .option('--list', 'explain the scenarios', false)
    .option('--url <url>', 'server to load, like ws://127.0.0.1:7070 (default: one is started for each scenario)')
    .option(
      '--pid <pid>',
      'process of the server at --url, if it is on this machine: for its CPU and memory',
      parseBetween(1, 2 ** 31),
    )
    .option('--partitions <n>', 'partitions of the server that is started', parseBetween(1, partitionsMax))
    .option('--io-threads <n>', 'I/O threads of the server that is started', parseBetween(0, ioThreadsMax))
    .option(
      '--setting <name=value>',
      'a setting of the server that is started; may be given more than once',
      parseSetting,
    )
    .addOption(
      new Option('--size <size>', 'sizes to begin with; options below change single ones')
        .choices(scales)
        .default('normal'),
    )
    .option(
      '--load-processes <n>',
      'processes that make the load (default: by sessions and cores)',
      parseBetween(1, loadProcessesMax),
    )
    .option('--seed <n>', 'for everything that is drawn by chance', parseBetween(0, seedMax), 1)
    .option('--no-pin', 'do not bind server and load to cores of their own')
    .option('--json <file>', 'write the result as JSON')
    .option('--html <file>', 'write a report that is one page without anything from elsewhere')
    .option('--compare <file>', 'set the result of another run, its JSON, beside this one')
    .option('--quiet', 'no progress', false);
  for (const name of sizeNames) {
    const { flag, meaning, min, max } = sizeOptions[name];
    command.addOption(new Option(flag, meaning).argParser(parseBetween(min, max)).helpGroup('Sizes:'));
  }
  command.action(async (names: string[], options: BenchOptions) => {
    if (options.list) console.log(listScenarios(scenarios));
    else await bench(names, options);
  });
}

async function bench(names: readonly string[], options: BenchOptions): Promise<void> {
  const runs = chooseRuns(names, options);
  checkServerOptions(options);
  const before = options.compare === undefined ? undefined : readResult(options.compare);
  const interrupt = new AbortController();
  const onSignal = (): void => interrupt.abort();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, onSignal);
  const progress = new ProgressLine(process.stderr);
  const result = await runSuite({
    runs,
    url: options.url,
    pid: options.pid,
    partitions: options.partitions,
    serverSettings: {
      ...options.setting,
      ...(options.ioThreads === undefined ? {} : { ioThreads: options.ioThreads }),
    },
    loadProcesses: options.loadProcesses,
    seed: options.seed,
    cores: options.pin ? splitCores() : undefined,
    signal: interrupt.signal,
    version: productVersion,
    onRun: () => progress.end(),
    onSample: (scenario, sample) => {
      if (!options.quiet) progress.show(scenario.name, sample);
    },
  });
  progress.end();
  console.log(formatResult(result, before));
  if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(result, undefined, 2)}\n`);
  if (options.html !== undefined) writeFileSync(options.html, renderReport(result, before));
  if (result.runs.some(({ status }) => status === 'failed')) process.exitCode = exitCodes.failed;
  else if (interrupt.signal.aborted) process.exitCode = interruptedStatus;
}

function chooseRuns(names: readonly string[], options: BenchOptions): { scenario: Scenario; sizes: ResolvedSizes }[] {
  if (names.length === 0) throw new UsageError(`name a scenario: ${listNames()}; --list describes them`);
  const chosen = names.includes('all') ? scenarios : names.map(findScenario);
  const given: Sizes = Object.fromEntries(
    sizeNames.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]])),
  );
  for (const name of sizeNames) {
    if (given[name] !== undefined && !chosen.some(({ sizes }) => name in sizes))
      throw new UsageError(
        `${formatOption(name)} means nothing to ${chosen.map((scenario) => scenario.name).join(', ')}`,
      );
  }
  return chosen.map((scenario) => ({ scenario, sizes: resolveSizes(scenario, options.size, given) }));
}

function findScenario(name: string): Scenario {
  const scenario = scenarios.find((each) => each.name === name);
  if (scenario === undefined)
    throw new UsageError(`there is no scenario ${JSON.stringify(name)}; known are ${listNames()}`);
  return scenario;
}

function listNames(): string {
  return [...scenarios.map(({ name }) => name), 'all'].join(', ');
}

function checkServerOptions({ url, pid, partitions, ioThreads, setting }: BenchOptions): void {
  if (url === undefined && pid !== undefined) throw new UsageError('--pid is for a server given by --url');
  if (url !== undefined && (partitions !== undefined || ioThreads !== undefined || setting !== undefined))
    throw new UsageError(
      '--partitions, --io-threads and --setting are for a server that is started, not for one given by --url',
    );
}

function readResult(file: string): BenchResult {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    throw new UsageError(`--compare ${file}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  const { format, formatVersion } = (content ?? {}) as Partial<BenchResult>;
  if (format !== 'slotcast-bench' || formatVersion !== 1)
    throw new UsageError(`--compare ${file}: it is not a result of this bench (format slotcast-bench, version 1)`);
  return content as BenchResult;
}

function parseBetween(min: number, max: number): (text: string) => number {
  return (text) => {
    const count = parseCount(text);
    if (count < min || count > max) throw new InvalidArgumentError(`It must be from ${min} to ${max}.`);
    return count;
  };
}

function parseSetting(text: string, before: Record<string, unknown> | undefined): Record<string, unknown> {
  const at = text.indexOf('=');
  const name = text.slice(0, at);
  if (at < 1 || !settingNames.includes(name as SettingName))
    throw new InvalidArgumentError('It must be like coalesceWindowMs=50, with a setting of `slotcast start`.');
  const settings = { ...before, [name]: readSettingText(name as SettingName, text.slice(at + 1)) };
  resolveConfig(settings, 'command line');
  return settings;
}
