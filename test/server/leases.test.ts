import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { ioThreads } from '../support/io-threads.ts';
import { RawClient } from '../support/raw-client.ts';

let server: Server;
let watcher: RawClient;

beforeAll(async () => {
  server = await startServer({
    port: 0,
    ioThreads,
    partitions: 2,
    logLevel: 'silent',
    warmUpMs: 0,
    leaseTtlMinMs: 200,
  });
  watcher = await RawClient.open(server.address.url);
});
afterAll(async () => {
  watcher.close();
  await server.stop();
});

async function call(
  method: string,
  path: string,
  body?: object,
): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(`${server.address.httpUrl}${path}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

async function grant(service: string, ttlMs?: number, lease?: unknown): Promise<Record<string, unknown>> {
  const instance = { host: '10.1.1.1', port: lease === undefined ? 80 : 81 };
  const { status, body } = await call('PUT', '/v1/instances', { service, instance, ttlMs, lease });
  expect(status).toBe(200);
  return body;
}

async function listed(service: string): Promise<number> {
  const { body } = await call('GET', `/v1/instances?service=${service}`);
  return (body.instances as unknown[]).length;
}

/** How far a counter has come. */
async function readCounter(counter: string): Promise<number> {
  const { body } = await call('GET', '/v1/stats');
  return (body.counters as Record<string, number>)[counter] ?? 0;
}

test('[SE4] a registration over HTTP ends with its lease, and subscribers are told', async () => {
  await watcher.request('service.subscribe', { service: 'lapsing' });
  const added = watcher.nextNotification((_, params) => (params as { service: string }).service === 'lapsing');
  const { lease, ttlMs } = await grant('lapsing', 300);
  expect(ttlMs).toBe(300);
  expect((await added).params).toMatchObject({ put: [{ id: '10.1.1.1:80' }] });
  const removed = watcher.nextNotification((_, params) => (params as { service: string }).service === 'lapsing');
  expect((await removed).params).toMatchObject({ remove: ['10.1.1.1:80'], count: 0 });
  expect((await call('PUT', `/v1/leases/${String(lease)}`)).status).toBe(404);
});

test('[SE4] a lease that is renewed lives', async () => {
  const { lease } = await grant('renewed', 400);
  for (let round = 0; round < 6; round++) {
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect((await call('PUT', `/v1/leases/${String(lease)}`)).status).toBe(200);
  }
  expect(await listed('renewed')).toBe(1);
  await call('DELETE', `/v1/leases/${String(lease)}`);
  expect(await listed('renewed')).toBe(0);
});

test('[SE4] one lease may hold several registrations, which are removed one by one or with it', async () => {
  const { lease } = await grant('several');
  await grant('several', undefined, lease);
  expect(await listed('several')).toBe(2);
  const removed = await call('DELETE', `/v1/instances?service=several&id=10.1.1.1:80&lease=${String(lease)}`);
  expect(removed).toMatchObject({ status: 200, body: { version: expect.any(Number) } });
  expect(await listed('several')).toBe(1);
  await call('DELETE', `/v1/leases/${String(lease)}`);
  expect(await listed('several')).toBe(0);
});

test('[SE1] [SE7] a session and a lease may hold one instance: the end of either takes nothing of the other away', async () => {
  const instance = { host: '10.1.1.1', port: 80 };
  const { lease } = await grant('shared');
  await watcher.request('instance.register', { service: 'shared', instance });
  expect((await call('DELETE', `/v1/leases/${String(lease)}`)).status).toBe(200);
  expect(await listed('shared')).toBe(1);
  const { lease: next } = await grant('shared');
  await watcher.request('instance.deregister', { service: 'shared', id: '10.1.1.1:80' });
  expect(await listed('shared')).toBe(1);
  expect((await call('PUT', `/v1/leases/${String(next)}`)).status).toBe(200);
  await call('DELETE', `/v1/leases/${String(next)}`);
  expect(await listed('shared')).toBe(0);
});

test('[SE4] [SE7] a lease whose claim does not show is renewed, and shows when the newer one has run out', async () => {
  const { lease } = await grant('hidden');
  const expired = await readCounter('lease_expired');
  await grant('hidden', 200);
  await expect.poll(() => readCounter('lease_expired')).toBeGreaterThan(expired);
  expect(await listed('hidden')).toBe(1);
  expect((await call('PUT', `/v1/leases/${String(lease)}`)).status).toBe(200);
  await call('DELETE', `/v1/instances?service=hidden&id=10.1.1.1:80&lease=${String(lease)}`);
  expect(await listed('hidden')).toBe(0);
  expect((await call('PUT', `/v1/leases/${String(lease)}`)).status).toBe(404);
});

test.each([
  [1, 200],
  [undefined, 30_000],
  [10_000_000, 600_000],
])('a lease of %s ms is granted as %s ms', async (asked, granted) => {
  const { lease, ttlMs } = await grant('clamped', asked);
  expect(ttlMs).toBe(granted);
  await call('DELETE', `/v1/leases/${String(lease)}`);
});
