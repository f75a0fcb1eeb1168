import { availableParallelism, cpus, release, totalmem } from 'node:os';

import { findBenchServer, startBenchServer } from './bench-server.ts';
import type { BenchServer } from './bench-server.ts';
import type { CoreSplit } from './cores.ts';
import { InterruptedError, UsageError } from './failures.ts';
import { readKernelSetting } from './kernel-memory.ts';
import { LoadFleet } from './load-fleet.ts';
import type { BenchEnvironment, BenchResult, RunResult, RunStatus, Sample } from './result.ts';
import { Sampler, formatForeignShare } from './sampler.ts';
import type { Scenario } from './scenario.ts';
import type { ResolvedSizes } from './sizes.ts';
import { Findings } from './stage.ts';

export interface SuiteOptions {
  readonly runs: readonly { readonly scenario: Scenario; readonly sizes: ResolvedSizes }[];
  /** Undefined: a server is started for each scenario. */
  readonly url: string | undefined;
  /** Of the server at `url`. */
  readonly pid: number | undefined;
  readonly partitions: number | undefined;
  readonly serverSettings: Readonly<Record<string, unknown>>;
  readonly loadProcesses: number | undefined;
  readonly seed: number;
  /** Undefined: nothing is bound to cores. */
  readonly cores: CoreSplit | undefined;
  readonly signal: AbortSignal;
  readonly version: string;
  readonly onRun: (scenario: Scenario, sizes: ResolvedSizes) => void;
  readonly onSample: (scenario: Scenario, sample: Sample) => void;
}

/** Runs scenarios one after the other. What was found is returned also when it is interrupted. */
export async function runSuite(options: SuiteOptions): Promise<BenchResult> {
  const { url, cores } = options;
  const populations = options.runs.map(({ scenario, sizes }) => scenario.populate(sizes));
  for (const { providers, readers } of populations) checkSockets(providers + readers, options);
  const environment = readEnvironment(url === undefined ? cores : undefined);
  const runs: RunResult[] = [];
  let [partitions, isObserved]: [number | null, boolean] = [null, true];
  for (const { scenario, sizes } of options.runs) {
    if (options.signal.aborted) break;
    options.onRun(scenario, sizes);
    const server = await openServer(options, scenario);
    partitions = server.partitions ?? null;
    isObserved = server.pid !== undefined;
    try {
      runs.push(await runScenario(options, scenario, sizes, server));
    } finally {
      await server.stop();
    }
  }
  return {
    format: 'slotcast-bench',
    formatVersion: 1,
    slotcast: options.version,
    environment,
    server: { url: url ?? null, partitions, settings: options.serverSettings, isObserved },
    runs,
  };
}

function openServer(
  { url, pid, partitions, serverSettings, cores }: SuiteOptions,
  { serverSettings: ownSettings = {} }: Scenario,
): Promise<BenchServer> {
  if (url !== undefined) return findBenchServer(url, pid);
  return startBenchServer(
    { ...ownSettings, ...serverSettings, ...(partitions === undefined ? {} : { partitions }) },
    cores?.server,
  );
}

const closeTimeoutMs = 20_000;

async function runScenario(
  options: SuiteOptions,
  scenario: Scenario,
  sizes: ResolvedSizes,
  server: BenchServer,
): Promise<RunResult> {
  const { seed, signal } = options;
  const startedAt = new Date();
  // Two runs against one server must not meet.
  const namespace = `bench-${startedAt.getTime().toString(36)}`;
  const population = { ...scenario.populate(sizes), namespace, seed };
  const loadProcesses = options.loadProcesses ?? chooseLoadProcesses(population.providers + population.readers);
  const findings = new Findings();
  const sampler = new Sampler(server, (sample) => options.onSample(scenario, sample));
  const fleet = new LoadFleet(loadProcesses, {
    cores: options.url === undefined ? options.cores?.load : undefined,
    onBeat: (part, beat) => sampler.take(part, beat),
    signal,
    died: server.died,
  });
  let status: RunStatus = 'passed';
  try {
    await fleet.prepare({ endpoint: server.endpoint, population });
    await scenario.run({ sizes, population, server, fleet, sampler, findings });
    sampler.phase = 'close';
    sampler.isMeasured = false;
  } catch (error) {
    if (error instanceof InterruptedError) status = 'interrupted';
    else findings.check('it ran to its end', false, error instanceof Error ? error.message : String(error));
  } finally {
    if (!server.isOurs) await fleet.closeSessions(closeTimeoutMs);
    sampler.stop();
    await fleet.end();
  }
  if (findings.checks.some(({ isHeld }) => !isHeld)) status = 'failed';
  const { figures, latencies, latencyOverTime, checks, notes } = findings;
  return {
    scenario: scenario.name,
    summary: scenario.summary,
    status,
    startedAt: startedAt.toISOString(),
    tookS: Math.round((Date.now() - startedAt.getTime()) / 100) / 10,
    seed,
    loadProcesses,
    settings: Object.fromEntries(Object.keys(scenario.sizes).map((name) => [name, sizes[name as keyof ResolvedSizes]])),
    figures,
    latencies,
    latencyOverTime,
    timeline: sampler.samples,
    checks,
    limits: [
      ...findings.limits,
      ...sampler.findLoadLimits(),
      ...formatForeignShare(findings.foreignShare),
      ...listStandingLimits(options, server),
    ],
    notes,
  };
}

/** What every result of this kind of measurement is bound by. */
function listStandingLimits({ cores, url }: SuiteOptions, server: BenchServer): string[] {
  const limits: string[] = [];
  if (server.pid === undefined)
    limits.push(
      'CPU and memory of the server are left out: its process is not known (--pid, for a server on this machine)',
    );
  if (url === undefined && cores === undefined)
    limits.push('server and load are not bound to cores of their own, and take time from each other');
  if (server.isOurs || server.pid !== undefined)
    limits.push(
      'over loopback the sender also pays for the receiver’s side of TCP, so a push costs the server more here than over a network',
    );
  return limits;
}

const socketsPerProcessMax = 19_000;
const socketsPerProcess = 15_000;

function checkSockets(sockets: number, { url, loadProcesses }: SuiteOptions): void {
  const perProcess = Math.ceil(sockets / (loadProcesses ?? chooseLoadProcesses(sockets)));
  if (perProcess > socketsPerProcessMax)
    throw new UsageError(`${sockets} sessions need more --load-processes: one carries at most ${socketsPerProcessMax}`);
  if (url === undefined && sockets > socketsPerProcessMax)
    throw new UsageError(
      `${sockets} sessions are more than one server process may have here (${socketsPerProcessMax} file descriptors); use --url for a server with a higher limit`,
    );
}

function chooseLoadProcesses(sockets: number): number {
  const cores = availableParallelism();
  return Math.max(Math.ceil(sockets / socketsPerProcess), cores >= 4 ? Math.min(4, cores >> 1, sockets) : 1, 1);
}

function readEnvironment(cores: CoreSplit | undefined): BenchEnvironment {
  const all = cpus();
  return {
    startedAt: new Date().toISOString(),
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    kernel: release(),
    cpuModel: all[0]?.model.trim() ?? 'unknown',
    cpus: all.length,
    memoryBytes: totalmem(),
    serverCores: cores?.server ?? null,
    loadCores: cores?.load ?? null,
    somaxconn: readKernelSetting('/proc/sys/net/core/somaxconn'),
    tcpWmem: readKernelSetting('/proc/sys/net/ipv4/tcp_wmem'),
    tcpMem: readKernelSetting('/proc/sys/net/ipv4/tcp_mem'),
  };
}
