import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { ioThreads } from '../support/io-threads.ts';
import { RawClient } from '../support/raw-client.ts';

interface Opened {
  readonly session: string;
  readonly secret: string;
  readonly resumed?: { readonly registrations: number; readonly digest: string };
}

let server: Server;
const clients: RawClient[] = [];

beforeEach(async () => {
  server = await startServer({
    port: 0,
    ioThreads,
    partitions: 2,
    logLevel: 'silent',
    warmUpMs: 0,
    disconnectGraceMs: 1000,
  });
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.terminate();
  await server.stop();
});

async function connect(): Promise<RawClient> {
  const client = await RawClient.open(server.address.url);
  clients.push(client);
  return client;
}

function open(client: RawClient, resume?: string): Promise<Opened> {
  return client.request('session.open', { client: 'raw/1', ...(resume === undefined ? {} : { resume }) });
}

async function registerAll(client: RawClient, count: number): Promise<void> {
  const instances = Array.from({ length: count }, (_, i) => ({ host: 'h', port: i + 1 }));
  await Promise.all(instances.map((instance) => client.request('instance.register', { service: 'pay', instance })));
}

async function countInstances(client: RawClient): Promise<number> {
  const { instances } = await client.request<{ instances: unknown[] }>('service.query', { service: 'pay' });
  return instances.length;
}

// With I/O threads connections go to them in turn, so every second comes back on another one.
test('[SE8] [SE2] over real sockets a session is taken over again and again, whatever end the connections had', async () => {
  const watcher = await connect();
  let holder = await connect();
  const { secret, session } = await open(holder);
  await registerAll(holder, 50);
  await watcher.request('service.subscribe', { service: 'pay' });
  let digest: string | undefined;
  for (let round = 0; round < 9; round++) {
    if (round % 3 === 0) holder.terminate();
    const next = await connect();
    const opened = await open(next, secret);
    expect(opened).toMatchObject({ session, secret, resumed: { registrations: 50 } });
    digest ??= opened.resumed?.digest;
    expect(opened.resumed?.digest).toBe(digest);
    if (round % 3 !== 0) expect(await holder.closed).toEqual({ code: 4003, reason: 'resumed_elsewhere' });
    holder = next;
    // Every other time on the other thread than the last.
    if (round % 2 === 0) await connect();
  }
  // The graces of all that broke on the way are over.
  await new Promise((resolve) => {
    setTimeout(resolve, 1500);
  });
  expect(await countInstances(watcher)).toBe(50);
  expect(watcher.pendingNotifications).toEqual([]);
  await holder.request('instance.deregister', { service: 'pay', id: 'h:1' });
  expect(await countInstances(watcher)).toBe(49);
  holder.close();
  await holder.closed;
  await expect.poll(() => countInstances(watcher)).toBe(0);
});

test('[SE8] many sessions come back at once, each with all that it had', async () => {
  const holders = await Promise.all(Array.from({ length: 40 }, () => connect()));
  const secrets = await Promise.all(holders.map(async (holder) => (await open(holder)).secret));
  await Promise.all(
    holders.map((holder, n) =>
      Promise.all(
        Array.from({ length: 10 }, (_, i) =>
          holder.request('instance.register', { service: 'pay', instance: { host: `h${n}`, port: i + 1 } }),
        ),
      ),
    ),
  );
  for (const holder of holders) holder.terminate();
  const back = await Promise.all(
    secrets.toReversed().map(async (secret) => {
      const client = await connect();
      return (await open(client, secret)).resumed?.registrations;
    }),
  );
  expect(back).toEqual(secrets.map(() => 10));
  expect(await countInstances(await connect())).toBe(400);
});

test('[SE8] what a client finds to differ it pages through, and sends', async () => {
  const first = await connect();
  const { secret } = await open(first);
  await registerAll(first, 5);
  first.terminate();
  const second = await connect();
  const { resumed } = await open(second, secret);
  expect(resumed?.registrations).toBe(5);
  const ids: string[] = [];
  for (let cursor: string | undefined; ;) {
    const page = await second.request<{ registrations: { id: string }[]; cursor?: string }>('session.registrations', {
      limit: 2,
      ...(cursor === undefined ? {} : { cursor }),
    });
    ids.push(...page.registrations.map(({ id }) => id));
    if (page.cursor === undefined) break;
    cursor = page.cursor;
  }
  expect(ids).toEqual(['h:1', 'h:2', 'h:3', 'h:4', 'h:5']);
});
