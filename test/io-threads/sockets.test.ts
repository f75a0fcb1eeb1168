import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { afterEach, expect, test } from 'vitest';

import { RawClient } from '../support/raw-client.ts';
import { SubscriberView } from '../support/subscriber-view.ts';

let server: Server;
afterEach(() => server.stop());

interface Stats {
  readonly sessions: number;
  readonly hosts: readonly { readonly host: number; readonly sessions: number; readonly registrations: number }[];
  readonly counters: Readonly<Record<string, number>>;
}

async function readStats(): Promise<Stats> {
  return (await (await fetch(`${server.address.httpUrl}/v1/stats`)).json()) as Stats;
}

test('[PU1] [SE1] [SE7] sessions are spread over the threads, and hear of what sessions on others do', async () => {
  server = await startServer({
    port: 0,
    partitions: 2,
    ioThreads: 3,
    logLevel: 'silent',
    warmUpMs: 0,
    drainTimeoutMs: 0,
  });
  const clients = await Promise.all(Array.from({ length: 9 }, () => RawClient.open(server.address.url)));
  const { sessions, hosts } = await readStats();
  expect([sessions, hosts]).toMatchObject([
    9,
    [{ sessions: 0 }, { sessions: 3 }, { sessions: 3 }, { sessions: 3 }, { sessions: 0 }],
  ]);
  const views: SubscriberView[] = [];
  for (const client of clients) {
    const view = new SubscriberView();
    view.begin(await client.request('service.subscribe', { service: 'pay' }));
    client.onNotification = (method, params) => {
      if (method === 'service.changed') view.take(params as never);
    };
    views.push(view);
  }
  const instance = { id: 'a', host: 'h', port: 1 };
  // The same instance from every thread in turn: the last to register has it, whichever that is.
  for (const [weight, client] of clients.entries()) {
    await client.request('instance.register', { service: 'pay', instance: { ...instance, weight } });
  }
  await expect.poll(() => views.map(({ instances }) => instances.get('a')?.weight)).toEqual(views.map(() => 8));
  expect((await readStats()).hosts.reduce((sum, { registrations }) => sum + registrations, 0)).toBe(9);
  await clients[3]!.request('instance.deregister', { service: 'pay', id: 'a' });
  await expect(clients[3]!.request('instance.deregister', { service: 'pay', id: 'a' })).rejects.toMatchObject({
    data: { code: 'not_owner' },
  });
  // One after the other goes, and the next newest shows.
  for (const left of [7, 6, 5, 4, 2, 1, 0]) {
    clients[left === 2 ? 4 : left + 1]!.close();
    await expect.poll(() => views[0]!.instances.get('a')?.weight).toBe(left);
  }
});

test('[SE4] the answered end of a lease is seen by every later query, whichever thread serves it', async () => {
  server = await startServer({ port: 0, partitions: 2, ioThreads: 2, logLevel: 'silent', drainTimeoutMs: 0 });
  const clients = await Promise.all(Array.from({ length: 4 }, () => RawClient.open(server.address.url)));
  const origin = `${server.address.httpUrl}`;
  for (let round = 0; round < 50; round++) {
    const service = `leased-${round}`;
    const granted = await fetch(`${origin}/v1/instances`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ service, instance: { host: 'h', port: 1 } }),
    });
    const { lease } = (await granted.json()) as { lease: string };
    await fetch(`${origin}/v1/leases/${lease}`, { method: 'DELETE' });
    const lists = await Promise.all(
      clients.map((client) => client.request<{ instances: unknown[] }>('service.query', { service })),
    );
    expect(lists.map(({ instances }) => instances)).toEqual(clients.map(() => []));
  }
});

test('[LI1] sessionsMax and sessionsPerAddressMax bound the sessions of all threads together', async () => {
  for (const [bound, counter] of [
    ['sessionsMax', 'upgrade_refused_sessions'],
    ['sessionsPerAddressMax', 'upgrade_refused_address'],
  ] as const) {
    server = await startServer({
      port: 0,
      partitions: 1,
      ioThreads: 2,
      logLevel: 'silent',
      drainTimeoutMs: 0,
      [bound]: 5,
    });
    const clients: RawClient[] = [];
    for (let i = 0; i < 5; i++) clients.push(await RawClient.open(server.address.url));
    // On whichever thread it comes to.
    for (let i = 0; i < 3; i++) await expect(RawClient.open(server.address.url)).rejects.toThrow('503');
    expect((await readStats()).counters[counter]).toBe(3);
    clients[0]!.close();
    await expect.poll(async () => (await readStats()).sessions).toBe(4);
    clients.push(await RawClient.open(server.address.url));
    await server.stop();
  }
});

test('[SE4] leases and reads over HTTP are answered on every thread', async () => {
  server = await startServer({
    port: 0,
    partitions: 2,
    ioThreads: 2,
    logLevel: 'silent',
    warmUpMs: 0,
    drainTimeoutMs: 0,
  });
  const url = `${server.address.httpUrl}`;
  // A connection each, so that they take turns.
  const headers = { 'content-type': 'application/json', connection: 'close' };
  const leases: string[] = [];
  for (const port of [1, 2, 3, 4]) {
    const body = JSON.stringify({ service: 'pay', instance: { host: 'h', port } });
    const answer = await fetch(`${url}/v1/instances`, { method: 'PUT', headers, body });
    leases.push(((await answer.json()) as { lease: string }).lease);
  }
  for (const lease of leases.slice(0, 2)) {
    expect((await fetch(`${url}/v1/leases/${lease}`, { method: 'DELETE', headers })).status).toBe(200);
  }
  for (let i = 0; i < 4; i++) {
    const answer = await fetch(`${url}/v1/instances?service=pay`, { headers });
    expect(((await answer.json()) as { instances: unknown[] }).instances).toHaveLength(2);
  }
});
