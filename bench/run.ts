import { writeFileSync } from 'node:fs';

import { scenarios } from '../src/bench/scenarios/all.ts';
import { runAudit } from './audit/audit.ts';
import { runChecks } from './checks/checks.ts';
import { readEnvironment, formatEnvironment } from './environment.ts';
import { runHealing } from './healing/healing.ts';
import { runIoThreads } from './io-threads/io-threads.ts';
import { runMicro } from './micro/micro.ts';
import { help, readOptions, UsageError } from './options.ts';
import type { BenchOptions } from './options.ts';
import { runPeers } from './peers/peers.ts';
import { findPinning } from './processes.ts';
import { fullPlan, smokePlan } from './ratios/plan.ts';
import { runRatios } from './ratios/ratios.ts';
import { runTls } from './tls/tls.ts';

const print = (line: string): void => console.log(line);
const exitUsage = 2;

async function runBench(options: BenchOptions): Promise<void> {
  const { suites, isSmoke, jsonFile, partitions, ioThreads } = options;
  const pinning = findPinning();
  const environment = readEnvironment(pinning, partitions);
  print(formatEnvironment(environment));
  const plan = isSmoke ? smokePlan : fullPlan;
  const report = {
    environment,
    isSmoke,
    ...(suites.has('micro') ? { micro: await runMicro(isSmoke, print) } : {}),
    ...(suites.has('ratios')
      ? await runRatios({
          plan: { ...plan, rounds: options.rounds ?? plan.rounds },
          partitions,
          ioThreads,
          pinning,
          print,
        })
      : {}),
    ...(suites.has('healing') ? await runHealing({ isSmoke, pinning, print }) : {}),
    ...(suites.has('io-threads')
      ? { ioThreads: await runIoThreads({ isSmoke, partitions, rounds: options.rounds, print }) }
      : {}),
    ...(suites.has('checks') ? { checks: await runChecks({ isSmoke, rounds: options.rounds, print }) } : {}),
    ...(suites.has('audit') ? { audit: await runAudit({ isSmoke, rounds: options.rounds, print }) } : {}),
    ...(suites.has('tls') ? { tls: await runTls({ isSmoke, rounds: options.rounds, pinning, print }) } : {}),
    ...(suites.has('peers')
      ? { peers: await runPeers({ isSmoke, rounds: options.rounds, names: options.peers, pinning, print }) }
      : {}),
  };
  if (jsonFile !== undefined) writeFileSync(jsonFile, `${JSON.stringify(report, undefined, 2)}\n`);
}

/** Scenarios are `slotcast bench`, which is shipped; here are the comparisons that the project needs for itself. */
function isSlotcastBench(args: readonly string[]): boolean {
  return args.some((arg) => arg === '--list' || arg === 'all' || scenarios.some(({ name }) => name === arg));
}

try {
  const args = process.argv.slice(2);
  const isScenario = isSlotcastBench(args);
  const options = isScenario ? undefined : readOptions(args);
  if (isScenario) {
    process.argv.splice(2, 0, 'bench');
    await import('../src/cli/slotcast.ts');
  } else if (options === undefined) print(help);
  else await runBench(options);
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(`${error.message}\n\n${help}`);
  process.exitCode = exitUsage;
}
