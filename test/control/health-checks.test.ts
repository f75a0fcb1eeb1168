import { beforeEach, expect, test } from 'vitest';

import { HealthChecks } from '../../src/control/health-checks.ts';
import type { Hosts } from '../../src/control/hosts.ts';
import { CheckCore } from '../../src/health/check-core.ts';
import type { HealthReport, ToHealthThread } from '../../src/health/health-messages.ts';
import { fromPartition, toPartition } from '../../src/workers/messages.ts';

const key = 'public/DEFAULT/orders';
const failing = { health: 'critical', output: 'ECONNREFUSED' } as const;

let core: CheckCore;
let checks: HealthChecks;
/** On its way to the thread of checks. */
let messages: ToHealthThread[];
/** What partitions were told. */
let told: string[];
let nowMs: number;

beforeEach(() => {
  [messages, told, nowMs] = [[], [], 0];
  core = new CheckCore({
    probesMax: 10,
    lossChecksMin: 1,
    lossPercent: 101,
    holdMaxMs: 1000,
    random: () => 0,
    nowMs,
  });
  checks = new HealthChecks({
    checksMax: 10,
    counters: { countLimit: () => undefined },
    persistent: { deregisterPersistent: () => Promise.reject(new Error('nothing is persistent')) },
    tell: (message) => messages.push(message),
    onEvent: () => undefined,
    readWallMs: () => nowMs,
  });
  const judge: Hosts['judge'] = (_, id, health) => {
    told.push(`${id} ${health}`);
  };
  const tell = (_: string, record: readonly unknown[]): void => {
    told.push(`${String(record[2])} ${record[0] === toPartition.evict ? 'evicted' : '?'}`);
  };
  checks.join({ judge, main: { router: { tell } } } as unknown as Hosts);
});

/** A partition says that an instance shows, with a check of its port. */
function show(port: number): void {
  const check = { kind: 'tcp', deregisterAfterMs: 1000, failures: 1, intervalMs: 1000 };
  const instance = JSON.stringify({ id: 'a', host: '10.0.0.1', port, weight: 1, enabled: true, check });
  checks.handle([fromPartition.check, key, 'a', instance]);
}

/** The thread hears what it was told. */
function deliver(): void {
  for (const message of messages.splice(0)) {
    if (message.kind === 'put') core.put(message.name, message.target, nowMs, message.health, message.number);
    else if (message.kind === 'drop') core.drop(message.name);
  }
}

/** What the thread tells after its probes have failed. */
function fail(ms: number): HealthReport {
  nowMs += ms;
  for (const probe of core.advance(nowMs)) core.settle(probe, failing, nowMs);
  const figures = { probes: 0, failures: 0, underWay: 0, waiting: 0, isHolding: false, heldCount: 0 };
  return { standings: core.takeStandings(), overdue: core.takeOverdue(nowMs), figures };
}

test('[HC3] what a check has found is not held against the one that replaces it meanwhile', () => {
  show(1);
  deliver();
  const report = fail(100);
  expect(report.standings).toHaveLength(1);
  show(2);
  checks.take(report);
  deliver();
  expect(told).toEqual([]);
  checks.take(fail(1100));
  expect(told).toEqual(['a critical']);
});

test('[HC5] an instance that is registered anew is not deregistered for what its check found before', () => {
  show(1);
  deliver();
  checks.take(fail(100));
  const report = fail(1100);
  expect(report.overdue).toHaveLength(1);
  show(2);
  checks.take(report);
  expect(told).toEqual(['a critical', 'a passing']);
  deliver();
  checks.take(fail(100));
  checks.take(fail(1100));
  expect(told.slice(2)).toEqual(['a critical', 'a evicted']);
});
