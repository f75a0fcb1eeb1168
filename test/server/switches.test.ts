import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { startFaultyServer } from 'slotcast/testing';
import type { FaultyServer } from 'slotcast/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { listSchema } from '../../src/protocol/schemas.ts';
import { createValidator } from '../../src/sessions/validation.ts';
import { runCommand } from '../support/command.ts';
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
} as const;

let server: FaultyServer;
let dataDir: string;

beforeEach(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'slotcast-switches-'));
  server = await startFaultyServer({ ...config, dataDir });
});
afterEach(async () => {
  await server.stop();
  rmSync(dataDir, { recursive: true });
});

async function call(method: string, input: object = {}): Promise<{ status: number; body: Record<string, unknown> }> {
  const url = new URL(`${server.address.httpUrl}/v1/switches`);
  if (method === 'DELETE') for (const [name, value] of Object.entries(input)) url.searchParams.set(name, String(value));
  const response = await fetch(url, {
    method,
    ...(method === 'PUT' ? { body: JSON.stringify(input), headers: { 'content-type': 'application/json' } } : {}),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

async function readList(): Promise<{ instances: { id: string; weight: number; enabled: boolean }[]; closed?: true }> {
  const response = await fetch(`${server.address.httpUrl}/v1/instances?service=${service}`);
  return (await response.json()) as Awaited<ReturnType<typeof readList>>;
}

async function readFirst(): Promise<unknown> {
  return (await readList()).instances[0];
}

interface Watcher {
  readonly client: RawClient;
  readonly pushes: Record<string, unknown>[];
}

async function watch(): Promise<Watcher> {
  const client = await RawClient.open(server.address.url);
  const pushes: Record<string, unknown>[] = [];
  client.onNotification = (_, params) => pushes.push(params);
  await client.request('service.subscribe', { service, mode: 'delta' });
  return { client, pushes };
}

async function register(client: RawClient, id: string, more: object = {}): Promise<void> {
  await client.request('instance.register', { service, instance: { id, host: 'h', port: 1, ...more } });
}

test('[SW1] [SW2] a service that is switched off has an empty list that says so, in one push, and registrations go on', async () => {
  const provider = await RawClient.open(server.address.url);
  await register(provider, 'a');
  await register(provider, 'b');
  const { client, pushes } = await watch();
  const order = { kind: 'service-off', service, reason: 'a bad release', by: 'ann' };
  const set = await call('PUT', order);
  expect(set).toEqual({
    status: 200,
    body: {
      ...order,
      namespace: 'public',
      group: 'DEFAULT',
      orderedFrom: '127.0.0.1',
      since: expect.stringMatching(/^\d{4}-.*Z$/) as string,
    },
  });
  await expect.poll(() => pushes).toHaveLength(1);
  expect(pushes[0]).toMatchObject({ count: 0, put: [], remove: ['a', 'b'], closed: true });
  expect(await readList()).toMatchObject({ instances: [], closed: true });
  await register(provider, 'c');
  expect(await call('GET')).toEqual({ status: 200, body: { switches: [set.body] } });
  const metrics = await (await fetch(`${server.address.httpUrl}/metrics`)).text();
  expect(metrics).toContain('slotcast_switches{kind="service-off"} 1');
  expect(await call('DELETE', { kind: 'service-off', service })).toEqual(set);
  await expect.poll(() => pushes).toHaveLength(2);
  expect(pushes[1]).toMatchObject({ count: 3, remove: [] });
  expect(pushes[1]).not.toHaveProperty('closed');
  expect(await readList()).not.toHaveProperty('closed');
  expect(await call('DELETE', { kind: 'service-off', service })).toMatchObject({ status: 404 });
  provider.close();
  client.close();
});

test('[SW2] a service that is switched off is still listed among the services, as the description of the protocol allows', async () => {
  const provider = await RawClient.open(server.address.url);
  await register(provider, 'a');
  await call('PUT', { kind: 'service-off', service });
  const listed = await provider.request('service.list', {});
  expect(listed).toEqual({ services: [{ namespace: 'public', group: 'DEFAULT', service, instances: 0 }] });
  expect(createValidator(listSchema)(listed)).toEqual({ ok: true, value: listed });
  provider.close();
});

test('[SW3] an override is laid over what its owner registers, again and again, until it is lifted', async () => {
  const provider = await RawClient.open(server.address.url);
  await register(provider, 'a');
  const { client, pushes } = await watch();
  await call('PUT', {
    kind: 'instance-override',
    service,
    id: 'a',
    override: { weight: 0, enabled: false, metadata: { note: 'x' } },
  });
  await expect.poll(() => pushes).toHaveLength(1);
  expect(pushes[0]).toMatchObject({ put: [{ id: 'a', weight: 0, enabled: false, metadata: { note: 'x' } }] });
  // Nothing that subscribers see has changed by this.
  await register(provider, 'a', { weight: 7 });
  await register(provider, 'a', { weight: 7, zone: 'z' });
  await expect.poll(() => pushes).toHaveLength(2);
  expect(pushes[1]).toMatchObject({ put: [{ id: 'a', weight: 0, enabled: false, zone: 'z' }] });
  await call('DELETE', { kind: 'instance-override', service, id: 'a' });
  await expect.poll(() => pushes).toHaveLength(3);
  expect(pushes[2]).toMatchObject({ put: [{ id: 'a', weight: 7, enabled: true, zone: 'z' }] });
  provider.close();
  client.close();
});

test('[SW1] switches outlive the process, however it ends, and one with a time is lifted when that is over', async () => {
  await call('PUT', { kind: 'service-off', service });
  const { body: before } = await call('GET');
  await server.stop();
  server = await startFaultyServer({ ...config, dataDir });
  expect((await call('GET')).body).toEqual(before);
  const provider = await RawClient.open(server.address.url);
  await register(provider, 'a');
  expect(await readList()).toMatchObject({ instances: [], closed: true });
  const again = await call('PUT', { kind: 'service-off', service, forMs: 100 });
  expect(again.body['until']).toEqual(expect.any(String));
  await expect.poll(readList, { timeout: 5000 }).toMatchObject({ instances: [{ id: 'a' }] });
  expect(await readList()).not.toHaveProperty('closed');
  expect((await call('GET')).body).toEqual({ switches: [] });
  provider.close();
});

test('[SW1] [RE2] subscribers are told what was switched although the partition died in the middle of it', async () => {
  const provider = await RawClient.open(server.address.url);
  await register(provider, 'a');
  const { client, pushes } = await watch();
  for (let round = 0; round < 4; round++) {
    const isOff = round % 2 === 0;
    const answered = call(isOff ? 'PUT' : 'DELETE', { kind: 'service-off', service });
    server.inflict(0, 'exit');
    server.inflict(1, 'exit');
    expect((await answered).status).toBe(200);
    await expect
      .poll(() => pushes.at(-1), { timeout: 10_000 })
      .toMatchObject(isOff ? { count: 0, closed: true } : { count: 1, put: [{ id: 'a' }] });
  }
  provider.close();
  client.close();
});

test('[SW1] what a switch does not have is refused, and so are too many', async () => {
  const refusals: [input: object, field: string][] = [
    [{ kind: 'service-off', service, id: 'a' }, '/id'],
    [{ kind: 'service-off', service, override: { weight: 1 } }, '/override'],
    [{ kind: 'instance-override', service, override: { weight: 1 } }, '/id'],
    [{ kind: 'instance-override', service, id: 'a' }, '/override'],
    [{ kind: 'instance-override', service, id: 'a', override: {} }, '/override'],
    [{ kind: 'service-off' }, '/service'],
    [{ kind: 'read-only', service }, '/service'],
    [{ kind: 'service-off', service, overMs: 1 }, '/overMs'],
    [{ kind: 'strange', service }, '/kind'],
  ];
  for (const [input, field] of refusals) {
    expect(await call('PUT', input)).toMatchObject({ status: 400, body: { error: { code: 'invalid_params', field } } });
  }
  await server.stop();
  server = await startFaultyServer({ ...config, dataDir, switchesMax: 1 });
  expect((await call('PUT', { kind: 'service-off', service })).status).toBe(200);
  expect(await call('PUT', { kind: 'service-off', service: 'other' })).toMatchObject({
    body: { error: { code: 'limit_exceeded', limit: 'switchesMax', max: 1 } },
  });
  // It takes no further place.
  expect((await call('PUT', { kind: 'service-off', service, reason: 'still' })).status).toBe(200);
});

test('[SW2] [PU5] who keeps a list from before a restart is told at once that the service is switched off', async () => {
  const before = await RawClient.open(server.address.url);
  for (const each of [service, 'other']) {
    await before.request('instance.register', { service: each, instance: { id: 'a', host: 'h', port: 1 } });
  }
  const { version } = await before.request<{ version: number }>('service.subscribe', { service });
  await call('PUT', { kind: 'service-off', service: 'other' });
  await server.stop();
  server = await startFaultyServer({ ...config, dataDir, warmStart: false, warmUpMs: 20_000 });
  const client = await RawClient.open(server.address.url);
  const pushes: Record<string, unknown>[] = [];
  client.onNotification = (_, params) => pushes.push(params);
  const held = { version, count: 1 };
  // Switched off before the restart, and after it.
  expect(await client.request('service.subscribe', { service: 'other', ...held })).toMatchObject({ closed: true });
  expect(await client.request('service.subscribe', { service, ...held })).toMatchObject({ put: [], remove: [] });
  await call('PUT', { kind: 'service-off', service });
  await expect.poll(() => pushes).toMatchObject([{ service, count: 0, instances: [], closed: true }]);
  // Nor does it wait for anybody who was there.
  const newcomer = await RawClient.open(server.address.url);
  expect(await newcomer.request('service.subscribe', { service })).not.toHaveProperty('warming');
  newcomer.close();
  client.close();
});

test('[SW5] the weight of an instance that is drained goes down in steps, also over a restart, and then it is disabled', async () => {
  const provider = await RawClient.open(server.address.url);
  await register(provider, 'a', { weight: 50 });
  const { client, pushes } = await watch();
  expect((await call('PUT', { kind: 'instance-drain', service, id: 'a', overMs: 5000 })).status).toBe(200);
  await expect.poll(readFirst, { timeout: 10_000 }).toMatchObject({ weight: 0, enabled: false });
  const weights = pushes.map(({ put }) => (put as { weight: number; enabled: boolean }[])[0]!);
  expect(weights[0]).toMatchObject({ weight: 45, enabled: true });
  expect(weights.length).toBeGreaterThan(3);
  expect(weights.map(({ weight }) => weight)).toEqual(weights.map(({ weight }) => weight).toSorted((a, b) => b - a));
  // What is registered meanwhile is drained, too.
  await register(provider, 'a', { weight: 70 });
  expect(await readFirst()).toMatchObject({ weight: 0, enabled: false });
  await call('DELETE', { kind: 'instance-drain', service, id: 'a' });
  await expect.poll(readFirst).toMatchObject({ weight: 70, enabled: true });
  await call('PUT', { kind: 'instance-override', service, id: 'a', override: { weight: 1000 } });
  await call('PUT', { kind: 'instance-drain', service, id: 'a', overMs: 600_000 });
  await expect.poll(readFirst).toMatchObject({ weight: 900, enabled: true });
  provider.close();
  client.close();
  await server.stop();
  server = await startFaultyServer({ ...config, dataDir });
  const other = await RawClient.open(server.address.url);
  await register(other, 'a', { weight: 1 });
  expect(await readFirst()).toMatchObject({ weight: 900, enabled: true });
  other.close();
});

test('[SW4] a read-only registry refuses what would be registered or stored, serves what there is, and lets go', async () => {
  const provider = await RawClient.open(server.address.url);
  await register(provider, 'a');
  await register(provider, 'b');
  const instance = { host: 'h', port: 2 };
  const post = async (method: string, path: string, body: object): Promise<Response> =>
    fetch(`${server.address.httpUrl}${path}`, {
      method,
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json' },
    });
  const refused = { code: 'read_only', retryAfterMs: 5000 };
  const expectRefused = async (): Promise<void> => {
    for (const [method, params] of [
      ['instance.register', { service, instance }],
      ['instance.register', { service, instance, persistent: true }],
      ['kv.put', { key: 'k', value: '' }],
      ['kv.delete', { key: 'k' }],
      ['kv.transact', { operations: [{ op: 'put', key: 'k', value: '' }] }],
    ] as const) {
      await expect(provider.request(method, params)).rejects.toMatchObject({ data: refused });
    }
    for (const [method, path, body] of [
      ['PUT', '/v1/instances', { service, instance }],
      ['PUT', '/v1/instances', { service, instance, persistent: true }],
      ['PUT', `/v1/services/${service}`, { owner: 'ann' }],
      ['PUT', '/v1/keys/k', {}],
    ] as const) {
      const response = await post(method, path, body);
      expect([path, response.status, response.headers.get('retry-after')]).toEqual([path, 503, '5']);
      expect(await response.json()).toMatchObject({ error: refused });
    }
  };
  expect((await call('PUT', { kind: 'read-only' })).status).toBe(200);
  await expectRefused();
  expect((await readList()).instances).toHaveLength(2);
  await provider.request('kv.transact', { operations: [{ op: 'get', key: 'k' }] });
  await provider.request('instance.deregister', { service, id: 'b' });
  expect((await readList()).instances).toMatchObject([{ id: 'a' }]);
  expect((await call('DELETE', { kind: 'read-only' })).status).toBe(200);
  await register(provider, 'c');
  await provider.request('kv.put', { key: 'k', value: '' });
  expect((await post('PUT', '/v1/instances', { service, instance })).status).toBe(200);
  await call('PUT', { kind: 'read-only' });
  provider.close();
  await server.stop();
  server = await startFaultyServer({ ...config, dataDir });
  expect((await call('GET')).body).toMatchObject({ switches: [{ kind: 'read-only' }] });
  const other = await RawClient.open(server.address.url);
  await expect(other.request('instance.register', { service, instance })).rejects.toMatchObject({ data: refused });
  other.close();
});

function run(...args: string[]): ReturnType<typeof runCommand> {
  return runCommand([...args, '--server', `ws://127.0.0.1:${server.address.port}`]);
}

test('[SW1] the command sets, lists and lifts switches', async () => {
  expect((await run('switches')).out).toBe('no switch is in force\n');
  expect(await run('off', service, '--reason', 'a bad release', '--for', '10m')).toMatchObject({
    status: 0,
    out: expect.stringMatching(/^set service-off of public\/DEFAULT\/orders until \d{4}-/) as string,
  });
  expect(await run('instances', service)).toMatchObject({
    status: 3,
    err: 'orders is switched off by an operator\n',
  });
  expect((await run('override', service, 'a', '--weight', '0', '--disable', '--meta', 'note=x')).status).toBe(0);
  const { out } = await run('switches');
  expect(out.split('\n').filter((line) => line !== '')).toHaveLength(3);
  expect(out).toContain('"a bad release"');
  expect(out).toMatch(/ a +enabled=false weight=0 note=x +/);
  const listed = JSON.parse((await run('switches', '--json')).out) as { switches: object[] };
  expect(listed.switches).toMatchObject([
    { kind: 'service-off' },
    { kind: 'instance-override', id: 'a', override: { enabled: false, weight: 0, metadata: { note: 'x' } } },
  ]);
  expect((await run('on', service)).out).toBe('lifted service-off of public/DEFAULT/orders\n');
  expect((await run('override', service, 'a', '--lift')).status).toBe(0);
  expect(await run('on', service)).toMatchObject({ status: 3, err: expect.stringContaining('not_found') as string });
  expect((await run('override', service, 'a')).status).toBe(2);
  // What is put off until its time is over fails with what it was put off with.
  expect((await run('read-only')).out).toBe('set read-only\n');
  expect(await run('register', service, 'h:1', '--timeout-ms', '1000')).toEqual({
    status: 1,
    out: '',
    err: 'slotcast: read_only: an operator has made the registry read-only\n',
  });
  expect((await run('read-only', '--lift')).out).toBe('lifted read-only\n');
});
