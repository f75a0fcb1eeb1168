import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import type { HealingReport } from '../../bench/healing/healing.ts';
import type { IoThreadsFigures } from '../../bench/io-threads/io-threads.ts';
import type { RatiosReport } from '../../bench/ratios/ratios.ts';
import type { TlsComparison } from '../../bench/tls/tls.ts';

const execute = promisify(execFile);
// Only what hangs meets it: half a minute on two quiet cores, and several times that beside other work.
const runTimeoutMs = 300_000;

interface Report extends RatiosReport, HealingReport {
  readonly environment: Record<string, unknown>;
  readonly ioThreads: readonly IoThreadsFigures[];
  readonly tls: readonly TlsComparison[];
  readonly micro: { name: string; meanNs: number; samples: number }[];
}

async function bench(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  try {
    const output = await execute(process.execPath, ['dist/bench/run.js', ...args], { timeout: runTimeoutMs });
    return { code: 0, ...output };
  } catch (error) {
    return error as { code: number; stdout: string; stderr: string };
  }
}

describe('the bench at its smoke size', () => {
  const folder = mkdtempSync(join(tmpdir(), 'slotcast-bench-'));
  const file = join(folder, 'report.json');
  let outcome: Awaited<ReturnType<typeof bench>>;
  let report: Report;

  beforeAll(async () => {
    outcome = await bench('--smoke', '--json', file);
    if (outcome.stderr !== '') throw new Error(outcome.stderr);
    report = JSON.parse(readFileSync(file, 'utf8')) as Report;
  }, runTimeoutMs);

  afterAll(() => rmSync(folder, { recursive: true }));

  test('ends by itself, and well', () => {
    expect(outcome.code).toBe(0);
  });

  test('writes how pushes grow with I/O threads', () => {
    expect(report.ioThreads.map(({ ioThreads }) => ioThreads).slice(0, 3)).toEqual([0, 1, 2]);
    for (const { pushesPerSecond, cpuMicrosPerPush } of report.ioThreads) {
      expect(pushesPerSecond.median).toBeGreaterThan(0);
      expect(cpuMicrosPerPush.median).toBeGreaterThan(0);
    }
  });

  test('writes what connections and pushes cost with TLS', () => {
    expect(report.tls.map(({ work }) => work)).toEqual(['connections', 'pushes']);
    for (const { figures, ratioToNode, ratioToUws } of report.tls) {
      for (const { perSecond } of [figures.uws, figures.node, figures.tls]) expect(perSecond.median).toBeGreaterThan(0);
      expect(Math.min(ratioToNode.low, ratioToUws.low)).toBeGreaterThanOrEqual(0);
    }
  });

  test.each([
    'registerCpuRatio',
    'registerPipelinedCpuRatio',
    'pushCpuRatio',
    'hopP50Ratio',
    'hopP99Ratio',
    'bytesPerInstance',
    'bytesPerIdleSession',
    'healMs100k',
    'healMs1M',
    'healPushes',
    'moveRateRatio',
    'partitionsCpuRatio',
    'journalCpuRatio',
    'journalPipelinedCpuRatio',
    'registerNodeSocketsRatio',
    'registerPipelinedNodeSocketsRatio',
    'pushNodeSocketsRatio',
  ] as const)('writes %s with median and bounds', (key) => {
    expect(report[key]).toEqual({ median: expect.any(Number), low: expect.any(Number), high: expect.any(Number) });
    const { median, low, high } = report[key]!;
    expect(low).toBeLessThanOrEqual(median);
    expect(median).toBeLessThanOrEqual(high);
  });

  test('says on what it was measured', () => {
    expect(report.environment).toMatchObject({
      node: process.version,
      cpus: expect.any(Number),
      kernel: expect.any(String),
      date: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
    });
  });

  test('both servers did all of the work, and sent the same bytes', () => {
    expect(report.measured.rounds).toHaveLength(1);
    const { slotcast, bare } = report.measured.rounds[0]!;
    for (const { register, pipelined, push, hop, fanOut } of [slotcast, bare]) {
      expect(register.acks).toBeGreaterThan(0);
      expect(pipelined.acks).toBeGreaterThan(0);
      expect(push.pushes).toBe(push.changes * report.plan.workloads.push.subscribers);
      expect(push.changes).toBeGreaterThan(0);
      expect(hop.each.samples).toBe(hop.changes);
      expect(fanOut.each.samples).toBe(fanOut.changes * report.plan.workloads.fanOut.subscribersPerService);
    }
    expect(slotcast.register.ackBytes).toBe(bare.register.ackBytes);
    expect(slotcast.push.pushBytes).toBe(bare.push.pushBytes);
  });

  test('every function on its own has a figure', () => {
    expect(report.micro.map(({ name }) => name)).toEqual(
      expect.arrayContaining([
        'crc16',
        'slotOf',
        'ownerOf',
        'readPlainRequest',
        'readRequest',
        'mailboxOf64',
        'encodeDelta',
        'applyChanged',
      ]),
    );
    for (const { meanNs, samples } of report.micro) {
      expect(meanNs).toBeGreaterThan(0);
      expect(samples).toBeGreaterThan(0);
    }
  });
});

describe('the command line of the bench', () => {
  test('explains itself', async () => {
    const { code, stdout } = await bench('--help');
    expect(code).toBe(0);
    expect(stdout).toContain('Usage: npm run bench');
  });

  test.each([
    { args: ['--speed', '11'], complaint: '--speed' },
    { args: ['everything'], complaint: 'everything' },
    { args: ['--rounds', 'few'], complaint: '--rounds' },
    { args: ['--partitions', '0'], complaint: '--partitions' },
  ])('refuses $args', async ({ args, complaint }) => {
    const { code, stderr } = await bench(...args);
    expect(code).toBe(2);
    expect(stderr).toContain(complaint);
  });
});
