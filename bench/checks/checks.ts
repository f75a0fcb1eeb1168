import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { estimate } from '../statistics.ts';
import type { Estimate } from '../statistics.ts';
import { formatNumber, layTable } from '../table.ts';
import type { ProberFigures, ProberOrder } from './prober-process.ts';

export interface ChecksOptions {
  readonly isSmoke: boolean;
  readonly rounds: number | undefined;
  readonly print: (line: string) => void;
}

export interface ChecksReport {
  readonly checks: number;
  readonly intervalMs: number;
  /** Cores' worth of CPU, the whole process of whoever probes. */
  readonly checkCores: Estimate;
  readonly plainCores: Estimate;
  /** CPU of one probe of a check to that of a plain request of Node, in the same round. */
  readonly ratio: Estimate;
  readonly probesPerSecond: Estimate;
  /** Connections that the target had at a time. */
  readonly socketsMax: number;
}

const run = promisify(execFile);

function fileOf(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

/** What so many checks cost, beside as many plain requests of Node to the same server. */
export async function runChecks({ isSmoke, rounds = isSmoke ? 1 : 3, print }: ChecksOptions): Promise<ChecksReport> {
  const plan = isSmoke
    ? { checks: 100, intervalMs: 1000, warmUpMs: 1100, measureMs: 1000 }
    : { checks: 10_000, intervalMs: 10_000, warmUpMs: 4000, measureMs: 10_000 };
  const target = spawn(process.execPath, [fileOf('target-process.js')], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [line] = (await once(target.stdout, 'data')) as [Buffer];
    const port = Number(line);
    const probe = async (mode: ProberOrder['mode']): Promise<ProberFigures> => {
      const order: ProberOrder = { mode, port, ...plan };
      const { stdout } = await run(process.execPath, [fileOf('prober-process.js'), JSON.stringify(order)]);
      return JSON.parse(stdout) as ProberFigures;
    };
    const samples: { readonly checks: ProberFigures; readonly plain: ProberFigures }[] = [];
    let socketsMax = 0;
    for (let round = 0; round < rounds; round++) {
      const checks = await probe('checks');
      if (round === 0) socketsMax = Number(await (await fetch(`http://127.0.0.1:${port}/open`)).text());
      samples.push({ checks, plain: await probe('plain') });
    }
    const report: ChecksReport = {
      checks: plan.checks,
      intervalMs: plan.intervalMs,
      checkCores: estimate(samples.map(({ checks }) => checks.cores)),
      plainCores: estimate(samples.map(({ plain }) => plain.cores)),
      ratio: estimate(samples.map(({ checks, plain }) => costOf(checks) / costOf(plain))),
      probesPerSecond: estimate(samples.map(({ checks }) => checks.probes / (plan.measureMs / 1000))),
      socketsMax,
    };
    printReport(report, print);
    return report;
  } finally {
    target.kill();
  }
}

function costOf({ cores, probes }: ProberFigures): number {
  return cores / Math.max(1, probes);
}

function printReport(report: ChecksReport, print: ChecksOptions['print']): void {
  const { checks, intervalMs, checkCores, plainCores, ratio, probesPerSecond, socketsMax } = report;
  print(`\nChecks: ${checks} over HTTP, each every ${intervalMs} ms, beside as many plain requests of Node`);
  const rows: string[][] = [
    ['probes per second', formatNumber(probesPerSecond.median)],
    ['cores, checks', formatNumber(checkCores.median)],
    ['cores, plain requests', formatNumber(plainCores.median)],
    ['CPU of a probe to that of a request', formatNumber(ratio.median)],
    ['connections at a time, at most', String(socketsMax)],
  ];
  print(`\n${layTable([['', 'median'], ...rows])}\n`);
}
