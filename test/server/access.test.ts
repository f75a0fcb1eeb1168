import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { methodNeeds } from '../../src/access/method-needs.ts';
import { operationNeeds } from '../../src/access/operation-needs.ts';
import type { NewToken, Policy } from '../../src/protocol/access.ts';
import { httpOperations } from '../../src/protocol/http-operations.ts';
import type { OperationId } from '../../src/protocol/http-operations.ts';
import type { MethodName, Methods } from '../../src/protocol/types.ts';
import { IssuerKey } from '../support/jwt-issuer.ts';
import { RawClient } from '../support/raw-client.ts';
import { CertificateFolder, issueClient } from '../support/test-certificates.ts';
import { callOverTls } from '../support/tls-calls.ts';

let folder: string;
let server: Server;
let admin: string;
let tenant: NewToken;
let base: string;

const tenantPolicy: Policy = {
  policy: 'tenant-a',
  rules: [
    { actions: ['read', 'register', 'subscribe', 'operate'], namespaces: ['a'] },
    { actions: ['keys:read', 'keys:write', 'lock'], keys: ['a/*'] },
  ],
};

function start(more: object = {}): Promise<Server> {
  const settings = {
    port: 0,
    partitions: 2,
    logLevel: 'silent',
    warmUpMs: 0,
    dataDir: folder,
    accessControl: 'on',
  } as const;
  return startServer({ ...settings, ...more });
}

interface Answer {
  readonly status: number;
  readonly code: string | undefined;
  readonly value: Readonly<Record<string, unknown>>;
  readonly headers: Headers;
}

async function ask(method: string, target: string, token?: string, body?: object | string): Promise<Answer> {
  const response = await fetch(`${base}${target}`, {
    method,
    signal: AbortSignal.timeout(8000),
    headers: {
      ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
      ...(typeof body === 'object' ? { 'Content-Type': 'application/json' } : {}),
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const isStream = response.headers.get('content-type') === 'text/event-stream' && response.status === 200;
  if (isStream) await response.body?.cancel();
  const text = isStream ? '' : await response.text();
  const value = text.startsWith('{') ? (JSON.parse(text) as Answer['value']) : {};
  const { code } = (value['error'] ?? {}) as { readonly code?: string };
  return { status: response.status, code, value, headers: response.headers };
}

async function create<T>(method: string, target: string, body: object): Promise<T> {
  const { status, value } = await ask(method, target, admin, body);
  expect(status).toBe(200);
  return value as T;
}

function open(token?: string): Promise<RawClient> {
  const headers = token === undefined ? {} : { Authorization: `Bearer ${token}` };
  return RawClient.open(server.address.url, { headers });
}

async function codeOf(client: RawClient, method: string, params: object): Promise<unknown> {
  try {
    await client.request(method, params);
    return undefined;
  } catch (error) {
    return (error as { readonly data?: { readonly code?: unknown } }).data?.code ?? error;
  }
}

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'slotcast-access-'));
  server = await start();
  base = server.address.httpUrl!;
  admin = readFileSync(path.join(folder, 'bootstrap-token'), 'utf8').trim();
  await create('PUT', '/v1/policies', tenantPolicy);
  tenant = await create<NewToken>('POST', '/v1/tokens', { name: 'tenant', policies: ['tenant-a'] });
});
afterAll(async () => {
  await server.stop();
  rmSync(folder, { recursive: true });
});

const instance = { host: '10.0.0.1', port: 80 };

/** Valid params of each method, about what is one tenant's. */
const params: { readonly [M in MethodName]: (of: string) => Methods[M]['params'] } = {
  'session.open': () => ({ client: 'test' }),
  'session.registrations': () => ({}),
  'instance.register': (of) => ({ namespace: of, service: 's', instance }),
  'instance.deregister': (of) => ({ namespace: of, service: 's', id: '10.0.0.1:80' }),
  'instance.health': (of) => ({ namespace: of, service: 's', id: '10.0.0.1:80', health: 'passing' }),
  'service.query': (of) => ({ namespace: of, service: 's' }),
  'service.subscribe': (of) => ({ namespace: of, service: 's' }),
  'service.unsubscribe': (of) => ({ namespace: of, service: 's' }),
  'service.list': (of) => ({ namespace: of }),
  'kv.get': (of) => ({ key: `${of}/k` }),
  'kv.put': (of) => ({ key: `${of}/k`, acquire: true }),
  'kv.delete': (of) => ({ prefix: `${of}/` }),
  'kv.list': (of) => ({ prefix: `${of}/` }),
  'kv.transact': (of) => ({
    operations: [
      { op: 'get', key: 'a/k' },
      { op: 'check', key: `${of}/k`, version: 0 },
    ],
  }),
  'kv.watch': (of) => ({ prefix: `${of}/` }),
  'kv.unwatch': (of) => ({ prefix: `${of}/` }),
};

interface Request {
  readonly target?: string;
  readonly body?: object | string;
}

/** Valid input of each operation, about what is one tenant's, as far as it is anybody's. */
const requests: Readonly<Record<OperationId, (of: string) => Request>> = {
  listServices: (of) => ({ target: `?namespace=${of}` }),
  listDeclarations: (of) => ({ target: `?namespace=${of}` }),
  readService: (of) => ({ target: `/v1/services/s?namespace=${of}` }),
  declareService: (of) => ({ target: '/v1/services/s', body: { namespace: of } }),
  withdrawService: (of) => ({ target: `/v1/services/s?namespace=${of}` }),
  queryService: (of) => ({ target: `?namespace=${of}&service=s` }),
  watchService: (of) => ({ target: `?namespace=${of}&service=s` }),
  registerInstance: (of) => ({ body: { namespace: of, service: 's', instance } }),
  deregisterInstance: (of) => ({ target: `?namespace=${of}&service=s&id=x&lease=x` }),
  reportHealth: (of) => ({ body: { namespace: of, service: 's', id: 'x', health: 'passing', lease: 'x' } }),
  grantLease: () => ({ body: {} }),
  renewLease: () => ({ target: '/v1/leases/x' }),
  endLease: () => ({ target: '/v1/leases/x' }),
  listKeys: (of) => ({ target: `?prefix=${of}/` }),
  deleteKeys: (of) => ({ target: `?prefix=${of}/` }),
  readKey: (of) => ({ target: `/v1/keys/${of}/k` }),
  putKey: (of) => ({ target: `/v1/keys/${of}/k`, body: 'value' }),
  deleteKey: (of) => ({ target: `/v1/keys/${of}/k` }),
  transactKeys: (of) => ({ body: { operations: [{ op: 'get', key: `${of}/k` }] } }),
  readStats: () => ({}),
  readPartitions: () => ({}),
  resizePartitions: () => ({ body: { partitions: 2 } }),
  rebalancePartitions: () => ({}),
  readGuard: () => ({}),
  releaseGuard: (of) => ({ body: { namespace: of, service: 's' } }),
  readMetrics: () => ({}),
  listChecks: () => ({}),
  listSwitches: () => ({}),
  setSwitch: (of) => ({ body: { kind: 'push-freeze', namespace: of, service: 'none' } }),
  liftSwitch: (of) => ({ target: `?kind=push-freeze&namespace=${of}&service=none` }),
  removeInstance: (of) => ({ body: { namespace: of, service: 's', id: 'x' } }),
  sendAway: () => ({ body: { percent: 1 } }),
  listSessions: () => ({}),
  inspectService: (of) => ({ target: `?namespace=${of}&service=s` }),
  inspectSession: () => ({ target: '?session=x' }),
  readSlots: () => ({}),
  readEndpoints: () => ({}),
  backUp: () => ({}),
  listPolicies: () => ({}),
  putPolicy: () => ({ body: { policy: 'unused', rules: [] } }),
  deletePolicy: () => ({ target: '?policy=unused' }),
  listTokens: () => ({}),
  createToken: () => ({ body: { name: 'unused', policies: [] } }),
  rotateToken: () => ({ body: { id: '0123456789abcdef' } }),
  revokeToken: () => ({ target: '?id=0123456789abcdef' }),
  whoAmI: () => ({}),
  checkLive: () => ({}),
  checkStarted: () => ({}),
  checkReady: () => ({}),
  readOpenapi: () => ({}),
  readOpenrpc: () => ({}),
};

const denied = ['forbidden', 'unauthorized'];

describe('[AC1] of each method of a session', () => {
  test.each(Object.keys(methodNeeds) as MethodName[])('%s: what policies allow, and nothing else', async (method) => {
    const needs = methodNeeds[method](params[method]('b') as never);
    const clients = await Promise.all([open(), open(tenant.token), open(admin)]);
    const [stranger, known, administrator] = clients;
    const codes = [
      await codeOf(stranger, method, params[method]('a')),
      await codeOf(known, method, params[method]('b')),
      await codeOf(known, method, params[method](method === 'session.open' ? 'b' : 'a')),
      await codeOf(administrator, method, params[method]('b')),
    ];
    for (const client of clients) client.close();
    if (method === 'session.open') {
      expect(codes).toEqual([undefined, undefined, 'invalid_request', undefined]);
      return;
    }
    const isFree = needs.length === 0;
    expect(codes.slice(0, 2)).toEqual(isFree ? [undefined, undefined] : denied.toReversed());
    expect(codes.slice(2).filter((code) => denied.includes(String(code)))).toEqual([]);
  });
});

describe('[AC1] of each operation over HTTP', () => {
  test.each(Object.keys(operationNeeds) as OperationId[])('%s: what policies allow, and nothing else', async (id) => {
    const { method, path: where } = httpOperations[id];
    const askFor = (of: string, token?: string): Promise<Answer> => {
      const { target = '', body } = requests[id](of);
      return ask(method, target.startsWith('/') ? target : `${where}${target}`, token, body);
    };
    const needs = operationNeeds[id];
    if (needs === undefined) {
      expect((await askFor('a')).status).toBe(200);
      return;
    }
    const stranger = await askFor('a');
    expect([stranger.status, stranger.code]).toEqual([401, 'unauthorized']);
    expect(stranger.headers.get('WWW-Authenticate')).toMatch(/^Bearer /);
    const { target = '', body } = requests[id]('b');
    const query = Object.fromEntries(new URL(target, base).searchParams);
    const input = { value: body ?? query, service: 's', key: 'b/k' };
    const isFree = needs(input).length === 0;
    const other = await askFor('b', tenant.token);
    expect([id, other.code]).toEqual([id, isFree ? other.code : 'forbidden']);
    // What concerns one tenant's own it may do.
    const own = await askFor('a', tenant.token);
    const ownQuery = Object.fromEntries(new URL(requests[id]('a').target ?? '', base).searchParams);
    const ownNeeds = needs({ value: requests[id]('a').body ?? ownQuery, service: 's', key: 'a/k' });
    const isWhole = ownNeeds.some((need) => 'namespace' in need && need.namespace.isPrefix);
    expect([id, own.code === 'forbidden']).toEqual([id, isWhole]);
    const administrator = await askFor('b', admin);
    expect([id, denied.includes(String(administrator.code))]).toEqual([id, false]);
  });
});

test('[AC2] the first token is in a file that only its owner can read, and there is no second', async () => {
  expect(statSync(path.join(folder, 'bootstrap-token')).mode & 0o777).toBe(0o600);
  expect(statSync(path.join(folder, 'token.key')).mode & 0o777).toBe(0o600);
  const { value } = await ask('GET', '/v1/tokens', admin);
  const tokens = value['tokens'] as readonly { readonly name: string }[];
  expect(tokens.filter(({ name }) => name === 'bootstrap').length).toBe(1);
});

test('[AC3] no token is in what the store holds, nor in any answer but the one that created it', async () => {
  const secret = tenant.token.slice(-64);
  expect(readFileSync(path.join(folder, 'store.mdb')).includes(secret)).toBe(false);
  const { value } = await ask('GET', '/v1/tokens', admin);
  expect(JSON.stringify(value)).not.toContain(secret);
  expect(JSON.stringify(value)).not.toContain('hash');
});

test('[AC4] whoever shows what is no token is closed, or refused, and can go on with one that is', async () => {
  const wrong = await open('slotcast_0123456789abcdef_0');
  expect(await wrong.closed).toEqual({ code: 4006, reason: 'unauthorized' });
  const client = await open();
  expect(await codeOf(client, 'session.open', { client: 'x', token: 'wrong' })).toBe('unauthorized');
  await client.request('session.open', { client: 'x', token: tenant.token });
  expect(await codeOf(client, 'service.query', { namespace: 'a', service: 's' })).toBeUndefined();
  client.close();
  const both = await open(tenant.token);
  expect(await codeOf(both, 'session.open', { client: 'x', token: admin })).toBe('invalid_request');
  both.close();
  expect((await ask('GET', '/v1/whoami', 'wrong')).code).toBe('unauthorized');
  expect((await ask('GET', `/v1/whoami?token=${tenant.token}`, tenant.token)).code).toBe('invalid_params');
  const me = await ask('GET', '/v1/whoami', tenant.token);
  expect(me.value).toEqual({ principal: 'token:tenant', policies: ['tenant-a'] });
});

test('[AC4] calls that come while credentials are looked at are carried out behind that', async () => {
  const client = await open();
  const opened = codeOf(client, 'session.open', { client: 'x', token: 'wrong' });
  const asked = codeOf(client, 'service.query', { namespace: 'a', service: 's' });
  expect([await opened, await asked]).toEqual(['unauthorized', 'unauthorized']);
  client.close();
});

test('[AC5] a token that is revoked ends its sessions and waits, and one that is rotated goes on for a while', async () => {
  const body = { name: 'passing', policies: ['tenant-a'] };
  const [first, second] = await Promise.all([
    create<NewToken>('POST', '/v1/tokens', body),
    create<NewToken>('POST', '/v1/tokens', { ...body, forMs: 60_000 }),
  ]);
  const [client, other] = await Promise.all([open(first.token), open(second.token)]);
  await client.request('service.query', { namespace: 'a', service: 's' });
  const waiting = ask('GET', '/v1/instances?namespace=a&service=none&index=0&wait=8s', first.token);
  const held = ask('GET', '/v1/keys?prefix=a/&index=99999999999999&wait=1ms', first.token);
  expect((await held).status).toBe(200);
  const next = await create<NewToken>('POST', '/v1/tokens/rotate', { id: second.id, overlapMs: 400 });
  expect((await ask('DELETE', `/v1/tokens?id=${first.id}`, admin)).status).toBe(200);
  expect(await client.closed).toEqual({ code: 4006, reason: 'unauthorized' });
  expect((await ask('GET', '/v1/whoami', first.token)).code).toBe('unauthorized');
  expect(['unauthorized', undefined]).toContain((await waiting).code);
  expect((await ask('GET', '/v1/whoami', next.token)).value['principal']).toBe('token:passing');
  expect(await other.closed).toEqual({ code: 4006, reason: 'unauthorized' });
  expect((await ask('GET', '/v1/whoami', second.token)).code).toBe('unauthorized');
});

test('[AC5] sessions whose rights change are closed, and others are not', async () => {
  const policy = { policy: 'changing', rules: [{ actions: ['read'], namespaces: ['c'] }] };
  await create('PUT', '/v1/policies', policy);
  const { token } = await create<NewToken>('POST', '/v1/tokens', { name: 'c', policies: ['changing'] });
  const [client, other] = await Promise.all([open(token), open(tenant.token)]);
  expect(await codeOf(client, 'service.query', { namespace: 'c', service: 's' })).toBeUndefined();
  await create('PUT', '/v1/policies', { ...policy, description: 'as it was' });
  expect(await codeOf(client, 'service.query', { namespace: 'c', service: 's' })).toBeUndefined();
  await create('PUT', '/v1/policies', { ...policy, rules: [] });
  expect(await client.closed).toEqual({ code: 4006, reason: 'unauthorized' });
  expect(await codeOf(other, 'service.query', { namespace: 'a', service: 's' })).toBeUndefined();
  other.close();
});

test('[AC6] sessions and leases are continued by their own principal only', async () => {
  const client = await open(tenant.token);
  const opened = await client.request<{ readonly secret: string }>('session.open', {
    client: 'x',
    capabilities: ['resume'],
  });
  await client.request('instance.register', { namespace: 'a', service: 'resumed', instance });
  client.socket.terminate();
  const thief = await open(admin);
  const stolen = await thief.request<object>('session.open', { client: 'x', resume: opened.secret });
  expect(stolen).not.toHaveProperty('resumed');
  thief.close();
  const again = await open(tenant.token);
  const resumed = await again.request<object>('session.open', { client: 'x', resume: opened.secret });
  expect(resumed).toMatchObject({ resumed: { registrations: 1 } });
  again.close();

  const granted = await ask('PUT', '/v1/instances', tenant.token, { namespace: 'a', service: 'leased', instance });
  const lease = granted.value['lease'] as string;
  expect((await ask('PUT', `/v1/leases/${lease}`, admin)).code).toBe('not_found');
  expect((await ask('DELETE', `/v1/leases/${lease}`, admin)).code).toBe('not_found');
  expect((await ask('PUT', `/v1/leases/${lease}`, tenant.token)).value['lease']).toBe(lease);
  expect((await ask('DELETE', `/v1/leases/${lease}`, tenant.token)).status).toBe(200);
});

test('[AC2] policies and tokens are there after a restart, and so is nobody else', async () => {
  await server.stop();
  server = await start();
  base = server.address.httpUrl!;
  expect((await ask('GET', '/v1/whoami', tenant.token)).value['policies']).toEqual(['tenant-a']);
  expect((await ask('GET', '/v1/services?namespace=a', tenant.token)).status).toBe(200);
  expect((await ask('GET', '/v1/services', tenant.token)).code).toBe('forbidden');
  expect((await ask('GET', '/v1/services')).code).toBe('unauthorized');
});

test('[AC1] [AC5] a JSON Web Token is what its issuer says, until it expires', async () => {
  const place = mkdtempSync(path.join(tmpdir(), 'slotcast-access-'));
  const key = await IssuerKey.generate('ES256', 'k');
  writeFileSync(path.join(place, 'jwks.json'), JSON.stringify({ keys: [key.jwk] }));
  const before = [base, admin] as const;
  const other = await start({
    dataDir: place,
    jwtKeys: path.join(place, 'jwks.json'),
    jwtIssuer: 'https://issuer.example',
    jwtAudience: 'slotcast',
    jwtClockSkewMs: 0,
    revalidateMs: 100,
  });
  try {
    base = other.address.httpUrl!;
    admin = readFileSync(path.join(place, 'bootstrap-token'), 'utf8').trim();
    await create('PUT', '/v1/policies', { ...tenantPolicy, principals: ['jwt:web'] });
    const claims = { iss: 'https://issuer.example', aud: 'slotcast', sub: 'web' };
    const seconds = Math.ceil(Date.now() / 1000);
    const token = await key.sign({ ...claims, exp: seconds + 2 });
    const { value } = await ask('GET', '/v1/whoami', token);
    expect(value).toEqual({
      principal: 'jwt:web',
      policies: ['tenant-a'],
      expiresAt: new Date((seconds + 2) * 1000).toISOString(),
    });
    const client = await RawClient.open(other.address.url, { headers: { Authorization: `Bearer ${token}` } });
    const late = await RawClient.open(other.address.url);
    expect(await codeOf(client, 'service.query', { namespace: 'a', service: 's' })).toBeUndefined();
    expect(await codeOf(client, 'service.query', { namespace: 'b', service: 's' })).toBe('forbidden');
    await late.request('session.open', { client: 'x', token });
    expect(await codeOf(late, 'service.query', { namespace: 'a', service: 's' })).toBeUndefined();
    // Each call waits for credentials, and what comes behind it for that.
    const eager = await RawClient.open(other.address.url);
    const pipelined = [
      codeOf(eager, 'session.open', { client: 'x', token: 'wrong' }),
      codeOf(eager, 'session.open', { client: 'x', token }),
      codeOf(eager, 'service.query', { namespace: 'a', service: 's' }),
    ];
    expect(await Promise.all(pipelined)).toEqual(['unauthorized', undefined, undefined]);
    eager.close();
    const forged = await (await IssuerKey.generate('ES256', 'k')).sign({ ...claims, exp: seconds + 60 });
    expect((await ask('GET', '/v1/whoami', forged)).code).toBe('unauthorized');
    expect(await client.closed).toEqual({ code: 4006, reason: 'unauthorized' });
    expect((await late.closed).code).toBe(4006);
    expect((await ask('GET', '/v1/whoami', token)).code).toBe('unauthorized');
  } finally {
    [base, admin] = before;
    await other.stop();
    rmSync(place, { recursive: true });
  }
});

test('[AC1] a client certificate is who it names, on both doors, unless a token is shown', async () => {
  const place = mkdtempSync(path.join(tmpdir(), 'slotcast-access-'));
  const before = [base, admin] as const;
  const clear = await start({ dataDir: place });
  base = clear.address.httpUrl!;
  admin = readFileSync(path.join(place, 'bootstrap-token'), 'utf8').trim();
  await create('PUT', '/v1/policies', { ...tenantPolicy, principals: ['certificate:orders'] });
  await clear.stop();
  const own = admin;
  [base, admin] = before;
  const certificates = new CertificateFolder();
  const { certificate: cert, key } = issueClient(certificates.authority, 'orders');
  const other = await start({
    dataDir: place,
    ...certificates.settings,
    tlsCa: certificates.ca,
    tlsClientCertificate: 'request',
  });
  try {
    const shown = { ca: certificates.trust, cert, key };
    const whoAmI = `${other.address.httpUrl}/v1/whoami`;
    const orders = JSON.parse((await callOverTls(whoAmI, shown)).text) as { readonly principal: string };
    expect(orders).toMatchObject({ principal: 'certificate:orders', policies: ['tenant-a'] });
    expect((await callOverTls(whoAmI, { ca: certificates.trust })).status).toBe(401);
    const client = await RawClient.open(other.address.url, shown);
    expect(await codeOf(client, 'service.query', { namespace: 'a', service: 's' })).toBeUndefined();
    expect(await codeOf(client, 'service.query', { namespace: 'b', service: 's' })).toBe('forbidden');
    client.close();
    const headers = { Authorization: `Bearer ${own}` };
    const both = await RawClient.open(other.address.url, { ...shown, headers });
    expect(await codeOf(both, 'service.query', { namespace: 'b', service: 's' })).toBeUndefined();
    both.close();
  } finally {
    await other.stop();
    certificates.remove();
    rmSync(place, { recursive: true });
  }
});

test('there are no more tokens and policies than may be, and those that are there can be changed', async () => {
  const place = mkdtempSync(path.join(tmpdir(), 'slotcast-access-'));
  const before = [base, admin] as const;
  const other = await start({ dataDir: place, tokensMax: 2, policiesMax: 1 });
  try {
    base = other.address.httpUrl!;
    admin = readFileSync(path.join(place, 'bootstrap-token'), 'utf8').trim();
    const { id } = await create<NewToken>('POST', '/v1/tokens', { name: 'a', policies: [] });
    const full = await ask('POST', '/v1/tokens', admin, { name: 'b', policies: [] });
    expect(full.value['error']).toMatchObject({ code: 'limit_exceeded', limit: 'tokensMax', max: 2 });
    await ask('DELETE', `/v1/tokens?id=${id}`, admin);
    await create('POST', '/v1/tokens', { name: 'b', policies: [] });
    await create('PUT', '/v1/policies', { policy: 'a', rules: [] });
    const more = await ask('PUT', '/v1/policies', admin, { policy: 'b', rules: [] });
    expect(more.value['error']).toMatchObject({ code: 'limit_exceeded', limit: 'policiesMax', max: 1 });
    await create('PUT', '/v1/policies', { policy: 'a', rules: [], description: 'changed' });
  } finally {
    [base, admin] = before;
    await other.stop();
    rmSync(place, { recursive: true });
  }
});

test('without access control nothing is asked for, and no key is made', async () => {
  const plain = mkdtempSync(path.join(tmpdir(), 'slotcast-access-'));
  const other = await start({ dataDir: plain, accessControl: 'off' });
  const response = await fetch(`${other.address.httpUrl}/v1/switches`);
  expect(response.status).toBe(200);
  expect(existsSync(path.join(plain, 'token.key'))).toBe(false);
  await other.stop();
  rmSync(plain, { recursive: true });
});
