import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { isLoopback } from '../../src/main/transport.ts';
import { runCommand } from '../support/command.ts';
import { RawClient } from '../support/raw-client.ts';
import { SubscriberView } from '../support/subscriber-view.ts';

let server: Server;

beforeEach(async () => {
  server = await startServer({ port: 0, partitions: 1, logLevel: 'silent' });
});
afterEach(() => server.stop());

async function call(
  method: string,
  path: string,
  body?: unknown,
): Promise<{ status: number; body: Record<string, never> }> {
  const response = await fetch(`http://127.0.0.1:${server.address.port}${path}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  return { status: response.status, body: (await response.json()) as Record<string, never> };
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
    await expect
      .poll(async () => (await call('GET', '/v1/partitions')).body.move, { timeout: 10_000 })
      .toMatchObject({ isRunning: false });
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

test('a second change is refused while one is under way', async () => {
  const answers = await Promise.all([call('PUT', '/v1/partitions', { partitions: 4 }), call('PUT', '/v1/rebalance')]);
  // Which of the two came first is not told.
  expect(answers.map(({ status }) => status).sort((a, b) => a - b)).toEqual([200, 503]);
  expect(answers.find(({ status }) => status === 503)?.body).toMatchObject({
    error: { code: 'busy', retryAfterMs: 1000 },
  });
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

test.each([
  ['127.0.0.1', [127, 0, 0, 1], true],
  ['127.255.255.254', [127, 255, 255, 254], true],
  ['10.0.0.1', [10, 0, 0, 1], false],
  ['::1', [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], true],
  ['::ffff:127.0.0.1', [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1], true],
  ['::ffff:10.0.0.1', [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1], false],
  ['::2', [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2], false],
  ['fe80::1', [254, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], false],
  ['no address', [], false],
])('%s is a loopback address or not', (_, bytes, expected) => {
  expect(isLoopback(Uint8Array.from(bytes))).toBe(expected);
});
