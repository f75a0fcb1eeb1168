import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { afterEach, expect, test } from 'vitest';

import { ioThreads } from '../support/io-threads.ts';
import { RawClient } from '../support/raw-client.ts';

const started: Server[] = [];

async function start(config: Parameters<typeof startServer>[0] = {}): Promise<Server> {
  const server = await startServer({ port: 0, ioThreads, partitions: 2, logLevel: 'silent', warmUpMs: 0, ...config });
  started.push(server);
  return server;
}

afterEach(async () => {
  await Promise.all(started.splice(0).map((server) => server.stop()));
});

async function readJson(server: Server, path: string): Promise<{ status: number; body: unknown }> {
  const response = await fetch(`${server.address.httpUrl}${path}`);
  return { status: response.status, body: await response.json() };
}

test('startServer says where it listens, is live and ready, and spreads the slots evenly', async () => {
  const server = await start({ partitions: 3 });
  expect(server.address.url).toBe(`ws://127.0.0.1:${server.address.port}/v1/session`);
  expect(await readJson(server, '/health/live')).toEqual({ status: 200, body: { status: 'live' } });
  const ready = { status: 'ready', waitingFor: [], store: { available: true } };
  expect(await readJson(server, '/health/ready')).toEqual({ status: 200, body: ready });
  const { body } = await readJson(server, '/v1/stats');
  const { partitions } = body as { partitions: { slots: number }[] };
  expect(partitions.map(({ slots }) => slots).sort((a, b) => a - b)).toEqual([5461, 5461, 5462]);
});

test('a port that is in use is refused, not shared', async () => {
  const server = await start();
  await expect(startServer({ port: server.address.port, partitions: 1, logLevel: 'silent' })).rejects.toThrow(
    /cannot listen/,
  );
});

test('stopping says goodbye with a time to come back, turns newcomers away, and closes with 1001 who does not leave', async () => {
  const server = await start({ drainTimeoutMs: 400, reconnectSpreadMs: 300 });
  const client = await RawClient.open(server.address.url);
  const goaway = client.nextNotification((method) => method === 'session.goaway');
  const stopped = server.stop();
  const { params } = await goaway;
  expect(params).toMatchObject({ reason: 'stopping' });
  expect((params as { reconnectAfterMs: number }).reconnectAfterMs).toBeLessThanOrEqual(300);
  await expect(client.request('service.query', { service: 'pay' })).rejects.toMatchObject({
    data: { code: 'draining' },
  });
  await expect(RawClient.open(server.address.url)).rejects.toThrow();
  expect((await client.closed).code).toBe(1001);
  await stopped;
});

test('[PU5] while the registry stops, subscribers that are still there do not see the others go', async () => {
  const server = await start({ drainTimeoutMs: 400 });
  const [provider, watcher] = await Promise.all([
    RawClient.open(server.address.url),
    RawClient.open(server.address.url),
  ]);
  await provider.request('instance.register', { service: 'pay', instance: { host: 'h', port: 1 } });
  await watcher.request('service.subscribe', { service: 'pay' });
  const seen: string[] = [];
  watcher.onNotification = (method) => seen.push(method);
  const stopped = server.stop();
  provider.close();
  await watcher.closed;
  await stopped;
  expect(seen).toEqual(['session.goaway']);
});

test('stopping twice is stopping once', async () => {
  const server = await start();
  await Promise.all([server.stop(), server.stop()]);
  await expect(readJson(server, '/health/live')).rejects.toThrow();
});

test.each([
  [{ prot: 1 }, /unknown setting "prot"/],
  [{ port: '80' }, /port must be a whole number from 0 to 65535, not "80"/],
  [{ partitions: 0 }, /partitions must be a whole number from 1 to 256/],
  [{ logLevel: 'loud' }, /logLevel must be one of fatal/],
  [{ allowedOrigins: 'x' }, /allowedOrigins must be a list of strings/],
  [{ leaseTtlMinMs: 40_000 }, /leaseTtlDefaultMs must lie between/],
])('[LI1] settings %j are refused by name', async (config, message) => {
  await expect(startServer(config as object)).rejects.toThrow(message);
});
