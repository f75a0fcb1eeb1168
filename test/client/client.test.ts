import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';

import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { ClosedError, connect, ConnectionLostError, RequestError } from 'slotcast/client';
import type { Change, Client, ClientOptions, Subscription } from 'slotcast/client';
import { afterEach, expect, test } from 'vitest';
import { WebSocket as WsWebSocket, WebSocketServer } from 'ws';

import { findFreePort } from '../support/free-port.ts';
import { Wire } from '../support/wire.ts';

/**
 * `TEST_WEB_SOCKET=global` tries the WebSocket that Node brings, with `--experimental-websocket` or from Node 22 on; by default it is
 * that of the package `ws`, also where there is a global one.
 */
const webSocket = { WebSocket: process.env['TEST_WEB_SOCKET'] === 'global' ? globalThis.WebSocket : WsWebSocket };

const stops: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  // Clients before what they are connected to.
  for (const stop of stops.splice(0).toReversed()) await stop();
});

async function start(settings: { port?: number; disconnectGraceMs?: number; warmUpMs?: number } = {}): Promise<Server> {
  const server = await startServer({
    port: 0,
    partitions: 2,
    logLevel: 'silent',
    drainTimeoutMs: 200,
    reconnectSpreadMs: 20,
    ...settings,
  });
  stops.push(() => server.stop());
  return server;
}

function urlOf({ address }: Server): string {
  return `ws://${address.host}:${address.port}`;
}

function open(server: string, options: Partial<ClientOptions> = {}): Client {
  const client = connect({ servers: [server], backoffMinMs: 10, backoffMaxMs: 100, ...webSocket, ...options });
  stops.push(() => client.close());
  return client;
}

function until<T>(listen: (settle: (value: T) => void) => () => void): Promise<T> {
  return new Promise((resolve) => {
    const stop = listen((value) => {
      // After the listener has been added, also when it settles at once.
      queueMicrotask(() => {
        stop();
      });
      resolve(value);
    });
  });
}

/** Resolves when the view satisfies the condition. */
async function untilView(view: Subscription, holds: (view: Subscription) => boolean): Promise<void> {
  if (holds(view)) return;
  await until<void>((settle) => {
    const check = (): void => {
      if (holds(view)) settle();
    };
    const stops = [view.on('change', check), view.on('fresh', check), view.on('stale', check)];
    return () => {
      for (const stop of stops) stop();
    };
  });
}

const host = '127.0.0.1';

/** A wire to the server that is taken down with the test. */
async function startProxy(port: number): Promise<Wire> {
  const wire = await Wire.start(port);
  stops.push(() => wire.stop());
  return wire;
}

test('two clients find each other: register, query, list, subscribe, change, deregister', async () => {
  const server = urlOf(await start({ warmUpMs: 0 }));
  const provider = open(server, { app: 'provider' });
  const consumer = open(server);
  const view = await consumer.subscribe('greeter');
  expect(view.instances).toEqual([]);
  expect(view.isStale).toBe(false);
  const changes = view[Symbol.asyncIterator]();
  const registration = await provider.register('greeter', { host, port: 8080, metadata: { zone: 'a' } });
  const { value: added } = await changes.next();
  expect(added).toMatchObject({ put: [{ id: '127.0.0.1:8080', weight: 100, enabled: true }], removed: [] });
  expect(added?.version).toBe(registration.version);
  expect(view.get('127.0.0.1:8080')?.metadata).toEqual({ zone: 'a' });
  expect(await consumer.query('greeter')).toEqual({ version: view.version, instances: view.instances });
  expect(await consumer.list({ prefix: 'greet' })).toEqual({
    services: [{ namespace: 'public', group: 'DEFAULT', service: 'greeter', instances: 1 }],
  });
  await registration.deregister();
  const { value: gone } = await changes.next();
  expect(gone).toMatchObject({ put: [], removed: [{ id: '127.0.0.1:8080' }], instances: [] });
  await expect(registration.deregister()).rejects.toMatchObject({ code: 'not_found' });
});

test('refusals arrive as RequestError with the facts in fields', async () => {
  const client = open(urlOf(await start()));
  const refused = client.register('greeter', { host, port: 0 });
  await expect(refused).rejects.toBeInstanceOf(RequestError);
  await expect(refused).rejects.toMatchObject({
    code: 'invalid_params',
    field: '/instance/port',
    message: 'instance.port must be >= 1',
  });
});

test('a slow iteration gets changes merged, and only what is different', async () => {
  const server = urlOf(await start());
  const provider = open(server);
  const view = await open(server).subscribe('greeter');
  const changes = view[Symbol.asyncIterator]();
  await provider.register('greeter', { host, port: 1 });
  await provider.register('greeter', { host, port: 2 });
  await provider.deregister('greeter', `${host}:1`);
  await provider.register('greeter', { host, port: 3 });
  await untilView(view, ({ instances }) => instances.map(({ port }) => port).join() === '2,3');
  const { value } = await changes.next();
  expect(value?.put.map(({ port }) => port)).toEqual([2, 3]);
  expect(value?.removed).toEqual([]);
});

test('[SE2] a broken connection is made again within the grace, and nobody else hears of it', async () => {
  const server = await start({ disconnectGraceMs: 5000 });
  const proxy = await startProxy(server.address.port);
  const provider = open(proxy.url);
  const view = await open(urlOf(server)).subscribe('greeter');
  await provider.register('greeter', { host, port: 8080 });
  await untilView(view, ({ instances }) => instances.length === 1);
  const heard: Change[] = [];
  view.on('change', (change) => heard.push(change));
  const disconnected = until((settle) => provider.on('disconnected', settle));
  proxy.cut();
  await disconnected;
  await provider.whenConnected();
  // Answered after the registration, which goes out first; then one more change shows that pushes flow.
  await provider.register('greeter', { host, port: 8081 });
  await untilView(view, ({ instances }) => instances.length === 2);
  expect(heard.flatMap(({ removed }) => removed)).toEqual([]);
  expect(heard.flatMap(({ put }) => put.map(({ port }) => port))).toEqual([8081]);
});

test('while cut off a view keeps its list and says that it is stale; afterwards it tells what was missed', async () => {
  const server = await start();
  const proxy = await startProxy(server.address.port);
  const provider = open(urlOf(server));
  await provider.register('greeter', { host, port: 1 });
  const view = await open(proxy.url, { backoffMinMs: 300, backoffMaxMs: 300 }).subscribe('greeter');
  const stale = until((settle) => view.on('stale', settle));
  proxy.cut();
  await stale;
  expect(view.isStale).toBe(true);
  expect(view.instances.map(({ port }) => port)).toEqual([1]);
  await provider.register('greeter', { host, port: 2 });
  await provider.deregister('greeter', `${host}:1`);
  const change = await until<Change>((settle) => view.on('change', settle));
  expect(change.put.map(({ port }) => port)).toEqual([2]);
  expect(change.removed.map(({ port }) => port)).toEqual([1]);
  await untilView(view, ({ isStale }) => !isStale);
});

test('[SE3] a half-open connection is noticed by the client', async () => {
  const server = await start();
  const proxy = await startProxy(server.address.port);
  const client = open(proxy.url, { keepAliveMs: 100, keepAliveTimeoutMs: 100 });
  await client.whenConnected();
  const disconnected = until<{ cause: string }>((settle) => client.on('disconnected', settle));
  proxy.freeze();
  expect((await disconnected).cause).toMatch(/silent for/);
  await client.whenConnected();
});

test('after goaway and a restart of the server, everything that stands is there again', async () => {
  const port = await findFreePort();
  const first = await start({ port });
  const provider = open(urlOf(first));
  const consumer = open(urlOf(first));
  await provider.register('greeter', { host, port: 8080 });
  const view = await consumer.subscribe('greeter');
  const goaway = until((settle) => consumer.on('goaway', settle));
  await first.stop();
  await goaway;
  await untilView(view, ({ isStale }) => isStale);
  expect(view.instances).toHaveLength(1);
  await start({ port });
  await untilView(view, ({ isStale, instances }) => !isStale && instances.length === 1);
  expect(view.instances[0]?.port).toBe(8080);
});

test('without a server calls fail in time, and the client goes on trying', async () => {
  const port = await findFreePort();
  const first = await start({ port });
  await first.stop();
  const client = open(urlOf(first), { requestTimeoutMs: 200 });
  await expect(client.list()).rejects.toBeInstanceOf(ConnectionLostError);
  await start({ port });
  await until((settle) => client.on('connected', settle));
  expect(client.isConnected).toBe(true);
});

test('[SE2] closing removes at once, ends iterations, and settles what waits', async () => {
  const server = urlOf(await start({ disconnectGraceMs: 600_000 }));
  const provider = open(server);
  const view = await open(server).subscribe('greeter');
  await provider.register('greeter', { host, port: 8080 });
  const own = await provider.subscribe('greeter');
  const ended = own[Symbol.asyncIterator]().next();
  const waiting = provider.query('greeter');
  const refused = waiting.catch((error: unknown) => error);
  await provider.close();
  expect(await refused).toBeInstanceOf(ClosedError);
  expect((await ended).done).toBe(true);
  expect(own.isClosed).toBe(true);
  await untilView(view, ({ instances }) => instances.length === 0);
  await expect(provider.register('greeter', { host, port: 1 })).rejects.toBeInstanceOf(ClosedError);
});

test('with a filter a view and an answer hold what it lets through, also after a break', async () => {
  const server = await start();
  const proxy = await startProxy(server.address.port);
  const provider = open(urlOf(server));
  const watcher = open(proxy.url);
  await provider.register('search', { host: 'a', port: 1, zone: 'z1', metadata: { tier: 'gold' } });
  await provider.register('search', { host: 'b', port: 1, zone: 'z1', enabled: false });
  const filter = { zone: 'z1', enabledOnly: true };
  const view = await watcher.subscribe('search', filter);
  expect(view.instances.map(({ id }) => id)).toEqual(['a:1']);
  await provider.register('search', { host: 'b', port: 1, zone: 'z1' });
  await untilView(view, ({ instances }) => instances.length === 2);
  expect((await watcher.query('search', { selector: { tier: 'gold' } })).instances.map(({ id }) => id)).toEqual([
    'a:1',
  ]);
  proxy.cut();
  await untilView(view, ({ isStale }) => isStale);
  await provider.register('search', { host: 'b', port: 1, zone: 'z2' });
  await untilView(view, ({ isStale, instances }) => !isStale && instances.length === 1);
  const same = await watcher.subscribe('search', { enabledOnly: true, zone: 'z1', selector: {} });
  expect(same.instances).toBe(view.instances);
  const other = await watcher.subscribe('search', { zone: 'z2' });
  expect(other.instances.map(({ id }) => id)).toEqual(['b:1']);
  await provider.register('search', { host: 'c', port: 1, zone: 'z2' });
  await untilView(other, ({ instances }) => instances.length === 2);
  expect(view.instances.map(({ id }) => id)).toEqual(['a:1']);
});

test('subscriptions to one service share a view, and each is closed by itself', async () => {
  const server = urlOf(await start());
  const client = open(server);
  const [first, second] = await Promise.all([client.subscribe('greeter'), client.subscribe('greeter')]);
  first.close();
  await open(server).register('greeter', { host, port: 1 });
  await untilView(second, ({ instances }) => instances.length === 1);
  expect(first.isClosed).toBe(true);
  expect(second.isStale).toBe(false);
});

test('[SE6] asked to go while the next server hangs, it is served where it is, and others see nothing leave', async () => {
  const server = await start();
  const silent = createServer((socket) => socket.on('error', () => socket.destroy()));
  silent.listen(0, host);
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;
  const sockets: Socket[] = [];
  silent.on('connection', (socket) => sockets.push(socket));
  stops.push(async () => {
    for (const socket of sockets) socket.destroy();
    silent.close();
    await once(silent, 'close');
  });
  const provider = open(urlOf(server), { servers: [urlOf(server), `ws://${host}:${port}`], connectTimeoutMs: 300 });
  const view = await open(urlOf(server)).subscribe('greeter');
  await provider.register('greeter', { host, port: 1 });
  await untilView(view, ({ instances }) => instances.length === 1);
  const removed: Change[] = [];
  view.on('change', (change) => {
    if (change.removed.length > 0) removed.push(change);
  });
  const unreachable = until<{ server: string }>((settle) => provider.on('unreachable', settle));
  const moved = until((settle) => {
    const stop = provider.on('connected', settle);
    return stop;
  });
  await fetch(`${server.address.httpUrl}/v1/sessions/goaway`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: '{"spreadMs":10}',
  });
  expect((await unreachable).server).toContain(String(port));
  expect(provider.isConnected).toBe(true);
  // Served meanwhile.
  await provider.register('greeter', { host, port: 2 });
  // The move may come in between; until then it is not known to be done.
  await provider.deregister('greeter', `${host}:2`, { untilApplied: true });
  await moved;
  await provider.register('greeter', { host, port: 3 });
  await untilView(view, ({ instances }) => instances.map(({ port }) => port).join() === '1,3');
  expect(removed.flatMap((change) => change.removed.map(({ id }) => id))).not.toContain(`${host}:1`);
});

test('a try that is refused fails at once, with every WebSocket', async () => {
  const port = await findFreePort();
  const client = open(`ws://${host}:${port}`, { connectTimeoutMs: 60_000 });
  const { server } = await until<{ server: string }>((settle) => client.on('unreachable', settle));
  expect(server).toBe(`ws://${host}:${port}/v1/session`);
});

test('[PU5] another registry of the list is named so, and what was known stays until providers are there', async () => {
  const [first, second] = [await start(), await start()];
  const servers = [urlOf(first), urlOf(second)];
  const provider = open(servers[0]!, { servers, backoffMinMs: 400, backoffMaxMs: 400 });
  await provider.register('greeter', { host, port: 1 });
  const viewer = open(servers[0]!, { servers, returnAfterMs: 0 });
  const view = await viewer.subscribe('greeter');
  const sizes: number[] = [];
  view.on('change', ({ instances }) => sizes.push(instances.length));
  const registry = until<{ registry: string; previous: string }>((settle) => viewer.on('registry', settle));
  await first.stop();
  const { registry: present, previous } = await registry;
  expect(present).not.toBe(previous);
  await untilView(view, ({ isStale }) => !isStale);
  expect(view.instances).toHaveLength(1);
  expect(sizes.filter((size) => size < 1)).toEqual([]);
});

test('what is to stand from the start does so though there is no registry yet', async () => {
  const port = await findFreePort();
  const client = open(`ws://${host}:${port}`, { requestTimeoutMs: 200 });
  const registration = await client.register('greeter', { host, port: 1 }, { standing: true });
  const view = await client.subscribe('greeter', { standing: true });
  expect([registration.isPending, view.isPending, view.isStale]).toEqual([true, true, true]);
  await expect(registration.whenApplied()).rejects.toBeInstanceOf(ConnectionLostError);
  await start({ port });
  await Promise.all([registration.whenApplied({ timeoutMs: 10_000 }), view.whenApplied({ timeoutMs: 10_000 })]);
  await untilView(view, ({ instances }) => instances.length === 1);
  expect([registration.isPending, view.isPending]).toEqual([false, false]);
});

test('a call ends when its signal says so, or its own time is over', async () => {
  const port = await findFreePort();
  const client = open(`ws://${host}:${port}`);
  const abort = new AbortController();
  const calls = [
    client.register('greeter', { host, port: 1 }, { signal: abort.signal }),
    client.subscribe('greeter', { signal: abort.signal }),
    client.query('greeter', { signal: abort.signal }),
    client.list({ signal: abort.signal }),
    client.whenConnected({ signal: abort.signal }),
  ];
  const outcomes = Promise.allSettled(calls);
  abort.abort(new Error('enough'));
  for (const outcome of await outcomes) {
    expect(outcome).toMatchObject({ status: 'rejected', reason: { message: 'enough' } });
  }
  await expect(client.query('greeter', { signal: abort.signal })).rejects.toThrow('enough');
  await expect(client.list({ timeoutMs: 20 })).rejects.toMatchObject({ timeoutMs: 20 });
  await expect(client.list({ timeoutMs: 0 })).rejects.toMatchObject({ option: 'timeoutMs' });
});

test('what is handed out is frozen all the way down', async () => {
  const client = open(urlOf(await start()));
  await client.register('greeter', { host, port: 1, metadata: { tier: 'gold' } });
  const view = await client.subscribe('greeter');
  for (const { instances } of [view, await client.query('greeter')]) {
    const [instance] = instances;
    expect([Object.isFrozen(instance), Object.isFrozen(instance?.metadata)]).toEqual([true, true]);
  }
});

test('an iteration that is left is over at once, and holds nothing', async () => {
  const client = open(urlOf(await start()));
  const view = await client.subscribe('greeter');
  const unused = view[Symbol.asyncIterator]();
  expect(await unused.return?.()).toEqual({ done: true, value: undefined });
  const changes = view[Symbol.asyncIterator]();
  const next = changes.next();
  expect(await changes.return?.()).toEqual({ done: true, value: undefined });
  expect(await next).toEqual({ done: true, value: undefined });
  await client.register('greeter', { host, port: 1 });
  await untilView(view, ({ instances }) => instances.length === 1);
  expect(await unused.next()).toEqual({ done: true, value: undefined });
});

test('a client, a registration and a subscription can be disposed of', async () => {
  const server = urlOf(await start());
  const client = open(server);
  const view = await open(server).subscribe('greeter');
  const registration = await client.register('greeter', { host, port: 1 });
  const own = await client.subscribe('greeter');
  await untilView(view, ({ instances }) => instances.length === 1);
  await registration[Symbol.asyncDispose]();
  await untilView(view, ({ instances }) => instances.length === 0);
  await registration[Symbol.asyncDispose]();
  own[Symbol.dispose]();
  expect(own.isClosed).toBe(true);
  await client[Symbol.asyncDispose]();
  await expect(client.list()).rejects.toMatchObject({ name: 'ClosedError', closed: 'client' });
});

test('[WP6] a client whose version no server speaks any more says so, ends, and connects no more', async () => {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  stops.push(() => new Promise((resolve) => server.close(resolve)));
  let connections = 0;
  server.on('connection', (socket) => {
    connections += 1;
    socket.on('message', (bytes: Buffer) => {
      const { id } = JSON.parse(bytes.toString()) as { id: number };
      const error = { code: -32_007, message: 'too old', data: { code: 'unsupported_version' } };
      socket.send(JSON.stringify({ jsonrpc: '2.0', id, error }));
    });
  });
  await once(server, 'listening');
  const client = open(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const closed = until((settle) => client.on('closed', settle));
  const subscription = await client.subscribe('greeter', { standing: true });
  await expect(client.whenConnected()).rejects.toMatchObject({ name: 'RequestError', code: 'unsupported_version' });
  await closed;
  expect(subscription.isClosed).toBe(true);
  await expect(client.query('greeter')).rejects.toMatchObject({ code: 'unsupported_version' });
  await client.close();
  expect(connections).toBe(1);
});
