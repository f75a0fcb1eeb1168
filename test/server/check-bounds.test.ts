import { startFaultyServer } from 'slotcast/testing';
import type { FaultyServer } from 'slotcast/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { CheckedTargets } from '../support/checked-targets.ts';
import { ioThreads } from '../support/io-threads.ts';
import { RawClient } from '../support/raw-client.ts';

const service = 'orders';
const common = {
  port: 0,
  ioThreads,
  partitions: 2,
  logLevel: 'silent',
  warmUpMs: 0,
  checkTargets: ['loopback'],
} as const;
const pace = { intervalMs: 1000, timeoutMs: 900, failures: 1, jitterPercent: 0 } as const;
const patience = { timeout: 8000, interval: 50 };

let server: FaultyServer;
let targets: CheckedTargets;
let client: RawClient;

beforeEach(() => {
  targets = new CheckedTargets();
});
afterEach(async () => {
  client.close();
  targets.stop();
  await server.stop();
});

async function start(config: object): Promise<void> {
  server = await startFaultyServer({ ...common, ...config });
  client = await RawClient.open(server.address.url);
}

function register(id: string, port: number, check: object): Promise<unknown> {
  return client.request('instance.register', {
    service,
    instance: { id, host: '127.0.0.1', port, check: { ...pace, ...check } },
  });
}

async function readMetric(name: string): Promise<number> {
  const text = await (await fetch(`${server.address.httpUrl}/metrics`)).text();
  return Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1]);
}

async function countCritical(): Promise<number> {
  const list = await client.request('service.query', { service });
  return (list as { instances: { health?: string }[] }).instances.filter(({ health }) => health === 'critical').length;
}

test('[HC4] [LI1] checks beyond checksMax are not made, which is counted, and with 0 they are refused', async () => {
  await start({ checksMax: 1 });
  await register('a', 1, { kind: 'tcp' });
  await register('b', 1, { kind: 'tcp' });
  await expect.poll(countCritical, patience).toBe(1);
  const { counters } = (await (await fetch(`${server.address.httpUrl}/v1/stats`)).json()) as {
    counters: Record<string, number>;
  };
  expect(counters['limit_checksMax']).toBe(1);
  client.close();
  await server.stop();
  await start({ checksMax: 0 });
  await expect(register('a', 1, { kind: 'tcp' })).rejects.toThrow('makes no checks');
});

test('[HC4] [LI1] no more than checkProbesMax probes are under way; the others wait', async () => {
  await start({ checkProbesMax: 1, checkLossPercent: 101 });
  const silent = await targets.listenSilently();
  for (let i = 0; i < 6; i++) await register(`i${i}`, silent, { kind: 'http' });
  await expect.poll(() => readMetric('slotcast_check_probes_waiting'), patience).toBeGreaterThan(2);
  expect(await readMetric('slotcast_check_probes_under_way')).toBe(1);
  // One of them may be about to close.
  expect(targets.connections).toBeLessThanOrEqual(2);
  await expect.poll(countCritical, patience).toBe(6);
}, 20_000);

test('[HC6] when the network breaks at the server nothing becomes critical, until an operator releases it', async () => {
  await start({ checkLossMin: 4, checkLossPercent: 60 });
  const port = await targets.listenHttp();
  for (let i = 0; i < 8; i++) await register(`i${i}`, port, { kind: 'http', failures: 3 });
  await expect.poll(() => targets.requests.length, patience).toBeGreaterThan(8);
  targets.status = 503;
  await expect.poll(() => readMetric('slotcast_check_guard_active'), patience).toBe(1);
  await expect.poll(() => readMetric('slotcast_check_guard_held'), patience).toBe(8);
  expect(await countCritical()).toBe(0);
  await fetch(`${server.address.httpUrl}/v1/guard/release`, {
    method: 'PUT',
    body: '{}',
    headers: { 'content-type': 'application/json' },
  });
  await expect.poll(countCritical, patience).toBe(8);
  await expect.poll(() => readMetric('slotcast_check_guard_active'), patience).toBe(0);
}, 20_000);
