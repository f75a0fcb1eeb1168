import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { connect } from 'slotcast/client';
import { startFaultyServer } from 'slotcast/testing';
import type { FaultyServer } from 'slotcast/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { runCommand } from '../support/command.ts';
import { ioThreads } from '../support/io-threads.ts';

const service = 'orders';
const config = {
  port: 0,
  ioThreads,
  partitions: 2,
  logLevel: 'silent',
  warmUpMs: 0,
  coalesceWindowMaxMs: 20,
} as const;

let server: FaultyServer;
let dataDir: string;

beforeEach(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'slotcast-health-'));
  server = await startFaultyServer({ ...config, dataDir });
});
afterEach(async () => {
  await server.stop();
  rmSync(dataDir, { recursive: true });
});

async function call(method: string, path: string, body?: object): Promise<{ status: number; body: object }> {
  const response = await fetch(`${server.address.httpUrl}${path}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  return { status: response.status, body: (await response.json()) as object };
}

async function readHealth(query = ''): Promise<(string | undefined)[]> {
  const { body } = await call('GET', `/v1/instances?service=${service}${query}`);
  return (body as { instances: { id: string; health?: string }[] }).instances.map(
    ({ id, health }) => `${id} ${health}`,
  );
}

test('[HC1] [HC2] the SDK reports health, and others see it in its view, over HTTP and in commands', async () => {
  const client = connect({ servers: [server.address.url] });
  const watcher = connect({ servers: [server.address.url] });
  const registration = await client.register(service, { id: 'a', host: '10.0.0.1', port: 1 });
  const [all, healthy] = [await watcher.subscribe(service), await watcher.subscribe(service, { healthyOnly: true })];
  expect(registration.health).toBe('passing');
  await registration.setHealth('critical');
  expect(registration.health).toBe('critical');
  await expect.poll(() => all.instances).toMatchObject([{ id: 'a', health: 'critical' }]);
  expect(healthy.instances).toEqual([]);
  expect(await readHealth()).toEqual(['a critical']);
  expect(await readHealth('&healthyOnly=true')).toEqual([]);
  const args = ['--server', server.address.url];
  const shown = await runCommand(['instances', service, ...args]);
  expect(shown.out).toMatch(/HEALTH/);
  expect(shown.out).toMatch(/a +10\.0\.0\.1:1 +100 +yes +critical/);
  expect((await runCommand(['instances', service, '--healthy-only', ...args])).status).toBe(3);
  await client.close();
  await watcher.close();
});

test('[HC2] what a lease has reported outlives the process', async () => {
  const granted = await call('PUT', '/v1/instances', { service, instance: { id: 'a', host: 'h', port: 1 } });
  const { lease } = granted.body as { lease: string };
  const report = { service, id: 'a', health: 'critical', lease };
  expect(await call('PUT', '/v1/instances/health', report)).toMatchObject({ status: 200 });
  expect(await call('PUT', '/v1/instances/health', { ...report, lease: 'nobodys' })).toMatchObject({ status: 404 });
  expect(await call('PUT', '/v1/instances/health', { ...report, id: 'b' })).toMatchObject({ status: 404 });
  expect(await call('PUT', '/v1/instances/health', { ...report, health: 'ill' })).toMatchObject({ status: 400 });
  expect(await readHealth()).toEqual(['a critical']);
  await server.stop();
  server = await startFaultyServer({ ...config, dataDir });
  expect(await readHealth()).toEqual(['a critical']);
});

test('[HC7] a service with a health threshold is read as a whole while too few are well, over deaths and a restart', async () => {
  const client = connect({ servers: [server.address.url] });
  const watcher = connect({ servers: [server.address.url] });
  expect((await call('PUT', `/v1/services/${service}`, { healthThreshold: 0.5 })).status).toBe(200);
  const first = await client.register(service, { id: 'a', host: '10.0.0.1', port: 1 });
  const second = await client.register(service, { id: 'b', host: '10.0.0.2', port: 1 });
  const healthy = await watcher.subscribe(service, { healthyOnly: true });
  const ids = (): string[] =>
    healthy.instances.map(({ id, protected: isProtected = false }) => `${id} ${isProtected}`).sort();
  await first.setHealth('critical');
  await expect.poll(ids).toEqual(['b false']);
  await second.setHealth('critical');
  await expect.poll(ids).toEqual(['a true', 'b true']);
  expect(await readHealth('&healthyOnly=true')).toHaveLength(2);
  server.inflict(0, 'exit');
  server.inflict(1, 'exit');
  await expect.poll(() => readHealth('&healthyOnly=true'), { timeout: 10_000 }).toHaveLength(2);
  await first.setHealth('passing');
  await expect.poll(ids, { timeout: 10_000 }).toEqual(['a false']);
  await second.deregister();
  await first.setHealth('critical');
  await expect.poll(ids).toEqual(['a true']);
  expect((await call('PUT', `/v1/services/${service}`, {})).status).toBe(200);
  await expect.poll(ids).toEqual([]);
  expect((await call('PUT', `/v1/services/${service}`, { healthThreshold: 1 })).status).toBe(200);
  await expect.poll(ids).toEqual(['a true']);
  await Promise.all([client.close(), watcher.close()]);
  await server.stop();
  server = await startFaultyServer({ ...config, dataDir });
  const again = connect({ servers: [server.address.url] });
  await again.register(service, { id: 'a', host: '10.0.0.1', port: 1, health: 'critical' });
  expect(await readHealth('&healthyOnly=true')).toEqual(['a critical']);
  await again.close();
});
