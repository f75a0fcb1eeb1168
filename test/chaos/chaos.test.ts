import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { expect, test } from 'vitest';

import { ioThreads } from '../support/io-threads.ts';

interface Report {
  readonly failure?: string;
  readonly lack?: string;
  readonly story: readonly string[];
  readonly checks: number;
  readonly tally: { readonly pushes: number; readonly viewsCompared: number };
  readonly counters: Readonly<Record<string, number>>;
}

const run = fileURLToPath(new URL('../../dist/chaos/run.js', import.meta.url));

const options = ['--seed', '7', '--io-threads', String(ioThreads), '--json'];

test('[SL3] [RE1] [PU4] [PU5] [SE1] [SE2] a real server under faults stays true to the model', () => {
  const { stdout, stderr, status } = spawnSync(process.execPath, [run, '--seconds', '8', ...options], {
    encoding: 'utf8',
    timeout: 55_000,
  });
  expect(stderr).toBe('');
  const report = JSON.parse(stdout) as Report;
  const { failure, lack } = report;
  expect({ failure, lack }, `seed 7\n${report.story.join('\n')}`).toEqual({});
  expect(status).toBe(0);
  // The run itself fails when it did too little; this is to see that it says so.
  expect(report.checks).toBeGreaterThan(1000);
  expect(report.tally.pushes).toBeGreaterThan(100);
  expect(report.tally.viewsCompared).toBeGreaterThan(0);
  expect(report.counters['partition_died']).toBeGreaterThan(0);
}, 60_000);

test('a run that is too short to show anything says so, with status 1', () => {
  const { stdout, status } = spawnSync(process.execPath, [run, '--seconds', '0.5', ...options], {
    encoding: 'utf8',
    timeout: 40_000,
  });
  expect(JSON.parse(stdout)).toMatchObject({ lack: expect.any(String) as string });
  expect(status).toBe(1);
}, 45_000);
