import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { beforeAll, expect, test } from 'vitest';

interface Outcome {
  readonly requests: number;
  readonly failed: number;
  readonly failedOnKilledAfterKnown: number;
  readonly killKnownAfterMs: Readonly<Record<string, number>>;
  readonly addKnownAfterMs: Readonly<Record<string, number>>;
  readonly firstServedAfterMs: number;
  readonly servedByAdded: number;
  readonly graceMs: number;
  readonly pids: readonly number[];
}

let status: number | null;
let outcome: Outcome;

beforeAll(() => {
  const run = fileURLToPath(new URL('../../dist/demo/run.js', import.meta.url));
  const result = spawnSync(process.execPath, [run, '--json'], { encoding: 'utf8', timeout: 110_000 });
  ({ status } = result);
  outcome = JSON.parse(result.stdout) as Outcome;
}, 120_000);

const callers = ['orders-1', 'orders-2', 'orders-3'];

test('the demo ends by itself, with status 0', () => {
  expect(status).toBe(0);
});

// How fast is for benches: here it is only what must never come early.
test('[SE2] every caller learns that the killed instance is gone, and not before the grace', () => {
  expect(Object.keys(outcome.killKnownAfterMs).sort()).toEqual(callers);
  for (const ms of Object.values(outcome.killKnownAfterMs)) expect(ms).toBeGreaterThanOrEqual(outcome.graceMs);
});

test('calls that are sent once every caller knows do not meet the killed instance', () => {
  expect(outcome.requests).toBeGreaterThan(300);
  expect(outcome.failed).toBeGreaterThan(0);
  expect(outcome.failedOnKilledAfterKnown).toBe(0);
});

test('every caller learns of the new instance, and it takes its share of the traffic', () => {
  expect(Object.keys(outcome.addKnownAfterMs).sort()).toEqual(callers);
  expect(outcome.servedByAdded).toBeGreaterThanOrEqual(25);
});

test('no process is left', () => {
  const left = outcome.pids.filter((pid) => {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  });
  expect(outcome.pids).toHaveLength(9);
  expect(left).toEqual([]);
});
