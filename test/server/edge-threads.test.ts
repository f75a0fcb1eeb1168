import { startFaultyServer } from 'slotcast/testing';
import type { FaultyServer } from 'slotcast/testing';
import { afterEach, expect, test } from 'vitest';

import { ioThreads } from '../support/io-threads.ts';
import { RawClient } from '../support/raw-client.ts';

let server: FaultyServer;
afterEach(() => server.stop());

async function start(threads: { readonly edgeThreads: number }): Promise<void> {
  const settings = {
    port: 0,
    httpPort: 0,
    ioThreads,
    ...threads,
    partitions: 2,
    logLevel: 'silent',
    warmUpMs: 0,
  } as const;
  server = await startFaultyServer({ ...settings, partitionRestartBackoffMs: 0 });
}

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

async function call(method: string, path: string, body?: object): Promise<Answer> {
  const response = await fetch(`${server.address.httpUrl}${path}`, {
    method,
    // Each by a connection of its own, so that the kernel chooses the thread each time.
    headers: { connection: 'close', ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

/** Gives the lease. */
async function register(service: string, port: number, lease?: string): Promise<string> {
  const { status, body } = await call('PUT', '/v1/instances', { service, instance: { host: 'h', port }, lease });
  expect(status).toBe(200);
  return String(body.lease);
}

async function readPorts(service: string): Promise<number[]> {
  const { body } = await call('GET', `/v1/instances?service=${service}`);
  return (body.instances as { port: number }[]).map(({ port }) => port).sort((a, b) => a - b);
}

/** Of threads that serve HTTP; 0 while nothing does. */
async function countDeaths(): Promise<number> {
  try {
    const { body } = await call('GET', '/v1/stats');
    return (body.counters as Record<string, number>)['edge_thread_died'] ?? 0;
  } catch {
    return 0;
  }
}

/** Ends a thread that serves HTTP, and waits until another answers in its place. */
async function killEdge(): Promise<void> {
  const before = await countDeaths();
  server.killEdge(0);
  const deadlineMs = performance.now() + 20_000;
  while ((await countDeaths()) <= before) {
    if (performance.now() > deadlineMs) throw new Error('nothing serves HTTP again');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test('[RE4] [SE4] a thread that serves HTTP dies, and is back with its leases and what they hold; subscribers hear nothing', async () => {
  await start({ edgeThreads: 1 });
  const services = Array.from({ length: 20 }, (_, i) => `service-${i}`);
  const lease = await register(services[0]!, 1);
  for (const service of services.slice(1)) await register(service, 1, lease);
  const other = await register('service-0', 2);
  const ended = await register('service-0', 3);
  expect((await call('DELETE', `/v1/leases/${ended}`)).status).toBe(200);
  const watcher = await RawClient.open(server.address.url);
  for (const service of services) await watcher.request('service.subscribe', { service });
  let pushes = 0;
  watcher.onNotification = () => {
    pushes += 1;
  };
  for (let deaths = 1; deaths <= 2; deaths++) {
    await killEdge();
    for (const service of services.slice(1)) expect(await readPorts(service)).toEqual([1]);
    expect(await readPorts('service-0')).toEqual([1, 2]);
    expect((await call('PUT', `/v1/leases/${lease}`)).status).toBe(200);
    expect((await call('PUT', `/v1/leases/${other}`)).status).toBe(200);
    expect((await call('PUT', `/v1/leases/${ended}`)).status).toBe(404);
    expect((await call('GET', '/v1/stats')).body).toMatchObject({ leases: 2, registrations: 21 });
  }
  expect(pushes).toBe(0);
  const changed = watcher.nextNotification();
  expect((await call('DELETE', `/v1/leases/${other}`)).status).toBe(200);
  expect((await changed).params).toMatchObject({ service: 'service-0', remove: ['h:2'] });
  watcher.close();
});

test('[RE4] what a caller registers after a death is told to those who subscribed before it, and new leases are other leases', async () => {
  await start({ edgeThreads: 1 });
  const watcher = await RawClient.open(server.address.url);
  await watcher.request('service.subscribe', { service: 'later' });
  const before = await register('earlier', 1);
  await killEdge();
  const changed = watcher.nextNotification();
  const after = await register('later', 1);
  expect(after).not.toBe(before);
  expect((await changed).params).toMatchObject({ service: 'later', count: 1 });
  watcher.close();
});

test('[RE4] the session port answers for health while nothing serves HTTP', async () => {
  await start({ edgeThreads: 1 });
  server.killEdge(0);
  const response = await fetch(`http://127.0.0.1:${server.address.port}/health/ready`);
  expect([response.status, await response.json()]).toEqual([
    200,
    { status: 'ready', waitingFor: [], store: { available: true } },
  ]);
});

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const canSharePorts = major > 22 || (major === 22 && minor >= 12);

test.runIf(canSharePorts)('[SE4] with several threads a lease is found by whichever a caller reaches', async () => {
  await start({ edgeThreads: 3 });
  const leases = await Promise.all(Array.from({ length: 12 }, (_, i) => register('shared', i + 1)));
  const hosts = new Set(leases.map((lease) => lease.slice(0, 3)));
  expect(hosts.size).toBeGreaterThan(1);
  for (const lease of leases) {
    for (let tries = 0; tries < 3; tries++) expect((await call('PUT', `/v1/leases/${lease}`)).status).toBe(200);
    await register('shared', 100, lease);
  }
  for (const lease of leases) expect((await call('DELETE', `/v1/leases/${lease}`)).status).toBe(200);
  expect(await readPorts('shared')).toEqual([]);
});

test('[HT1] without a thread for it there is no HTTP, and the session port says so', async () => {
  await start({ edgeThreads: 0 });
  expect(server.address.httpUrl).toBeUndefined();
  const response = await fetch(`http://127.0.0.1:${server.address.port}/v1/stats`);
  expect(response.status).toBe(421);
  expect(await response.json()).toMatchObject({ error: { code: 'misdirected' } });
});
