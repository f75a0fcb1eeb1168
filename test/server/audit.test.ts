import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

import { startFaultyServer } from 'slotcast/testing';
import type { FaultyServer } from 'slotcast/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { checkAuditFiles, findAuditFiles } from '../../src/audit/audit-reading.ts';
import { httpOperations } from '../../src/protocol/http-operations.ts';
import type { OperationId } from '../../src/protocol/http-operations.ts';
import { ioThreads } from '../support/io-threads.ts';
import { RawClient } from '../support/raw-client.ts';

const config = { port: 0, ioThreads, partitions: 2, logLevel: 'silent', warmUpMs: 0 } as const;

let server: FaultyServer;
let dataDir: string;

beforeEach(async () => {
  dataDir = mkdtempSync(path.join(tmpdir(), 'slotcast-audit-'));
  server = await startFaultyServer({ ...config, dataDir });
});
afterEach(async () => {
  await server.stop();
  rmSync(dataDir, { recursive: true });
});

interface Line {
  readonly seq: number;
  readonly at: string;
  readonly who: string;
  readonly from: { readonly address: string; readonly session?: string };
  readonly what: string;
  readonly target?: Record<string, unknown>;
  readonly before?: Record<string, unknown>;
  readonly after?: Record<string, unknown>;
  readonly outcome: string;
  readonly request?: string;
  readonly hash: string;
}

function readText(): string {
  const folder = path.join(dataDir, 'audit');
  return readdirSync(folder)
    .sort()
    .map((name) => readFileSync(path.join(folder, name), 'utf8'))
    .join('');
}

/** What has been done, but for what the server does by itself. */
function readActs(): Line[] {
  const lines = readText().split('\n').slice(0, -1);
  return lines.map((line) => JSON.parse(line) as Line).filter(({ who }) => who !== 'server');
}

/** Lines of changes of keys come a little later than their answers. */
async function settle(): Promise<void> {
  await new Promise((resolve) => {
    setTimeout(resolve, 60);
  });
}

interface HttpCall {
  readonly method?: string;
  readonly path: string;
  readonly body?: object | string;
}

const secret = 'a value that nobody may read';

async function call({ method = 'GET', path: target, body }: HttpCall, request = 'request-7'): Promise<Response> {
  const isText = typeof body === 'string';
  const type = isText ? 'application/octet-stream' : 'application/json';
  const response = await fetch(`${server.address.httpUrl}${target}`, {
    method,
    headers: { 'x-request-id': request, ...(body === undefined ? {} : { 'content-type': type }) },
    ...(body === undefined ? {} : { body: isText ? body : JSON.stringify(body) }),
  });
  await response.clone().arrayBuffer();
  return response;
}

const instance = { host: '10.0.0.1', port: 80, id: 'a' };
const off = { kind: 'service-off', service: 'orders', reason: 'on fire' };
const query = new URLSearchParams({ kind: 'service-off', service: 'orders' }).toString();
const registered: HttpCall = {
  method: 'PUT',
  path: '/v1/instances',
  body: { service: 'orders', instance, persistent: true },
};
const declared: HttpCall = {
  method: 'PUT',
  path: '/v1/services/orders',
  body: { owner: 'team', instances: [instance] },
};
const stored: HttpCall = { method: 'PUT', path: '/v1/keys/config/a', body: secret };

interface Act {
  readonly first?: HttpCall;
  /** `id`: of the answer to the first one. */
  readonly ask: HttpCall | ((id: string) => HttpCall);
  readonly says: object;
}

const freeze: HttpCall = { method: 'PUT', path: '/v1/switches', body: off };
const release: HttpCall = { method: 'PUT', path: '/v1/guard/release', body: {} };
const backUp: HttpCall = { path: '/v1/backup' };
const policy = { policy: 'team', rules: [{ actions: ['read'] }] };
const created: HttpCall = { method: 'POST', path: '/v1/tokens', body: { name: 'orders', policies: ['team'] } };

/** Every operation that changes something: what must have been done before, how it is asked for, and what its line says. */
const acts: Partial<Record<OperationId, Act>> = {
  registerInstance: { ask: registered, says: { target: { service: 'public/DEFAULT/orders', id: 'a' } } },
  deregisterInstance: {
    first: registered,
    ask: { method: 'DELETE', path: '/v1/instances?service=orders&id=a&persistent=true' },
    says: { before: { instances: [{ id: 'a', port: 80 }] } },
  },
  declareService: { ask: declared, says: { after: { owner: 'team', instances: [{ id: 'a' }] } } },
  withdrawService: {
    first: declared,
    ask: { method: 'DELETE', path: '/v1/services/orders' },
    says: { before: { owner: 'team', instances: [{ id: 'a' }] } },
  },
  putKey: { ask: stored, says: { target: { key: 'config/a', version: expect.any(Number) } } },
  deleteKey: {
    first: stored,
    ask: { method: 'DELETE', path: '/v1/keys/config/a' },
    says: { target: { key: 'config/a' } },
  },
  deleteKeys: {
    first: stored,
    ask: { method: 'DELETE', path: '/v1/keys?prefix=config' },
    says: { target: { prefix: 'config', deleted: 1 } },
  },
  transactKeys: {
    ask: {
      method: 'POST',
      path: '/v1/transaction',
      body: {
        operations: [
          { op: 'put', key: 'x', value: Buffer.from(secret).toString('base64') },
          { op: 'get', key: 'y' },
          { op: 'delete', key: 'z' },
        ],
      },
    },
    says: { target: { changes: [{ put: { key: 'x' } }, { delete: { key: 'z' } }], version: expect.any(Number) } },
  },
  setSwitch: {
    ask: { method: 'PUT', path: '/v1/switches', body: off },
    says: { target: { kind: 'service-off' }, after: off },
  },
  liftSwitch: {
    first: { method: 'PUT', path: '/v1/switches', body: off },
    ask: { method: 'DELETE', path: `/v1/switches?${query}` },
    says: { before: off },
  },
  removeInstance: {
    first: registered,
    ask: { method: 'POST', path: '/v1/instances/remove', body: { service: 'orders', id: 'a' } },
    says: { target: { service: 'public/DEFAULT/orders', id: 'a' } },
  },
  sendAway: {
    ask: { method: 'POST', path: '/v1/sessions/goaway', body: { percent: 10 } },
    says: { target: { percent: 10 }, after: { sessions: 0 } },
  },
  releaseGuard: { ask: { method: 'PUT', path: '/v1/guard/release', body: {} }, says: {} },
  resizePartitions: {
    ask: { method: 'PUT', path: '/v1/partitions', body: { partitions: 3 } },
    says: { target: { partitions: 3 } },
  },
  rebalancePartitions: { ask: { method: 'PUT', path: '/v1/rebalance' }, says: {} },
  backUp: { ask: { path: '/v1/backup' }, says: {} },
  putPolicy: {
    ask: { method: 'PUT', path: '/v1/policies', body: policy },
    says: { target: { policy: 'team' }, after: policy },
  },
  deletePolicy: {
    first: { method: 'PUT', path: '/v1/policies', body: policy },
    ask: { method: 'DELETE', path: '/v1/policies?policy=team' },
    says: { target: { policy: 'team' }, before: policy },
  },
  createToken: { ask: created, says: { target: { name: 'orders' }, after: { name: 'orders', policies: ['team'] } } },
  rotateToken: {
    first: created,
    ask: (id) => ({ method: 'POST', path: '/v1/tokens/rotate', body: { id } }),
    says: { after: { name: 'orders', policies: ['team'] } },
  },
  revokeToken: {
    first: created,
    ask: (id) => ({ method: 'DELETE', path: `/v1/tokens?id=${id}` }),
    says: { before: { name: 'orders' } },
  },
};

describe('[AU1] over HTTP each leaves one line, with who and from where', () => {
  const audited = (Object.keys(httpOperations) as OperationId[]).filter((id) => httpOperations[id].audit !== 'none');

  test.each(audited)('%s', async (id) => {
    const act = acts[id];
    if (act === undefined) throw new Error(`${id} has no case here`);
    const { first, ask, says } = act;
    const done = first === undefined ? undefined : await call(first, 'before');
    expect(done?.status ?? 200).toBe(200);
    const before = first === undefined ? 0 : 1;
    const { id: named = '' } = (done === undefined ? {} : await done.json()) as { readonly id?: string };
    expect((await call(typeof ask === 'function' ? ask(named) : ask)).status).toBe(200);
    await settle();
    const lines = readActs();
    expect(lines.length - before).toBe(1);
    expect(lines.at(-1)).toMatchObject({
      who: 'anonymous',
      from: { address: '127.0.0.1' },
      what: httpOperations[id].audit,
      outcome: 'done',
      request: 'request-7',
      ...says,
    });
    expect(readText()).not.toContain(secret);
    expect(readText()).not.toContain(Buffer.from(secret).toString('base64'));
    expect(readText()).not.toMatch(/slotcast_[0-9a-f]{16}_/);
  });
});

test('[AU1] what changes nothing that outlives the process, and reads, leave no line', async () => {
  const lease = (await (await call({ method: 'POST', path: '/v1/leases', body: {} })).json()) as { lease: string };
  await call({ method: 'PUT', path: '/v1/instances', body: { service: 'orders', instance, lease: lease.lease } });
  await call({ path: '/v1/instances?service=orders' });
  await call({ path: '/v1/keys/none' });
  await call({ method: 'POST', path: '/v1/transaction', body: { operations: [{ op: 'get', key: 'x' }] } });
  await call({ method: 'DELETE', path: '/v1/keys?prefix=none' });
  // A condition that does not hold.
  await call({ method: 'PUT', path: '/v1/keys/a?cas=77', body: 'x' });
  await settle();
  expect(readActs()).toEqual([]);
});

test('[AU1] what sessions and leases change is noted under their names', async () => {
  const client = await RawClient.open(server.address.url);
  const { session } = await client.request<{ session: string }>('session.open', { client: 'a test' });
  const value = Buffer.from(secret).toString('base64');
  await client.request('kv.put', { key: 'a', value });
  await client.request('kv.put', { key: 'lock', value, acquire: true });
  await client.request('kv.put', { key: 'gone', value, ephemeral: true });
  await client.request('kv.put', { key: 'a', value, ephemeral: true });
  await client.request('instance.register', { service: 'orders', instance });
  await client.request('instance.register', { service: 'orders', instance, persistent: true });
  await client.request('instance.deregister', { service: 'orders', id: 'a', persistent: true });
  const granted = await call({ method: 'POST', path: '/v1/leases', body: {} });
  const { lease } = (await granted.json()) as { lease: string };
  await call({ method: 'PUT', path: `/v1/keys/held?acquire=${lease}`, body: secret });
  await settle();
  const lines = readActs();
  const from = { address: '127.0.0.1', session };
  expect(lines.map(({ what, target }) => [what, target?.['key'] ?? target?.['id'], target?.['lock']])).toEqual([
    ['key.put', 'a', undefined],
    ['key.put', 'lock', 'acquired'],
    // It was there to stay.
    ['key.put', 'a', 'acquired'],
    ['instance.register', 'a', undefined],
    ['instance.deregister', 'a', undefined],
    ['key.put', 'held', 'acquired'],
  ]);
  for (const line of lines.slice(0, -1)) expect(line).toMatchObject({ who: 'anonymous', from });
  expect(lines.at(-1)).toMatchObject({ from: { address: '127.0.0.1', session: expect.any(String) } });
  expect(readText()).not.toContain(lease);
  expect(readText()).not.toContain(value);
  client.close();
});

test('[AU6] refusals are sampled, and those that are left out are counted', async () => {
  const responses = await Promise.all(
    Array.from({ length: 40 }, async () => {
      const response = await fetch(`${server.address.httpUrl}/v1/keys/a?x`, {
        headers: { origin: 'https://evil.example' },
      });
      return response.status;
    }),
  );
  expect(new Set(responses)).toEqual(new Set([403]));
  await new Promise((resolve) => {
    setTimeout(resolve, 1500);
  });
  const refused = readText()
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Line)
    .filter(({ what }) => what === 'request.refused');
  expect(refused).toHaveLength(11);
  expect(refused[0]).toMatchObject({
    outcome: 'refused',
    target: { code: 'forbidden' },
    from: { address: '127.0.0.1' },
  });
  expect(refused.at(-1)).toMatchObject({ who: 'server', target: { code: 'forbidden', leftOut: 30 } });
});

test('[AU6] what a client that is quarantined asks for is noted as refused, under the name of its session', async () => {
  const order = { kind: 'quarantine', app: 'rogue' };
  expect((await call({ method: 'PUT', path: '/v1/switches', body: order })).status).toBe(200);
  const client = await RawClient.open(server.address.url);
  await client.request('session.open', { client: 'a test', app: 'rogue' }).catch(() => undefined);
  await settle();
  expect(readActs().find(({ what }) => what === 'request.refused')).toMatchObject({
    from: { address: '127.0.0.1', session: expect.any(String) },
    target: { code: 'quarantined', method: 'session.open' },
    outcome: 'refused',
  });
  client.close();
});

test('[AU2] the whole log is one chain, across restarts', async () => {
  await call(stored);
  await server.stop();
  server = await startFaultyServer({ ...config, dataDir });
  await call(declared);
  const check = await checkAuditFiles(await findAuditFiles(path.join(dataDir, 'audit')));
  expect(check.firstBreak).toBeUndefined();
  expect(check.lines).toBeGreaterThan(5);
});

/** Until what is asked for has this status. */
async function until(status: number, ask: HttpCall): Promise<void> {
  await expect.poll(async () => (await call(ask)).status, { timeout: 10_000, interval: 50 }).toBe(status);
}

/** The disk takes no other file of the audit log. */
async function fillDisk(settings: { readonly auditRequired: boolean }): Promise<string> {
  await server.stop();
  server = await startFaultyServer({
    ...config,
    ...settings,
    dataDir,
    auditFileBytesMax: 1024,
    auditQueueBytesMax: 1024,
    storeRetryMaxMs: 300,
  });
  const files = readdirSync(path.join(dataDir, 'audit')).sort();
  const next = path.join(dataDir, 'audit', `audit-${String(files.length + 1).padStart(6, '0')}.jsonl`);
  symlinkSync('/dev/full', next);
  return next;
}

test('[AU5] while the disk takes no more of the audit log, what must be in it is refused, and reads go on', async () => {
  const full = await fillDisk({ auditRequired: true });
  await until(503, stored);
  for (const ask of [stored, declared, registered, created, freeze, release, backUp]) {
    const response = await call(ask);
    expect([response.status, ((await response.json()) as { error: { code: string } }).error.code]).toEqual([
      503,
      'storage_unavailable',
    ]);
  }
  expect((await call({ path: '/v1/services' })).status).toBe(200);
  const body = { service: 'orders', instance };
  expect((await call({ method: 'PUT', path: '/v1/instances', body })).status).toBe(200);
  const stats = (await (await call({ path: '/v1/stats' })).json()) as { audit: { state: string } };
  expect(stats.audit.state).toBe('failing');
  expect(await (await call({ path: '/metrics' })).text()).toMatch(/slotcast_audit_failures_total [1-9]/);
  rmSync(full);
  await until(200, stored);
  await until(200, declared);
  await settle();
  const check = await checkAuditFiles(await findAuditFiles(path.join(dataDir, 'audit')));
  expect(check.firstBreak).toBeUndefined();
});

test('[AU5] unless it is required: then acts go on, and how many are missing is noted', async () => {
  const full = await fillDisk({ auditRequired: false });
  const puts = 40;
  for (let i = 0; i < puts; i++) expect((await call(stored)).status).toBe(200);
  rmSync(full);
  await expect.poll(() => readText().includes('audit.gap'), { timeout: 10_000 }).toBe(true);
  const lines = readText().split('\n').slice(0, -1);
  const noted = lines.filter((line) => line.includes('"what":"key.put"')).length;
  const gap = lines.map((line) => JSON.parse(line) as Line).find(({ what }) => what === 'audit.gap');
  expect(noted + Number(gap?.target?.['leftOut'])).toBe(puts);
});
