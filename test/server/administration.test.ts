import { pino } from 'pino';
import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';

import { httpOperations } from '../../src/protocol/http-operations.ts';
import { createValidator } from '../../src/sessions/validation.ts';
import { slotCount, slotOf } from '../../src/slots/slot.ts';
import { runCommand } from '../support/command.ts';
import { ioThreads } from '../support/io-threads.ts';
import { RawClient } from '../support/raw-client.ts';
import { RawSocket } from '../support/raw-socket.ts';
import { SubscriberView } from '../support/subscriber-view.ts';

let server: Server;

beforeEach(async () => {
  server = await startServer({ port: 0, ioThreads, partitions: 1, logLevel: 'silent', warmUpMs: 0 });
});
afterEach(() => server.stop());

async function call(
  method: string,
  path: string,
  body?: unknown,
  url: string | undefined = server.address.httpUrl,
): Promise<{ status: number; body: Record<string, never> }> {
  const response = await fetch(`${url}${path}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  return { status: response.status, body: (await response.json()) as Record<string, never> };
}

interface Move {
  readonly isRunning: boolean;
  readonly slotsToMove: number;
  readonly slotsMoved: number;
}

/** Waits for the change under way. */
async function waitUntilMoved(): Promise<Move> {
  const read = async (): Promise<Move> => (await call('GET', '/v1/partitions')).body.move as unknown as Move;
  await expect.poll(read, { timeout: 10_000 }).toMatchObject({ isRunning: false });
  return read();
}

function run(...args: string[]): ReturnType<typeof runCommand> {
  return runCommand([...args, '--server', `ws://127.0.0.1:${server.address.port}`]);
}

test('[SL3] the number of partitions is raised and lowered over HTTP, and subscribers notice nothing', async () => {
  const client = await RawClient.open(server.address.url);
  const services = Array.from({ length: 30 }, (_, i) => `service-${i}`);
  const views = new Map<string, SubscriberView>();
  let pushes = 0;
  client.onNotification = (_, params) => {
    pushes += 1;
    views.get(String(params.service))?.take(params as never);
  };
  for (const service of services) {
    await client.request('instance.register', { service, instance: { host: 'h', port: 1 } });
    const view = new SubscriberView();
    view.begin(await client.request('service.subscribe', { service }));
    views.set(service, view);
  }
  for (const partitions of [3, 2]) {
    const started = await call('PUT', '/v1/partitions', { partitions });
    expect(started).toMatchObject({ status: 200, body: { move: { kind: 'resize', isRunning: true, partitions } } });
    await waitUntilMoved();
    const { body } = await call('GET', '/v1/partitions');
    const { partitions: after, move } = body as unknown as {
      partitions: { state: string; slots: number }[];
      move: Record<string, number>;
    };
    expect(after).toHaveLength(partitions);
    expect(after.every(({ state }) => state === 'ready')).toBe(true);
    expect(after.reduce((sum, { slots }) => sum + slots, 0)).toBe(16_384);
    expect(move['slotsMoved']).toBe(move['slotsToMove']);
  }
  expect(pushes).toBe(0);
  for (const service of services) {
    await client.request('instance.register', { service, instance: { host: 'late', port: 2 } });
  }
  await expect.poll(() => [...views.values()].every(({ instances }) => instances.size === 2)).toBe(true);
});

test('[SL3] load is evened out while subscribers notice nothing', async () => {
  const client = await RawClient.open(server.address.url);
  expect((await call('PUT', '/v1/partitions', { partitions: 2 })).status).toBe(200);
  await waitUntilMoved();
  const services = Array.from({ length: 200 }, (_, i) => `service-${i}`);
  const views = new Map<string, SubscriberView>();
  let pushes = 0;
  client.onNotification = () => (pushes += 1);
  for (const service of services) {
    // Nothing on the second partition.
    if (slotOf(`public/DEFAULT/${service}`) >= slotCount / 2) continue;
    await client.request('instance.register', { service, instance: { host: 'h', port: 1 } });
    const view = new SubscriberView();
    view.begin(await client.request('service.subscribe', { service }));
    views.set(service, view);
  }
  expect((await call('PUT', '/v1/rebalance')).body.move).toMatchObject({ kind: 'rebalance', isRunning: true });
  const move = await waitUntilMoved();
  expect(move.slotsMoved).toBe(move.slotsToMove);
  expect(move.slotsMoved).toBeGreaterThan(views.size / 4);
  expect(pushes).toBe(0);
  for (const [service, { version, instances }] of views) {
    expect(await client.request('service.query', { service })).toMatchObject({
      version,
      instances: [...instances.values()],
    });
  }
});

test('[PU5] many connections that break at once are held back, shown, logged, and let go', async () => {
  const lines: string[] = [];
  const logger = pino({ level: 'warn', base: null }, { write: (line: string) => void lines.push(line) });
  const guarded = await startServer(
    { port: 0, ioThreads, partitions: 2, disconnectGraceMs: 100, lossSessionsMin: 5, lossSessionsPercent: 40 },
    { logger },
  );
  onTestFinished(() => guarded.stop());
  const { url, httpUrl } = guarded.address;
  const watcher = await RawClient.open(url);
  const clients = await Promise.all(Array.from({ length: 10 }, () => RawClient.open(url)));
  for (const [i, client] of clients.entries()) {
    await client.request('instance.register', {
      service: i < 3 ? 'pay' : 'book',
      instance: { host: 'h', port: i + 1 },
    });
  }
  const view = new SubscriberView();
  view.begin(await watcher.request('service.subscribe', { service: 'book' }));
  watcher.onNotification = (method, params) => {
    if (method === 'service.changed') view.take(params as never);
  };
  for (const client of clients) client.terminate();
  const readGuard = async (): Promise<unknown> => (await call('GET', '/v1/guard', undefined, httpUrl)).body;
  await expect.poll(readGuard).toMatchObject({ isHolding: true, missingSessions: 10, heldSessions: 10, sessions: 10 });
  expect(await readGuard()).toMatchObject({
    heldInstances: 10,
    services: [],
    thresholds: { lossSessionsMin: 5, lossSessionsPercent: 40 },
  });
  expect((await call('GET', '/v1/stats', undefined, httpUrl)).body).toMatchObject({
    held: 10,
    counters: { loss_guard_tripped: 1, loss_held: 10 },
  });
  expect(view.instances.size).toBe(7);

  for (const body of [{ service: '' }, { namespace: 'n' }, { more: 1 }, []]) {
    const refused = await call('PUT', '/v1/guard/release', body, httpUrl);
    expect(refused).toMatchObject({ status: 400, body: { error: { code: 'invalid_params' } } });
  }
  expect((await call('PUT', '/v1/guard/release', { service: 'book' }, httpUrl)).status).toBe(200);
  await expect.poll(() => view.instances.size).toBe(0);
  expect(await readGuard()).toMatchObject({ isHolding: true, heldSessions: 3, heldInstances: 3 });
  expect((await call('PUT', '/v1/guard/release', {}, httpUrl)).body).toMatchObject({ isHolding: false });
  await expect.poll(readGuard).toMatchObject({ heldSessions: 0, missingSessions: 0, sessions: 0 });
  const logged = lines.map((line) => JSON.parse(line) as { kind: string; missing: number; total: number });
  // One guard for all threads.
  expect(logged).toMatchObject([
    { kind: 'tripped', missing: 10, total: 10 },
    { kind: 'cleared', missing: 3, total: 3 },
  ]);
});

test('a second change is refused while one is under way', async () => {
  // On one connection, so that it is told which comes first; new threads take longer to start than the second takes to come.
  const socket = await RawSocket.connect(server.address.httpPort!);
  const body = '{"partitions":4}';
  const host = 'Host: localhost\r\n';
  socket.write(
    `PUT /v1/partitions HTTP/1.1\r\n${host}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}` +
      `PUT /v1/rebalance HTTP/1.1\r\n${host}Content-Length: 0\r\n\r\n`,
  );
  expect((await socket.readReply()).status).toBe(200);
  const { status, body: refusal } = await socket.readReply();
  expect(status).toBe(503);
  expect(JSON.parse(refusal)).toMatchObject({ error: { code: 'busy', retryAfterMs: 1000 } });
  socket.destroy();
});

test.each([{ partitions: 0 }, { partitions: 257 }, { partitions: '2' }, {}, { partitions: 2, more: 1 }])(
  '[WP3] a resize to %j is refused',
  async (body) => {
    expect(await call('PUT', '/v1/partitions', body)).toMatchObject({
      status: 400,
      body: { error: { code: 'invalid_params' } },
    });
    expect(server.partitions).toBe(1);
  },
);

test('the command shows partitions, changes their number, shows how it goes, and evens out load', async () => {
  expect((await run('partitions')).out).toBe('PARTITION  STATE  SLOTS\n0          ready  16384\n');
  const raised = await run('partitions', '2');
  expect(raised).toMatchObject({
    status: 0,
    out: 'PARTITION  STATE  SLOTS\n0          ready  8192\n1          ready  8192\n',
  });
  expect(raised.err).toMatch(/\d+ of \d+ slots moved/);
  const evened = await run('rebalance', '--json');
  expect(JSON.parse(evened.out)).toMatchObject({ move: { kind: 'rebalance', isRunning: false, slotsToMove: 0 } });
});

test.each([
  [['partitions', '0'], 2],
  [['partitions', 'x'], 2],
])('%j ends with status %i', async (args, status) => {
  expect((await run(...args)).status).toBe(status);
});

test('a registry that cannot be asked for a change ends with status 4', async () => {
  expect((await runCommand(['partitions', '--server', 'ws://127.0.0.1:1'])).status).toBe(4);
});

test.each(['readStats', 'readPartitions', 'readGuard', 'listSessions'] as const)(
  'what %s answers is as its schema says',
  async (operation) => {
    const { path, result } = httpOperations[operation];
    const client = await RawClient.open(server.address.url);
    await client.request('instance.register', { service: 'pay', instance: { host: 'h', port: 1 } });
    const { body } = await call('GET', path);
    expect(createValidator(result)(body)).toEqual({ ok: true, value: body });
    // A validator that let everything through would have said nothing.
    expect(createValidator(result)({ ...body, more: 1 })).toMatchObject({ ok: false });
    client.close();
  },
);
