import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { startFaultyServer } from 'slotcast/testing';
import type { FaultyServer } from 'slotcast/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

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

async function request(method: string, path: string, body?: object): Promise<Response> {
  return fetch(`${server.address.httpUrl}${path}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
}

async function set(order: object): Promise<void> {
  const response = await request('PUT', '/v1/switches', order);
  expect([response.status, await response.json()]).toMatchObject([200, order]);
}

async function lift(order: Readonly<Record<string, string>>): Promise<void> {
  expect((await request('DELETE', `/v1/switches?${new URLSearchParams(order).toString()}`)).status).toBe(200);
}

/** In no order of the server's: a partition that was rebuilt may have another. */
async function readIds(): Promise<string[]> {
  const response = await request('GET', `/v1/instances?service=${service}`);
  const { instances } = (await response.json()) as { instances: { id: string }[] };
  return instances.map(({ id }) => id).sort();
}

async function open(app?: string): Promise<{ client: RawClient; session: string }> {
  const client = await RawClient.open(server.address.url);
  const opening = (await client.request('session.open', {
    client: 'test/1',
    ...(app === undefined ? {} : { app }),
  })) as { session: string };
  return { client, session: opening.session };
}

async function register(client: RawClient, id: string, more: object = {}): Promise<unknown> {
  return client.request('instance.register', { service, instance: { id, host: 'h', port: 1, ...more } });
}

interface Push {
  readonly count: number;
  readonly put: { readonly id: string; readonly weight: number; readonly enabled: boolean }[];
  readonly remove: string[];
}

async function watch(): Promise<{ client: RawClient; pushes: Push[] }> {
  const client = await RawClient.open(server.address.url);
  const pushes: Push[] = [];
  client.onNotification = (_, params) => pushes.push(params as unknown as Push);
  await client.request('service.subscribe', { service, mode: 'delta' });
  return { client, pushes };
}

function refuse(limit: string, max: number): object {
  return { data: { code: 'limit_exceeded', limit, max } };
}

async function run(...args: string[]): ReturnType<typeof runCommand> {
  return runCommand([...args, '--server', `ws://127.0.0.1:${server.address.port}`]);
}

describe('[SW6] what a client that is switched off has registered does not show', () => {
  test('by its application: one push, and registrations go on and are answered with that', async () => {
    const provider = await open('shop');
    const other = await open('bank');
    await register(provider.client, 'a');
    await register(provider.client, 'b');
    await register(other.client, 'c');
    const { client, pushes } = await watch();
    await set({ kind: 'client-off', app: 'shop', reason: 'a bad release' });
    await expect.poll(() => pushes).toHaveLength(1);
    expect(pushes[0]).toMatchObject({ count: 1, put: [], remove: ['a', 'b'] });
    expect(await readIds()).toEqual(['c']);
    expect(await register(provider.client, 'd')).toMatchObject({ id: 'd', closed: true });
    expect(await register(provider.client, 'a', { weight: 7 })).toMatchObject({ id: 'a', closed: true });
    expect(await register(other.client, 'e')).not.toHaveProperty('closed');
    expect(await readIds()).toEqual(['c', 'e']);
    // What it subscribes to goes on.
    expect(await provider.client.request('service.subscribe', { service })).toMatchObject({
      instances: [{ id: 'c' }, { id: 'e' }],
    });
    await expect.poll(() => pushes.at(-1)?.count).toBe(2);
    const told = pushes.length;
    await lift({ kind: 'client-off', app: 'shop' });
    await expect.poll(() => pushes.at(-1)?.count).toBe(5);
    expect(pushes).toHaveLength(told + 1);
    expect(pushes.at(-1)!.put.map(({ id, weight }) => [id, weight])).toEqual([
      ['a', 7],
      ['b', 100],
      ['d', 100],
    ]);
    for (const each of [provider.client, other.client, client]) each.close();
  });

  test('by its session, by its address, and as long as one of several switches stands', async () => {
    const provider = await open();
    await register(provider.client, 'a');
    await set({ kind: 'client-off', session: provider.session });
    await set({ kind: 'client-off', address: '127.0.0.1' });
    expect(await readIds()).toEqual([]);
    const lease = await request('PUT', '/v1/instances', { service, instance: { id: 'leased', host: 'h', port: 2 } });
    expect(await lease.json()).toMatchObject({ id: 'leased', closed: true });
    await lift({ kind: 'client-off', address: '127.0.0.1' });
    await expect.poll(readIds).toEqual(['leased']);
    await lift({ kind: 'client-off', session: provider.session });
    await expect.poll(readIds).toEqual(['a', 'leased']);
    provider.client.close();
  });

  test('whatever partition dies meanwhile', async () => {
    const provider = await open('shop');
    const other = await open('bank');
    await register(provider.client, 'a');
    await register(other.client, 'b');
    const { client, pushes } = await watch();
    for (let round = 0; round < 4; round++) {
      const isOff = round % 2 === 0;
      const done = isOff ? set({ kind: 'client-off', app: 'shop' }) : lift({ kind: 'client-off', app: 'shop' });
      server.inflict(0, 'exit');
      server.inflict(1, 'exit');
      await done;
      await expect.poll(readIds, { timeout: 10_000 }).toEqual(isOff ? ['b'] : ['a', 'b']);
      await expect.poll(() => pushes.at(-1)?.count, { timeout: 10_000 }).toBe(isOff ? 1 : 2);
    }
    for (const each of [provider.client, other.client, client]) each.close();
  });

  test('over a restart, also of what nobody has come back for', async () => {
    const provider = await open('shop');
    const other = await open('bank');
    await register(provider.client, 'a');
    await register(other.client, 'b');
    await set({ kind: 'client-off', app: 'shop' });
    await expect.poll(readIds).toEqual(['b']);
    for (const each of [provider.client, other.client]) each.socket.terminate();
    await server.stop();
    server = await startFaultyServer({ ...config, warmUpMs: 60_000, dataDir });
    // The journal knows what they had registered; nobody is back yet.
    await expect.poll(readIds).toEqual(['b']);
    await lift({ kind: 'client-off', app: 'shop' });
    await expect.poll(readIds).toEqual(['a', 'b']);
  });

  test('also if somebody else has registered the same before, until that shows again', async () => {
    const older = await open('bank');
    const newer = await open('shop');
    await register(older.client, 'a', { weight: 1 });
    await register(newer.client, 'a', { weight: 2 });
    await set({ kind: 'client-off', app: 'shop' });
    expect(await readIds()).toEqual([]);
    newer.client.close();
    await expect.poll(readIds).toEqual(['a']);
    older.client.close();
  });
});

test('[SW5] all instances of a host are drained, wherever they are registered, and what comes meanwhile', async () => {
  const provider = await open();
  await register(provider.client, 'a', { host: '10.0.0.1', weight: 50 });
  await register(provider.client, 'b', { host: '10.0.0.2', weight: 50 });
  await request('PUT', '/v1/instances', {
    service,
    persistent: true,
    instance: { id: 'p', host: '10.0.0.1', port: 2 },
  });
  const { client, pushes } = await watch();
  // Threads mark what their sessions hold by themselves, so it may come in several pushes.
  const readAll = (): unknown => {
    const shown = new Map(pushes.flatMap(({ put }) => put.map((each) => [each.id, each])));
    return [...shown.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  };
  const readFirst = (wanted: string): unknown => pushes.flatMap(({ put }) => put).find(({ id }) => id === wanted);
  await set({ kind: 'host-drain', host: '10.0.0.1', overMs: 4000 });
  await expect.poll(readAll, { timeout: 10_000 }).toMatchObject([
    { id: 'a', weight: 0, enabled: false },
    { id: 'p', weight: 0, enabled: false },
  ]);
  expect(readFirst('a')).toMatchObject({ weight: 45, enabled: true });
  expect(readFirst('p')).toMatchObject({ weight: 90, enabled: true });
  expect(pushes.flatMap(({ put }) => put.map(({ id }) => id))).not.toContain('b');
  await register(provider.client, 'c', { host: '10.0.0.1', metadata: { '"host': '"10.0.0.2"' } });
  await expect.poll(readAll).toMatchObject([{ id: 'a' }, { id: 'c', weight: 0, enabled: false }, { id: 'p' }]);
  await set({ kind: 'instance-override', service, id: 'a', override: { weight: 1000 } });
  await lift({ kind: 'host-drain', host: '10.0.0.1' });
  await expect.poll(readAll).toMatchObject([
    { id: 'a', weight: 1000, enabled: true },
    { id: 'c', weight: 100, enabled: true },
    { id: 'p', weight: 100, enabled: true },
  ]);
  provider.client.close();
  client.close();
});

describe('[SW7] while pushes are frozen nothing is pushed, and afterwards what has changed is, once', () => {
  test.each([
    ['of all', {}],
    ['of a namespace', { namespace: 'public' }],
    ['of a service', { service }],
  ])('%s', async (_, scope) => {
    const provider = await open();
    await register(provider.client, 'a');
    const { client, pushes } = await watch();
    const idle = await watch();
    await idle.client.request('service.unsubscribe', { service });
    await idle.client.request('service.subscribe', { service: 'idle' });
    await set({ kind: 'push-freeze', ...scope });
    for (const id of ['b', 'c', 'b']) {
      await register(provider.client, id);
      await provider.client.request('instance.deregister', { service, id });
    }
    await register(provider.client, 'd');
    server.inflict(0, 'exit');
    server.inflict(1, 'exit');
    // Reads go on.
    await expect.poll(readIds, { timeout: 10_000 }).toEqual(['a', 'd']);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(pushes).toEqual([]);
    await lift({ kind: 'push-freeze', ...scope });
    await expect.poll(() => pushes).toHaveLength(1);
    expect(pushes[0]).toMatchObject({ instances: [{ id: 'a' }, { id: 'd' }] });
    await register(provider.client, 'e');
    await expect.poll(() => pushes).toHaveLength(2);
    expect(pushes[1]).toMatchObject({ count: 3, put: [{ id: 'e' }], remove: [] });
    expect(idle.pushes).toEqual([]);
    for (const each of [provider.client, client, idle.client]) each.close();
  });

  test('others are pushed as ever', async () => {
    const provider = await open();
    const { client, pushes } = await watch();
    await set({ kind: 'push-freeze', namespace: 'elsewhere' });
    await set({ kind: 'push-freeze', service: 'orders2' });
    await register(provider.client, 'a');
    await expect.poll(() => pushes).toHaveLength(1);
    provider.client.close();
    client.close();
  });
});

describe('[SW8] what is quarantined is refused at the door, with the reason', () => {
  const refused = { code: 'quarantined' };

  test('clients of an application', async () => {
    const provider = await open('shop');
    await register(provider.client, 'a');
    await set({ kind: 'quarantine', app: 'shop', reason: 'it floods us' });
    expect(await provider.client.closed).toMatchObject({ code: 4005 });
    await expect(open('shop')).rejects.toMatchObject({
      message: expect.stringContaining('it floods us') as string,
      data: refused,
    });
    const other = await open('bank');
    await lift({ kind: 'quarantine', app: 'shop' });
    const back = await open('shop');
    for (const each of [other.client, back.client]) each.close();
  });

  test('clients from an address', async () => {
    const provider = await open();
    await set({ kind: 'quarantine', address: '127.0.0.1' });
    expect(await provider.client.closed).toMatchObject({ code: 4005 });
    const again = await RawClient.open(server.address.url);
    expect(await again.closed).toMatchObject({ code: 4005 });
    const lease = await request('PUT', '/v1/instances', { service, instance: { host: 'h', port: 1 } });
    expect([lease.status, await lease.json()]).toMatchObject([403, { error: refused }]);
    // Operators are not locked out.
    await lift({ kind: 'quarantine', address: '127.0.0.1' });
    (await open()).client.close();
  });

  test('a service', async () => {
    const provider = await open();
    await register(provider.client, 'a');
    await set({ kind: 'quarantine', service });
    for (const [method, params] of [
      ['instance.register', { service, instance: { host: 'h', port: 1 } }],
      ['instance.register', { service, persistent: true, instance: { host: 'h', port: 1 } }],
      ['service.subscribe', { service }],
      ['service.query', { service }],
    ] as const)
      await expect(provider.client.request(method, params)).rejects.toMatchObject({ data: refused });
    expect((await request('GET', `/v1/instances?service=${service}`)).status).toBe(403);
    await provider.client.request('instance.deregister', { service, id: 'a' });
    await provider.client.request('service.query', { service: 'other' });
    provider.client.close();
  });
});

describe('[SW10] a namespace has no more than its limits', () => {
  const namespace = 'team';
  const put = async (client: RawClient, name: string, id: string): Promise<unknown> =>
    client.request('instance.register', { namespace, service: name, instance: { id, host: 'h', port: 1 } });
  const limits = async (more: object): Promise<void> => set({ kind: 'namespace-limit', namespace, limits: more });

  test('instances and services, over all partitions, also after they died', async () => {
    const { client } = await open();
    for (let at = 0; at < 4; at++) await put(client, `s${at}`, 'a');
    await limits({ instances: 6, services: 5 });
    await put(client, 's4', 'a');
    await expect(put(client, 's5', 'a')).rejects.toMatchObject(refuse('namespaceServices', 5));
    await put(client, 's4', 'b');
    const expectFull = (): Promise<void> =>
      expect(put(client, 's0', 'more')).rejects.toMatchObject(refuse('namespaceInstances', 6));
    await expectFull();
    // What is there can be registered again, and other namespaces go on.
    await put(client, 's0', 'a');
    await register(client, 'x');
    server.inflict(0, 'exit');
    server.inflict(1, 'exit');
    // What is in flight when a partition dies is restored as if it had been done.
    await expect.poll(readIds, { timeout: 10_000 }).toEqual(['x']);
    await expectFull();
    await client.request('instance.deregister', { namespace, service: 's4', id: 'b' });
    await put(client, 's0', 'b');
    await expectFull();
    await limits({ instances: 7 });
    await put(client, 's7', 'b');
    await lift({ kind: 'namespace-limit', namespace });
    await put(client, 's8', 'b');
    const metrics = await (await request('GET', '/metrics')).text();
    expect(metrics).toMatch(/namespaceInstances.* [3-9]/);
    client.close();
  });

  test('sessions that register something, and how fast', async () => {
    const first = await open();
    const second = await open();
    await put(first.client, 's', 'a');
    await limits({ sessions: 1 });
    await expect(put(second.client, 's', 'b')).rejects.toMatchObject(refuse('namespaceSessions', 1));
    await put(first.client, 's', 'c');
    for (const id of ['a', 'c']) await first.client.request('instance.deregister', { namespace, service: 's', id });
    await put(second.client, 's', 'b');
    await limits({ registrationsPerSecond: 3 });
    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, (_, i) => put(second.client, 's', `r${i}`)));
    const refused = outcomes.filter(({ status }) => status === 'rejected');
    expect(refused.length).toBeGreaterThanOrEqual(14);
    expect(refused[0]).toMatchObject({
      reason: { data: { code: 'busy', limit: 'namespaceRegistrationsPerSecond', max: 3 } },
    });
    for (const { client } of [first, second]) client.close();
  });
});

test('[SW1] switches for clients, hosts and namespaces have fields of their own', async () => {
  const refusals: [input: object, field: string][] = [
    [{ kind: 'client-off' }, '/address'],
    [{ kind: 'client-off', address: 'a', app: 'b' }, '/app'],
    [{ kind: 'client-off', app: 'b', namespace: 'public' }, '/namespace'],
    [{ kind: 'host-drain' }, '/host'],
    [{ kind: 'host-drain', host: 'h', service }, '/service'],
    [{ kind: 'push-freeze', group: 'g' }, '/group'],
    [{ kind: 'push-freeze', app: 'a' }, '/app'],
    [{ kind: 'namespace-limit', namespace: 'n' }, '/limits'],
    [{ kind: 'namespace-limit', namespace: 'n', limits: {} }, '/limits'],
    [{ kind: 'namespace-limit', limits: { instances: 1 } }, '/namespace'],
    [{ kind: 'quarantine' }, '/service'],
    [{ kind: 'quarantine', app: 'a', namespace: 'public' }, '/namespace'],
    [{ kind: 'quarantine', session: 'a' }, '/session'],
  ];
  for (const [input, field] of refusals) {
    const response = await request('PUT', '/v1/switches', input);
    expect([input, await response.json()]).toMatchObject([input, { error: { code: 'invalid_params', field } }]);
  }
});

test('[SW1] the command sets and lifts them', async () => {
  for (const [args, undo, text] of [
    [['off', '--app', 'shop'], ['on', '--app', 'shop'], 'client-off app=shop'],
    [
      ['drain', '--host', '10.0.0.1', '--over', '10m'],
      ['drain', '--host', '10.0.0.1', '--lift'],
      'host-drain host=10.0.0.1',
    ],
    [['freeze'], ['thaw'], 'push-freeze'],
    [['guard', 'hold'], ['guard', 'hold', '--lift'], 'guard-hold'],
    [['guard', 'off', service], ['guard', 'off', service, '--lift'], 'guard-off of public/DEFAULT/orders'],
    [['freeze', '--namespace', 'n'], ['thaw', '--namespace', 'n'], 'push-freeze of n/*'],
    [['freeze', service], ['thaw', service], 'push-freeze of public/DEFAULT/orders'],
    [['limit', 'n', '--instances', '5'], ['limit', 'n', '--lift'], 'namespace-limit of n/*'],
    [
      ['quarantine', '--address', '10.0.0.9'],
      ['quarantine', '--address', '10.0.0.9', '--lift'],
      'quarantine address=10.0.0.9',
    ],
  ] as const) {
    expect(await run(...args)).toMatchObject({ status: 0, out: `set ${text}\n` });
    const { out } = await run('switches');
    expect(out.split('\n')).toHaveLength(3);
    if (args[0] === 'guard') {
      const order =
        args[1] === 'hold' ? 'nothing that is lost is removed' : `nothing is held back of public/DEFAULT/${service}`;
      expect((await run('guard')).out.trim().split('\n').at(-1)).toBe(`by order ${order}`);
    }
    if (args.join(' ').includes('--over')) expect(out).toMatch(/ host=10\.0\.0\.1 +over=10m /);
    if (args.join(' ').includes('--instances')) expect(out).toMatch(/ n\/\* +- +instances=5 /);
    expect(await run(...undo)).toMatchObject({ status: 0, out: `lifted ${text}\n` });
  }
  expect((await run('drain', service)).status).toBe(2);
  expect((await run('off')).status).toBe(2);
});

describe('[SW9] operators decide instead of the loss guard', () => {
  beforeEach(async () => {
    await server.stop();
    server = await startFaultyServer({ ...config, dataDir, disconnectGraceMs: 300, lossServiceInstancesMin: 3 });
  });

  test('nothing that is lost is removed while that is ordered, and is when it is lifted', async () => {
    const provider = await open();
    await register(provider.client, 'a');
    await set({ kind: 'guard-hold', service });
    provider.client.socket.terminate();
    await new Promise((resolve) => setTimeout(resolve, 2000));
    expect(await readIds()).toEqual(['a']);
    // It comes first as long as both stand.
    await set({ kind: 'guard-off', service });
    await new Promise((resolve) => setTimeout(resolve, 1000));
    expect(await readIds()).toEqual(['a']);
    await lift({ kind: 'guard-hold', service });
    await expect.poll(readIds, { timeout: 5000 }).toEqual([]);
  });

  test.each([{}, { service }])('nothing is held back while that is ordered: %o', async (scope) => {
    const providers = await Promise.all(['a', 'b', 'c', 'd'].map(async (id) => ({ id, ...(await open()) })));
    for (const { client, id } of providers) await register(client, id);
    if (scope.service === undefined) await set({ kind: 'guard-off' });
    for (const { client } of providers) client.socket.terminate();
    if (scope.service !== undefined) {
      await new Promise((resolve) => setTimeout(resolve, 2000));
      expect(await readIds()).toHaveLength(4);
      await set({ kind: 'guard-off', ...scope });
    }
    await expect.poll(readIds, { timeout: 5000 }).toEqual([]);
  });
});

test('an instance is removed by force, whoever has registered it, and it is said who may bring it back', async () => {
  const older = await open('bank');
  const newer = await open('shop');
  await register(older.client, 'a');
  await register(newer.client, 'a');
  await register(newer.client, 'b');
  await request('PUT', '/v1/instances', { service, instance: { id: 'a', host: 'h', port: 1 } });
  await request('PUT', '/v1/instances', { service, persistent: true, instance: { id: 'a', host: 'h', port: 1 } });
  const { client, pushes } = await watch();
  const { status, out } = await run('deregister', service, 'a', '--force');
  expect(status).toBe(0);
  expect(out).toMatch(/^removed a\n {2}it was persistent\n/);
  for (const name of ['(bank)', '(shop)', 'its caller may register it again']) expect(out).toContain(name);
  expect(out.split('\n')).toHaveLength(6);
  await expect.poll(readIds).toEqual(['b']);
  await expect.poll(() => pushes.at(-1)).toMatchObject({ count: 1, remove: ['a'] });
  const again = await run('deregister', service, 'a', '--force');
  expect(again).toMatchObject({ status: 3, err: expect.stringContaining('not_found') as string });
  await register(newer.client, 'a');
  expect(await readIds()).toEqual(['a', 'b']);
  const held = (await newer.client.request('session.registrations', {})) as { registrations: { id: string }[] };
  expect(held.registrations.map(({ id }) => id).sort()).toEqual(['a', 'b']);
  for (const each of [older.client, newer.client, client]) each.close();
});

test('[SW6] [HC3] operators see what was registered, with its check, and without what they have ordered', async () => {
  const provider = await open('shop');
  const instance = { id: 'a', host: '10.0.0.1', port: 1, check: { kind: 'ttl', intervalMs: 60_000 } };
  await provider.client.request('instance.register', { service, instance });
  await set({ kind: 'client-off', app: 'shop' });
  await set({ kind: 'host-drain', host: '10.0.0.1' });
  const answer = await request('GET', `/v1/inspection/service?service=${service}`);
  expect(await answer.json()).toMatchObject({
    claims: [{ id: 'a', registered: { ...instance, weight: 100, enabled: true }, owner: { app: 'shop' } }],
  });
  const { claims } = (await (await request('GET', `/v1/inspection/service?service=${service}`)).json()) as {
    claims: { registered: object }[];
  };
  expect(claims[0]!.registered).not.toHaveProperty('mark');
  provider.client.close();
});
