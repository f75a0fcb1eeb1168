import { setTimeout as delay } from 'node:timers/promises';

import { connect } from 'slotcast/client';
import type { Client } from 'slotcast/client';
import { afterEach, expect, test } from 'vitest';

import type { ServiceChanged, SubscribeResult } from '../../src/protocol/types.ts';
import { runCommand } from '../support/command.ts';
import { RawClient } from '../support/raw-client.ts';
import { SubscriberView } from '../support/subscriber-view.ts';
import { Witness } from '../support/witness.ts';

let witness: Witness | undefined;
const clients: Client[] = [];

afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
  await witness?.stop();
  witness = undefined;
});

/** Watches a service, and notes every instance that it is told has gone. */
async function watch(server: Witness, service: string): Promise<{ view: SubscriberView; removed: string[] }> {
  const client = await server.openClient();
  const view = new SubscriberView();
  const removed: string[] = [];
  client.onNotification = (method, params) => {
    if (method !== 'service.changed') return;
    const before = [...view.instances.keys()];
    view.take(params as unknown as ServiceChanged);
    removed.push(...before.filter((id) => !view.instances.has(id)));
  };
  view.begin(await client.request<SubscribeResult>('service.subscribe', { service }));
  return { view, removed };
}

interface Provider {
  readonly client: Client;
  readonly waitsMs: number[];
  readonly sessions: string[];
}

async function openProvider(server: Witness, port: number): Promise<Provider> {
  const client = connect({ servers: [server.url], backoffMinMs: 10, backoffMaxMs: 200, requestTimeoutMs: 15_000 });
  clients.push(client);
  const waitsMs: number[] = [];
  const sessions: string[] = [];
  client.on('goaway', ({ reconnectAfterMs }) => waitsMs.push(reconnectAfterMs));
  client.on('connected', ({ session }) => sessions.push(session));
  await client.register('fleet', { host: 'h', port });
  return { client, waitsMs, sessions };
}

async function sendAway(server: Witness, body: object): Promise<{ status: number; answer: unknown }> {
  const response = await fetch(`${server.httpUrl}/v1/sessions/goaway`, {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json' },
  });
  return { status: response.status, answer: await response.json() };
}

test('[SE6, PU5] sessions that are asked to go come back, each at a time of its own, and nobody sees an instance leave', async () => {
  const server = await Witness.start({ disconnectGraceMs: 10_000 });
  witness = server;
  const watcher = await watch(server, 'fleet');
  const providers = await Promise.all(Array.from({ length: 24 }, (_, i) => openProvider(server, i + 1)));
  await expect.poll(() => watcher.view.instances.size).toBe(24);
  // The witness's two and the watcher stay: they are asked, too, and do not heed it.
  expect(await sendAway(server, { spreadMs: 500 })).toEqual({ status: 200, answer: { sessions: 27 } });
  await expect
    .poll(() => providers.map(({ sessions }) => sessions.length), { timeout: 10_000 })
    .toEqual(providers.map(() => 2));
  const waitsMs = providers.flatMap((provider) => provider.waitsMs);
  expect(waitsMs).toHaveLength(24);
  expect(Math.max(...waitsMs)).toBeLessThanOrEqual(500);
  expect(new Set(waitsMs).size).toBeGreaterThan(12);
  // Each goes on with the session that it had, over another connection [SE8].
  for (const { sessions } of providers) expect(sessions[1]).toBe(sessions[0]);
  await expect.poll(async () => (await server.readStats()).registrations).toBe(26);
  expect(watcher.removed).toEqual([]);
  expect(watcher.view.instances.size).toBe(24);
  // Who was asked and stays is served as before.
  expect(await server.provider.request('service.query', { service: 'known' })).toMatchObject({ instances: [{}, {}] });
});

test('[SE6] a share of the sessions is asked, over HTTP and by command', async () => {
  const server = await Witness.start();
  witness = server;
  const idle = await Promise.all(Array.from({ length: 60 }, () => server.openClient()));
  let asked = 0;
  for (const client of idle) client.onNotification = (method) => (asked += method === 'session.goaway' ? 1 : 0);
  const { answer } = await sendAway(server, { percent: 50, spreadMs: 0 });
  const { sessions } = answer as { sessions: number };
  expect(sessions).toBeGreaterThan(5);
  expect(sessions).toBeLessThan(57);
  await expect.poll(() => asked).toBeGreaterThanOrEqual(sessions - 2);
  const registry = ['--server', `ws://127.0.0.1:${server.port}`];
  expect(await runCommand(['goaway', ...registry])).toEqual({
    status: 0,
    out: 'asked 62 sessions to reconnect\n',
    err: '',
  });
  const json = await runCommand(['goaway', '--percent', '100', '--spread-ms', '100', '--json', ...registry]);
  expect([json.status, JSON.parse(json.out)]).toEqual([0, { sessions: 62 }]);
  for (const wrong of [
    ['--percent', '0'],
    ['--percent', '101'],
    ['--spread-ms', '60001'],
  ]) {
    expect((await runCommand(['goaway', ...wrong, ...registry])).status).toBe(2);
  }
});

test.each([{ percent: 0 }, { percent: 101 }, { percent: 'all' }, { spreadMs: -1 }, { spreadMs: 60_001 }, { more: 1 }])(
  '[WP3] asking sessions to go with %j is refused, and nobody is asked',
  async (body) => {
    const server = await Witness.start();
    witness = server;
    expect(await sendAway(server, body)).toMatchObject({ status: 400, answer: { error: { code: 'invalid_params' } } });
    await server.expectUnharmed();
  },
);

test('[LI2, PU5] who is kept out because too many come at once has not gone: nobody sees its instances leave', async () => {
  const fleet = 20;
  const server = await Witness.start({
    // The witness, the watcher and the fleet come in at once.
    sessionsBurstMax: fleet + 3,
    sessionsPerSecondMax: 5,
    disconnectGraceMs: 1000,
    // So that no guard has a hand in it.
    lossSessionsPercent: 101,
    lossServicePercent: 101,
  });
  witness = server;
  const watcher = await watch(server, 'fleet');
  const first = await Promise.all(Array.from({ length: fleet }, () => RawClient.open(server.url)));
  await Promise.all(first.map((client, i) => register(client, i + 1)));
  await expect.poll(() => watcher.view.instances.size).toBe(fleet);
  for (const client of first) client.terminate();
  await Promise.all(first.map(async (_, i) => register(await comeBack(server), i + 1)));
  expect(await server.readCounter('upgrade_refused_rate')).toBeGreaterThan(0);
  // What the broken sessions claimed goes later than their grace, since others were kept out.
  await expect.poll(async () => (await server.readStats()).registrations, { timeout: 20_000 }).toBe(fleet + 2);
  expect(watcher.removed).toEqual([]);
});

function register(client: RawClient, port: number): Promise<unknown> {
  return client.request('instance.register', { service: 'fleet', instance: { host: 'h', port } });
}

/** Tries until it is let in, at the least time that a refusal asks for. */
async function comeBack(server: Witness): Promise<RawClient> {
  for (;;) {
    const client = await RawClient.open(server.url).catch((error: Error) => error);
    if (client instanceof RawClient) return client;
    expect(client.message).toBe('Unexpected server response: 503');
    await delay(500);
  }
}

test('[LI2] clients of the SDK that are refused at the door try until they are all in', async () => {
  const server = await Witness.start({ sessionsBurstMax: 4, sessionsPerSecondMax: 20 });
  witness = server;
  const watcher = await watch(server, 'fleet');
  const providers = await Promise.all(Array.from({ length: 20 }, (_, i) => openProvider(server, i + 1)));
  await expect.poll(() => watcher.view.instances.size).toBe(providers.length);
  expect(await server.readCounter('upgrade_refused_rate')).toBeGreaterThan(0);
});
