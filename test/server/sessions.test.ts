import { pino } from 'pino';
import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest';

import type { SessionsResult } from '../../src/protocol/http-results.ts';
import { runCommand } from '../support/command.ts';
import { ioThreads } from '../support/io-threads.ts';
import { RawClient } from '../support/raw-client.ts';

let server: Server;
let lines: Record<string, unknown>[];

beforeEach(async () => {
  lines = [];
  const write = (line: string): void => void lines.push(JSON.parse(line) as Record<string, unknown>);
  const logger = pino({ level: 'debug', base: null }, { write });
  server = await startServer(
    { port: 0, ioThreads, partitions: 1, disconnectGraceMs: 60_000, allowedOrigins: ['https://a.example'] },
    { logger },
  );
});
afterEach(() => server.stop());

async function list(query = ''): Promise<SessionsResult> {
  const response = await fetch(`${server.address.httpUrl}/v1/sessions${query}`);
  expect(response.status).toBe(200);
  return (await response.json()) as SessionsResult;
}

async function putLease(port: number): Promise<{ lease: string }> {
  const response = await fetch(`${server.address.httpUrl}/v1/instances`, {
    method: 'PUT',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ service: 'orders', instance: { host: 'h', port }, ttlMs: 60_000 }),
  });
  return (await response.json()) as { lease: string };
}

test('/v1/sessions says who is there, from where, as what, and with how much, and no secret', async () => {
  const client = await RawClient.open(server.address.url);
  const opened = await client.request<{ session: string; secret: string }>('session.open', {
    client: 'test/1',
    app: 'shop',
    zone: 'eu-1',
    token: 'token-that-nobody-may-see',
  });
  await client.request('instance.register', { service: 'orders', instance: { host: 'h', port: 1 } });
  await client.request('service.subscribe', { service: 'orders' });
  await client.request('service.subscribe', { service: 'stock' });
  const silent = await RawClient.open(server.address.url);
  const broken = await RawClient.open(server.address.url);
  await broken.request('instance.register', { service: 'stock', instance: { host: 'h', port: 2 } });
  broken.terminate();
  const { lease } = await putLease(3);
  await expect
    .poll(async () => (await list()).sessions.map(({ state }) => state).sort())
    .toEqual(['broken', 'connected', 'connected', 'leased']);
  const page = await list();
  expect(page.cursor).toBeUndefined();
  expect(page.silentThreads).toBeUndefined();
  const common = { address: '127.0.0.1', ageMs: expect.any(Number), requestsInFlight: 0, isBehind: false };
  expect(page.sessions.find(({ session }) => session === opened.session)).toEqual({
    ...common,
    session: opened.session,
    thread: expect.any(Number),
    state: 'connected',
    client: 'test/1',
    app: 'shop',
    zone: 'eu-1',
    registrations: 1,
    subscriptions: 2,
    unreadBytes: expect.any(Number),
  });
  expect(page.sessions.find(({ state }) => state === 'leased')).toEqual({
    ...common,
    session: expect.any(String),
    thread: ioThreads + 1,
    state: 'leased',
    ttlMs: 60_000,
    registrations: 1,
    subscriptions: 0,
    unreadBytes: 0,
  });
  const text = JSON.stringify(page);
  for (const secret of [opened.secret, lease, 'token-that-nobody-may-see']) expect(text).not.toContain(secret);
  silent.close();
  client.close();
});

test('pages follow each other over all threads, each session once', async () => {
  const clients = await Promise.all(Array.from({ length: 7 }, () => RawClient.open(server.address.url)));
  await Promise.all([putLease(1), putLease(2)]);
  const names: string[] = [];
  for (let query = '?limit=2'; ;) {
    const { sessions, cursor } = await list(query);
    expect(sessions.length).toBeLessThanOrEqual(2);
    names.push(...sessions.map(({ session }) => session));
    if (cursor === undefined) break;
    query = `?limit=2&cursor=${cursor}`;
  }
  expect(names).toHaveLength(9);
  expect(new Set(names).size).toBe(9);
  for (const client of clients) client.close();
});

test.each(['?limit=0', '?limit=1001', '?limit=x', '?cursor=', '?cursor=-1', '?cursor=x', '?state=connected'])(
  '[WP3] /v1/sessions%s is refused',
  async (query) => {
    const response = await fetch(`${server.address.httpUrl}/v1/sessions${query}`);
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { code: 'invalid_params' } });
  },
);

test('pages that are asked for at once are all whole', async () => {
  const client = await RawClient.open(server.address.url);
  const pages = await Promise.all(Array.from({ length: 10 }, () => list('')));
  for (const { sessions, silentThreads } of pages) expect([sessions.length, silentThreads]).toEqual([1, undefined]);
  client.close();
});

test('the command lists sessions as a table and as JSON, and picks some', async () => {
  const client = await RawClient.open(server.address.url);
  const app = 'shop\u202E x';
  const { session } = await client.request<{ session: string }>('session.open', { client: 'test/1', app });
  await putLease(1);
  const registry = ['--server', `127.0.0.1:${server.address.port}`];
  const run = (...args: string[]): ReturnType<typeof runCommand> => runCommand(['sessions', ...args, ...registry]);
  // One after the other: a thread that is short of time for a second is left out of a page.
  const table = await run();
  const leased = await run('--json', '--state', 'leased');
  const picked = await run('--json', '--app', app);
  const behind = await run('--json', '--behind');
  const [head, ...rows] = table.out.trimEnd().split('\n');
  expect(head).toMatch(/^SESSION +STATE +FROM +APP +CLIENT +ZONE +AGE +REGISTRATIONS +SUBSCRIPTIONS +UNREAD$/);
  expect(rows).toHaveLength(2);
  expect(rows.find((row) => row.startsWith(session))).toContain('127.0.0.1  "shop\\\\u{202e} x"  test/1');
  expect((JSON.parse(leased.out) as SessionsResult).sessions.map(({ state }) => state)).toEqual(['leased']);
  expect((JSON.parse(picked.out) as SessionsResult).sessions.map(({ session }) => session)).toEqual([session]);
  expect((JSON.parse(behind.out) as SessionsResult).sessions).toEqual([]);
  client.close();
});

function findLine(msg: string): Record<string, unknown> | undefined {
  return lines.find((line) => line['msg'] === msg);
}

test('the log names session, client and app of who comes, goes and is closed, by levels', async () => {
  const client = await RawClient.open(server.address.url);
  const { session } = await client.request<{ session: string }>('session.open', { client: 'test/1', app: 'shop' });
  client.send(new Uint8Array([1]), { binary: true });
  await client.closed;
  await expect.poll(() => findLine('closed the connection of a client')).toBeDefined();
  const who = { session, client: 'test/1', app: 'shop', address: '127.0.0.1' };
  expect(findLine('a client has connected')).toMatchObject({ level: 20, session, address: '127.0.0.1' });
  expect(findLine('a client has opened its session')).toMatchObject({ level: 20, ...who });
  expect(findLine('closed the connection of a client')).toMatchObject({ level: 40, reason: 'binary_frame', ...who });
  for (const [end, msg] of [
    ['close', 'a client has left'],
    ['terminate', 'the connection of a client broke'],
  ] as const) {
    const other = await RawClient.open(server.address.url);
    other[end]();
    await expect.poll(() => findLine(msg)).toMatchObject({ level: 20, address: '127.0.0.1' });
  }
});

test('a refused Origin is logged, over WebSocket and HTTP', async () => {
  const origin = 'https://evil.example';
  await expect(RawClient.open(server.address.url, { headers: { origin } })).rejects.toThrow();
  const response = await fetch(`${server.address.httpUrl}/v1/services`, { headers: { origin } });
  expect(response.status).toBe(403);
  const refused = (): unknown[] => lines.filter((line) => line['origin'] === origin);
  await expect.poll(refused).toHaveLength(2);
  for (const line of refused()) {
    expect(line).toMatchObject({ level: 40, address: '127.0.0.1', msg: expect.stringContaining('allowedOrigins') });
  }
});

test('[AC7] an address that other machines can reach is refused without TLS and credentials, or warned about', async () => {
  await expect(startServer({ port: 0, host: '0.0.0.0' })).rejects.toThrow(/no TLS .* no access control/);
  await expect(startServer({ port: 0, host: '::', accessControl: 'on' })).rejects.toThrow('no TLS');
  expect(lines.filter(({ level }) => level === 40)).toEqual([]);
  const logged: string[] = [];
  const logger = pino({ level: 'warn', base: null }, { write: (line: string) => void logged.push(line) });
  const open = await startServer({ port: 0, host: '0.0.0.0', insecure: true, partitions: 1 }, { logger });
  onTestFinished(() => open.stop());
  expect(logged).toHaveLength(1);
  expect(JSON.parse(logged[0]!)).toMatchObject({ host: '0.0.0.0', msg: expect.stringContaining('no access control') });
});
