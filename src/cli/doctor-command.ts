import { totalmem } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';

import type { Command } from 'commander';

import { httpOperations } from '../protocol/http-operations.ts';
import type { GuardResult } from '../protocol/http-results.ts';
import type { SwitchesResult } from '../protocol/switches.ts';
import { productVersion } from '../runtime/product-version.ts';
import { askServer, RegistryCalls } from './administration.ts';
import {
  checkAnswers,
  checkBounds,
  checkCertificates,
  checkClock,
  checkDeaths,
  checkDescriptors,
  checkGuard,
  checkMemory,
  checkReadiness,
  checkSessions,
  checkAudit,
  checkExposure,
  checkStore,
  checkSwitches,
  checkThreads,
  checkVersions,
} from './doctor-checks.ts';
import { AdministrationError, describeError, exitCodes, exitCodeOf } from './exit-codes.ts';
import { printFindings, worstOf } from './findings.ts';
import type { Finding } from './findings.ts';
import { observe } from './observation.ts';
import { timeRequest } from './ping-command.ts';
import { addOutputOption } from './printing.ts';
import type { OutputOptions } from './printing.ts';
import { formatMs } from './quantities.ts';
import { addHttpOptions, withClient } from './registry.ts';
import type { HttpOptions } from './registry.ts';
import { readSessions } from './sessions-command.ts';
import { readServers } from './tls-options.ts';

type DoctorOptions = HttpOptions & OutputOptions;

/** Between two observations, in milliseconds: what happens now shows in their difference. */
const watchMs = 1000;
const requests = 5;

/** `doctor`: one look at everything. */
export function addDoctorCommand(program: Command): void {
  const command = program
    .command('doctor')
    .description(
      'look at everything once, and say what to do: exit status 0, 6 for warnings, 1 for failures, 4 if unreachable',
    );
  addOutputOption(addHttpOptions(command)).action(examine);
}

async function examine(options: DoctorOptions): Promise<void> {
  const findings: Finding[] = [];
  const unreachable = await lookAt(findings, 'reachability', () => checkWire(options));
  await lookAt(findings, 'http', () => checkHttp(options));
  await printFindings(options, findings);
  const worst = worstOf(findings);
  process.exitCode =
    unreachable ?? { ok: exitCodes.done, warning: exitCodes.warnings, failure: exitCodes.failed }[worst];
}

/** Adds what a look finds. One that fails is a finding, too: the others go on. Resolves to the status of a registry that cannot be reached. */
async function lookAt(
  findings: Finding[],
  check: string,
  look: () => Promise<readonly Finding[]>,
): Promise<number | undefined> {
  try {
    for (const finding of await look()) findings.push(finding);
  } catch (error) {
    const isUnreachable = exitCodeOf(error) === exitCodes.unreachable;
    const advice = isUnreachable
      ? 'is it running there? See --server, and --http behind a proxy'
      : 'the log of the registry says more';
    findings.push({ check, status: 'failure', found: describeError(error), advice });
    if (isUnreachable) return exitCodes.unreachable;
  }
  return undefined;
}

async function checkWire(options: DoctorOptions): Promise<Finding[]> {
  return await withClient(options, async (client) => {
    const startedAtMs = performance.now();
    await client.whenConnected();
    const openMs = performance.now() - startedAtMs;
    const times: number[] = [];
    while (times.length < requests) times.push(await timeRequest(client));
    const found = `${readServers(options).join(', ')} opens a session in ${formatMs(openMs)}`;
    return [{ check: 'reachability', status: 'ok', found }, checkAnswers(times)];
  });
}

async function checkHttp(options: DoctorOptions): Promise<Finding[]> {
  const calls = new RegistryCalls(options);
  const before = await observe(calls);
  const sentMs = Date.now();
  const { date } = await calls.ask({ method: 'GET', path: httpOperations.checkLive.path });
  const receivedMs = Date.now();
  await delay(watchMs);
  const observation = await observe(calls);
  const startedS = observation.metrics.sum('process_start_time_seconds');
  return [
    { check: 'http', status: 'ok', found: `${calls.base} answers` },
    checkVersions(productVersion, observation),
    checkClock(date, { sentMs, receivedMs }, startedS === undefined ? undefined : startedS * 1000),
    checkReadiness(observation),
    checkDeaths(observation),
    checkThreads(before, observation),
    checkExposure(observation),
    ...checkCertificates(observation),
    checkStore(observation),
    checkAudit(observation),
    checkDescriptors(observation),
    checkMemory(observation, isHere(calls.base) ? totalmem() : undefined),
    checkBounds(before, observation),
    checkGuard(await askServer<GuardResult>(options, 'readGuard')),
    ...(await checkIfAllowed('switches', async () => [
      checkSwitches((await askServer<SwitchesResult>(options, 'listSwitches')).switches, Date.now()),
    ])),
    ...(await checkIfAllowed('sessions', async () => {
      const { sessions, silentThreads } = await readSessions(options, () => true);
      return checkSessions(sessions, silentThreads);
    })),
  ];
}

/** What only callers on the registry's own machine are told. */
async function checkIfAllowed(check: string, look: () => Promise<Finding[]>): Promise<Finding[]> {
  try {
    return await look();
  } catch (error) {
    if (!(error instanceof AdministrationError) || error.code !== 'forbidden') throw error;
    return [{ check, status: 'skipped', found: 'only callers on the machine of the registry are told' }];
  }
}

function isHere(base: string): boolean {
  return /^(?:localhost|127\.[\d.]+|\[::1\])$/.test(new URL(base).hostname);
}
