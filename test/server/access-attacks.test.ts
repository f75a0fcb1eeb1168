import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { afterEach, beforeEach, expect, test } from 'vitest';

import type { NewToken, TokensResult } from '../../src/protocol/access.ts';
import { RawClient } from '../support/raw-client.ts';

let folder: string;
let server: Server;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'slotcast-access-'));
});
afterEach(async () => {
  await server.stop();
  rmSync(folder, { recursive: true });
});

async function start(more: object = {}): Promise<void> {
  const settings = { port: 0, partitions: 1, logLevel: 'silent', dataDir: folder, accessControl: 'on' } as const;
  server = await startServer({ ...settings, ...more });
}

async function ask(method: string, target: string, token: string, body?: object): Promise<Response> {
  return fetch(`${server.address.httpUrl}${target}`, {
    method,
    signal: AbortSignal.timeout(8000),
    headers: {
      Authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

const readBootstrap = (): string => readFileSync(path.join(folder, 'bootstrap-token'), 'utf8').trim();

async function post(target: string, body: object): Promise<NewToken> {
  return (await (await ask('POST', target, readBootstrap(), body)).json()) as NewToken;
}

async function createToken(name: string): Promise<string> {
  return (await post('/v1/tokens', { name, policies: ['admin'] })).token;
}

function rotate({ id }: NewToken): Promise<NewToken> {
  return post('/v1/tokens/rotate', { id, overlapMs: 60_000 });
}

function open(token: string): Promise<RawClient> {
  return RawClient.open(server.address.url, { headers: { Authorization: `Bearer ${token}` } });
}

test('[AC6] whoever brings a secret that is not its own holds keys by itself', async () => {
  await start();
  await server.stop();
  await start({ warmUpMs: 20_000, warmUpMaxMs: 20_000 });
  const [first, second] = await Promise.all([open(await createToken('a')), open(await createToken('b'))]);
  for (const client of [first, second])
    await client.request('session.open', { client: 'x', capabilities: ['resume'], resume: '1-of-nobody' });
  const acquire = { key: 'lock', value: '', acquire: true };
  expect(await first.request('kv.put', acquire)).toMatchObject({ applied: true });
  expect(await second.request('kv.put', acquire)).toMatchObject({ applied: false });
  expect(await second.request('kv.put', { key: 'lock', release: true })).toMatchObject({ applied: false });
  first.close();
  second.close();
});

test('[AC2] a first token that cannot be written where it belongs is none, and there is one as soon as it can', async () => {
  const file = path.join(folder, 'bootstrap-token');
  mkdirSync(file);
  await start();
  expect((await ask('GET', '/v1/whoami', 'x')).status).toBe(401);
  rmSync(file, { recursive: true });
  await expect.poll(() => existsSync(file), { timeout: 10_000 }).toBe(true);
  await expect.poll(async () => (await ask('GET', '/v1/tokens', readBootstrap())).status).toBe(200);
  const { tokens } = (await (await ask('GET', '/v1/tokens', readBootstrap())).json()) as TokensResult;
  expect(tokens.length).toBe(1);
});

test('[AC5] a token that is rotated twice leads to tokens that last as long as it was to', async () => {
  await start();
  const lasting = await post('/v1/tokens', { name: 'x', policies: [] });
  await rotate(lasting);
  expect((await rotate(lasting)).expiresAt).toBeUndefined();
  const passing = await post('/v1/tokens', { name: 'x', policies: [], forMs: 3_600_000 });
  await rotate(passing);
  const { createdAt, expiresAt = '' } = await rotate(passing);
  expect(Date.parse(expiresAt) - Date.parse(createdAt)).toBe(3_600_000);
});

async function putRule(rule: object): Promise<number> {
  return (await ask('PUT', '/v1/policies', readBootstrap(), { policy: 'p', rules: [rule] })).status;
}

test('[AC1] a rule about a namespace does not give away all keys by the way, nor one about keys all services', async () => {
  await start();
  expect([
    await putRule({ actions: ['read', 'keys:read'], namespaces: ['shop'] }),
    await putRule({ actions: ['lock'], services: ['orders'] }),
    await putRule({ actions: ['operate', 'keys:read'], keys: ['shop/*'] }),
    await putRule({ actions: ['read', 'keys:read'], namespaces: ['shop'], keys: ['*'] }),
    await putRule({ actions: ['read', 'keys:read'] }),
    await putRule({ effect: 'deny', actions: ['keys:read'], keys: ['shop/*'] }),
  ]).toEqual([400, 400, 400, 200, 200, 200]);
});

test('[AC4] whoever may do nothing, and does not say who it is, does not stay', async () => {
  await start({ revalidateMs: 100 });
  const [stranger, late] = await Promise.all([RawClient.open(server.address.url), RawClient.open(server.address.url)]);
  const known = await open(await createToken('x'));
  await late.request('session.open', { client: 'x', token: readBootstrap() });
  const startedMs = performance.now();
  expect(await stranger.closed).toEqual({ code: 4006, reason: 'unauthorized' });
  expect(performance.now() - startedMs).toBeGreaterThan(5000);
  for (const client of [known, late]) {
    expect(await client.request('kv.get', { key: 'k' })).toMatchObject({});
    client.close();
  }
});
