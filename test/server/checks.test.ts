import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { startFaultyServer } from 'slotcast/testing';
import type { FaultyServer } from 'slotcast/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { CheckedTargets } from '../support/checked-targets.ts';
import { ioThreads } from '../support/io-threads.ts';
import { RawClient } from '../support/raw-client.ts';

const service = 'orders';
const config = {
  port: 0,
  ioThreads,
  partitions: 2,
  logLevel: 'silent',
  warmUpMs: 0,
  coalesceWindowMaxMs: 20,
  partitionRestartsMax: 1000,
  checkTargets: ['loopback'],
  checkScripts: [
    `well=${process.execPath} -e process.exit(process.env.SLOTCAST_PORT==="1"?0:2)`,
    `warns=${process.execPath} -e process.exit(1)`,
    `hangs=${process.execPath} -e setInterval(()=>{},1000)`,
  ],
} as const;
/** As often as can be, and believed at once. */
const pace = { intervalMs: 1000, timeoutMs: 900, failures: 1, jitterPercent: 0 } as const;

let server: FaultyServer;
let dataDir: string;
let targets: CheckedTargets;
let client: RawClient;

beforeEach(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'slotcast-checks-'));
  targets = new CheckedTargets();
  server = await startFaultyServer({ ...config, dataDir });
  client = await RawClient.open(server.address.url);
});
afterEach(async () => {
  client.close();
  targets.stop();
  await server.stop();
  rmSync(dataDir, { recursive: true });
});

async function register(id: string, port: number, check: object, more: object = {}): Promise<unknown> {
  const instance = { id, host: '127.0.0.1', port, check: { ...pace, ...check } };
  return client.request('instance.register', { service, instance, ...more });
}

async function call(method: string, path: string, body?: object): Promise<{ status: number; body: unknown }> {
  const response = await fetch(`${server.address.httpUrl}${path}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  return { status: response.status, body: await response.json() };
}

async function readHealth(): Promise<Record<string, string>> {
  const { body } = await call('GET', `/v1/instances?service=${service}`);
  const { instances } = body as { instances: { id: string; health?: string }[] };
  return Object.fromEntries(instances.map(({ id, health = 'passing' }) => [id, health]));
}

async function readOutputs(): Promise<Record<string, string>> {
  const { body } = await call('GET', '/v1/checks');
  const { checks } = body as { checks: { id: string; output: string }[] };
  return Object.fromEntries(checks.map(({ id, output }) => [id, output]));
}

const patience = { timeout: 8000, interval: 50 };

test('[HC3] [HC4] each kind of check finds what is well and what is not, and nobody but who registered it is shown it', async () => {
  const port = await targets.listenHttp();
  const [silent, endless, grpc] = [
    await targets.listenSilently(),
    await targets.listenEndlessly(),
    await targets.listenGrpc(),
  ];
  const closed = await targets.listenSilently();
  await register('http', port, { kind: 'http', path: '/up?x=1', headers: { 'X-Probe': 'yes' } });
  await register('http status', port, { kind: 'http', status: '204,3xx' });
  await register('http body', port, { kind: 'http', body: 'is (well|fine)$' });
  await register('http other body', port, { kind: 'http', body: '^fine' });
  await register('http silent', silent, { kind: 'http' });
  await register('http endless', endless, { kind: 'http' });
  await register('http endless body', endless, { kind: 'http', body: 'y' });
  await register('no http', grpc, { kind: 'https' });
  await register('tcp', closed, { kind: 'tcp' });
  await register('tcp closed', 1, { kind: 'tcp' });
  await register('tcp other port', 1, { kind: 'tcp', port });
  await register('grpc', grpc, { kind: 'grpc', service: 'orders' });
  await register('grpc silent', silent, { kind: 'grpc' });
  await register('grpc http', port, { kind: 'grpc' });
  await register('script', 1, { kind: 'script', script: 'well' });
  await register('script ill', 2, { kind: 'script', script: 'well' });
  await register('script warns', 1, { kind: 'script', script: 'warns' });
  await register('script hangs', 1, { kind: 'script', script: 'hangs' });
  await expect.poll(readHealth, patience).toEqual({
    http: 'passing',
    'http status': 'critical',
    'http body': 'passing',
    'http other body': 'critical',
    'http silent': 'critical',
    'http endless': 'passing',
    'http endless body': 'critical',
    'no http': 'critical',
    tcp: 'passing',
    'tcp closed': 'critical',
    'tcp other port': 'passing',
    grpc: 'passing',
    'grpc silent': 'critical',
    'grpc http': 'critical',
    script: 'passing',
    'script ill': 'critical',
    'script warns': 'warning',
    'script hangs': 'critical',
  });
  await expect.poll(readOutputs, patience).toMatchObject({
    'http status': 'HTTP 200',
    'http silent': expect.stringMatching(/^no answer within /) as string,
    'tcp closed': 'ECONNREFUSED',
    'grpc silent': expect.stringMatching(/^no answer within /) as string,
  });
  const probe = targets.requests.find(({ url }) => url === '/up?x=1');
  expect(probe?.headers).toMatchObject({ 'x-probe': 'yes', host: `127.0.0.1:${port}` });
  const { body } = await call('GET', `/v1/instances?service=${service}`);
  expect(JSON.stringify(body)).not.toContain('kind');
  targets.grpcStatus = 2;
  await expect.poll(async () => (await readHealth())['grpc'], patience).toBe('critical');
  const metrics = await (await fetch(`${server.address.httpUrl}/metrics`)).text();
  expect(metrics).toMatch(/slotcast_checks\{health="critical"\} 1[0-9]/);
  expect(metrics).toMatch(/slotcast_check_probes_total [1-9]/);
}, 30_000);

test('[HC3] an instance that turns critical leaves the list of who wants healthy ones, and comes back', async () => {
  const port = await targets.listenHttp();
  const watcher = await RawClient.open(server.address.url);
  const pushes: Record<string, unknown>[] = [];
  watcher.onNotification = (_, params) => pushes.push(params);
  await watcher.request('service.subscribe', { service, healthyOnly: true });
  await register('a', port, { kind: 'http' });
  await expect.poll(() => pushes.at(-1)).toMatchObject({ count: 1 });
  targets.status = 500;
  await expect.poll(() => pushes.at(-1), patience).toMatchObject({ count: 0, remove: ['a'] });
  targets.status = 200;
  await expect.poll(() => pushes.at(-1), patience).toMatchObject({ count: 1, put: [{ id: 'a' }] });
  watcher.close();
});

test('[HC3] what is to be critical until it is found to be well is so from its first moment', async () => {
  const port = await targets.listenSilently();
  const watcher = await RawClient.open(server.address.url);
  const pushes: Record<string, unknown>[] = [];
  watcher.onNotification = (_, params) => pushes.push(params);
  await watcher.request('service.subscribe', { service });
  await register('a', port, { kind: 'tcp', initial: 'critical' });
  await expect.poll(() => pushes).toHaveLength(1);
  expect(pushes[0]).toMatchObject({ put: [{ id: 'a', health: 'critical' }] });
  await expect.poll(readHealth, patience).toEqual({ a: 'passing' });
  watcher.close();
});

test('[HC3] with a check ttl an instance is critical when nobody has reported for its time', async () => {
  await register('a', 1, { kind: 'ttl', intervalMs: 1000 });
  for (let i = 0; i < 6; i++) {
    await client.request('instance.health', { service, id: 'a', health: 'passing' });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await readHealth()).toEqual({ a: 'passing' });
  }
  await expect.poll(readHealth, patience).toEqual({ a: 'critical' });
  await client.request('instance.health', { service, id: 'a', health: 'warning' });
  await expect.poll(readHealth, patience).toEqual({ a: 'warning' });
});

test('[HC4] checks that the server does not make are refused, with the reason', async () => {
  const refused = async (instance: object): Promise<unknown> =>
    client
      .request('instance.register', { service, instance: { id: 'a', host: '127.0.0.1', port: 1, ...instance } })
      .then(
        () => 'taken',
        (error: unknown) => (error as { failure?: unknown; message: string }).message,
      );
  expect(await refused({ host: '169.254.169.254', check: { kind: 'http' } })).toContain('checkTargets');
  expect(await refused({ host: '10.0.0.1', check: { kind: 'tcp' } })).toContain('checkTargets');
  expect(await refused({ check: { kind: 'script', script: 'rm' } })).toContain('defines no script');
  expect(await refused({ check: { kind: 'http', body: '(' } })).toContain('regular expression');
  expect(await refused({ check: { kind: 'tcp', path: '/' } })).toContain('unknown field');
  expect(await refused({ check: { kind: 'udp' } })).toContain('no such kind');
  expect(await refused({ check: { kind: 'http', headers: { 'a\r\nb': 'c' } } })).toContain('not allowed');
  expect(await refused({ check: { kind: 'http', path: '/ HTTP/1.1\r\nX: y' } })).toContain('pattern');
  expect(await refused({ check: { kind: 'tcp', intervalMs: 10 } })).toContain('>= 1000');
  // A name is judged by what it resolves to.
  await client.request('instance.register', {
    service,
    instance: { id: 'named', host: 'localhost', port: await targets.listenSilently(), check: { kind: 'tcp', ...pace } },
  });
  const declared = { instances: [{ host: '10.0.0.1', port: 1, check: { kind: 'tcp' } }] };
  expect(await call('PUT', '/v1/services/x', declared)).toMatchObject({
    status: 400,
    body: { error: { field: '/instances/0/host' } },
  });
});

test('[HC4] an expression that would take years costs a moment, and its check fails', async () => {
  const port = await targets.listenHttp();
  targets.body = `${'a'.repeat(5000)}!`;
  await register('slow', port, { kind: 'http', body: '^(a+)+$' });
  await register('fast', port, { kind: 'http', body: '^a+!$' });
  await expect.poll(readHealth, patience).toEqual({ slow: 'critical', fast: 'passing' });
  expect((await readOutputs())['slow']).toContain('takes longer');
});

test('[HC3] checks go on when their thread, a partition or the process has died, and with what they belong to', async () => {
  const port = await targets.listenHttp();
  targets.status = 500;
  const check = { kind: 'http', ...pace };
  const instance = { id: 'leased', host: '127.0.0.1', port, check };
  const granted = await call('PUT', '/v1/instances', { service, instance, ttlMs: 60_000 });
  expect(granted.status).toBe(200);
  await register('stored', port, { kind: 'http' }, { persistent: true });
  await expect.poll(readHealth, patience).toEqual({ leased: 'critical', stored: 'critical' });
  server.inflict(0, 'throw');
  server.inflict(1, 'throw');
  await expect.poll(readHealth, patience).toEqual({ leased: 'critical', stored: 'critical' });
  server.killChecks();
  targets.status = 200;
  await expect.poll(readHealth, patience).toEqual({ leased: 'passing', stored: 'passing' });
  expect((await call('GET', '/v1/services/orders')).body).toMatchObject({
    instances: [{ id: 'stored', check: { kind: 'http' } }],
  });
  await server.stop();
  targets.status = 500;
  server = await startFaultyServer({ ...config, dataDir });
  await expect.poll(readHealth, patience).toEqual({ leased: 'critical', stored: 'critical' });
  const { lease } = granted.body as { lease: string };
  await call('DELETE', `/v1/leases/${lease}`);
  await expect.poll(async () => Object.keys(await readOutputs()), patience).toEqual(['stored']);
}, 30_000);

test('[HC5] an instance that is critical for as long as its check says is deregistered, be it stored', async () => {
  await register('a', 1, { kind: 'tcp', deregisterAfterMs: 1000 });
  await register('b', 1, { kind: 'tcp', deregisterAfterMs: 1000 }, { persistent: true });
  await register('c', 1, { kind: 'tcp' });
  await expect.poll(readHealth, patience).toEqual({ c: 'critical' });
  expect((await call('GET', '/v1/services/orders')).status).toBe(404);
  expect(await client.request('session.registrations', {})).toMatchObject({ registrations: [{ id: 'c' }] });
}, 30_000);
