import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { beforeAll, expect, test } from 'vitest';

interface Outcome {
  readonly requests: number;
  readonly failed: number;
  readonly failedAfterKnown: number;
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
  const result = spawnSync(process.execPath, [run, '--json'], { encoding: 'utf8', timeout: 40_000 });
  ({ status } = result);
  outcome = JSON.parse(result.stdout) as Outcome;
}, 45_000);

const callers = ['orders-1', 'orders-2', 'orders-3'];

test('the demo ends by itself, with status 0', () => {
  expect(status).toBe(0);
});

test('[SE2] every caller learns that the killed instance is gone, after the grace and within a second more', () => {
  expect(Object.keys(outcome.killKnownAfterMs).sort()).toEqual(callers);
  for (const ms of Object.values(outcome.killKnownAfterMs)) {
    expect(ms).toBeGreaterThanOrEqual(outcome.graceMs);
    expect(ms).toBeLessThan(outcome.graceMs + 1000);
  }
});

test('calls stop failing once every caller knows', () => {
  expect(outcome.requests).toBeGreaterThan(300);
  expect(outcome.failed).toBeGreaterThan(0);
  expect(outcome.failedAfterKnown).toBe(0);
});

test('every caller learns of the new instance, and it takes its share of the traffic', () => {
  expect(Object.keys(outcome.addKnownAfterMs).sort()).toEqual(callers);
  for (const ms of Object.values(outcome.addKnownAfterMs)) expect(ms).toBeLessThan(1000);
  expect(outcome.servedByAdded).toBeGreaterThan(20);
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
