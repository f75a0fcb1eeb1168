import { readdirSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';

import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { httpOperations } from '../../src/protocol/http-operations.ts';
import type { OperationId } from '../../src/protocol/http-operations.ts';
import type {
  ServiceInspection,
  SessionInspection,
  SessionsResult,
  SlotsResult,
} from '../../src/protocol/http-results.ts';
import { createValidator } from '../../src/sessions/validation.ts';
import { canSharePorts } from '../../src/transport/port-sharer.ts';
import { RawClient } from '../support/raw-client.ts';
import { RawSocket } from '../support/raw-socket.ts';
import { root } from '../support/source-files.ts';
import { transportKind } from '../support/transport-kind.ts';

interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

const transports = [...new Set([transportKind, 'node' as const])];
const kinds = transports
  .flatMap((transport) => [0, 2].map((ioThreads) => ({ transport, ioThreads })))
  .filter(({ transport, ioThreads }) => ioThreads === 0 || transport === 'uws' || canSharePorts());

function countSlots({ runs }: SlotsResult): number {
  return runs.reduce((sum, { slots }) => sum + slots, 0);
}

describe.each(kinds)('with $ioThreads I/O threads and sockets of $transport', ({ transport, ioThreads }) => {
  let server: Server;
  let httpPort = 0;
  beforeAll(async () => {
    server = await startServer({
      port: 0,
      partitions: 2,
      logLevel: 'silent',
      drainTimeoutMs: 0,
      inMemory: true,
      transport,
      ioThreads,
    });
    httpPort = server.address.httpPort!;
  });
  afterAll(async () => {
    await server.stop();
  });

  function ask(method: string, path: string, headers: Record<string, string> = {}, body = ''): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const call = request({ host: '127.0.0.1', port: httpPort, method, path, headers }, (response) => {
        const parts: Buffer[] = [];
        response.on('data', (part: Buffer) => parts.push(part));
        response.on('end', () => {
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts) });
        });
      });
      call.on('error', reject);
      call.end(body);
    });
  }

  /** Of an operation that answers with JSON, checked by its schema. */
  async function read<T>(id: OperationId, query = ''): Promise<T> {
    const { path, result } = httpOperations[id];
    const body = JSON.parse((await ask('GET', path + query)).body.toString()) as T & object;
    expect(createValidator(result)(body)).toEqual({ ok: true, value: body });
    expect(createValidator(result)({ ...body, unknown: 1 })).toMatchObject({ ok: false });
    return body;
  }

  async function listAssets(): Promise<string[]> {
    const page = (await ask('GET', '/console')).body.toString();
    return [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, url = '']) => url);
  }

  test('the page and what it refers to are served with their types, and are not sent again to who has them', async () => {
    const assets = await listAssets();
    expect(assets.length).toBeGreaterThan(2);
    const types: Record<string, string> = { js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' };
    for (const path of ['/console', ...assets]) {
      const { status, headers, body } = await ask('GET', path);
      const type = path === '/console' ? 'text/html' : types[path.split('.').at(-1) ?? ''];
      expect([path, status, headers['content-type']?.split(';')[0]]).toEqual([path, 200, type]);
      expect(headers['x-content-type-options']).toBe('nosniff');
      expect(headers['cache-control']).toContain(path === '/console' ? 'no-cache' : 'immutable');
      const known = await ask('GET', path, { 'If-None-Match': String(headers.etag) });
      expect([known.status, known.body.length, known.headers.etag]).toEqual([304, 0, headers.etag]);
      expect((await ask('GET', path, { 'If-None-Match': '"other"' })).status).toBe(200);
      const head = await ask('HEAD', path);
      expect([head.status, head.body.length]).toEqual([200, 0]);
      expect(head.headers['content-length']).toBe(String(body.length));
    }
  });

  test('who accepts compressed files gets them, with a tag of their own', async () => {
    for (const path of ['/console', ...(await listAssets())]) {
      const plain = await ask('GET', path, { 'Accept-Encoding': 'identity' });
      expect(plain.headers['content-encoding']).toBeUndefined();
      expect(plain.headers.vary).toContain('Accept-Encoding');
      const br = await ask('GET', path, { 'Accept-Encoding': 'gzip, deflate, br' });
      expect(br.headers['content-encoding']).toBe('br');
      expect(brotliDecompressSync(br.body).equals(plain.body)).toBe(true);
      const gzip = await ask('GET', path, { 'Accept-Encoding': 'br;q=0, gzip;q=0.5' });
      expect(gzip.headers['content-encoding']).toBe('gzip');
      expect(gunzipSync(gzip.body).equals(plain.body)).toBe(true);
      expect(new Set([plain, br, gzip].map(({ headers }) => headers.etag)).size).toBe(3);
    }
  });

  test('nothing else is served: neither other files nor other methods', async () => {
    const [asset = ''] = await listAssets();
    for (const path of [
      '/console/',
      '/console/index.html',
      `${asset}.br`,
      '/console/../package.json',
      '/console/..%2f..%2f..%2fpackage.json',
      '/console/%2e%2e/main/index.js',
      '/console/..\\main\\index.js',
      '/console//etc/passwd',
      '/console/constructor',
      '/console/%00',
      '/console/x/y',
    ]) {
      const socket = await RawSocket.connect(httpPort);
      socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
      const { status } = await socket.readReply();
      socket.destroy();
      expect([path, status]).toEqual([path, 404]);
    }
    for (const method of ['POST', 'PUT', 'DELETE']) {
      const { status, headers } = await ask(method, '/console');
      expect([method, status, headers.allow]).toEqual([method, 405, 'GET, HEAD']);
    }
  });

  test('[HT2] the page runs no script but its own, connects to nobody but this server, and is in no frame', async () => {
    const { headers, body } = await ask('GET', '/console', { Host: `registry:${httpPort}` });
    const policy = new Map(
      String(headers['content-security-policy'])
        .split('; ')
        .map((rule): [string, string] => [rule.split(' ')[0] ?? '', rule.split(' ').slice(1).join(' ')]),
    );
    expect(Object.fromEntries(policy)).toMatchObject({
      'default-src': "'none'",
      'script-src': "'self'",
      'style-src': "'self'",
      'frame-ancestors': "'none'",
      'connect-src': `'self' ws://registry:${server.address.port}`,
    });
    expect(headers['x-frame-options']).toBe('DENY');
    expect(body.toString()).not.toMatch(/https?:\/\/|<style|<script(?![^>]* src=)| on\w+=/);
  });

  test('[HT2] pages of strangers neither get the page’s files nor act, whatever name leads them here', async () => {
    const kept = JSON.stringify({ kind: 'read-only' });
    const json = { 'Content-Type': 'application/json' };
    for (const [host, origin] of [
      [`127.0.0.1:${httpPort}`, 'http://evil.example'],
      [`127.0.0.1:${httpPort}`, 'null'],
      [`127.0.0.1:${httpPort}`, `http://127.0.0.1:${httpPort + 1}`],
      [`127.0.0.1:${httpPort}`, `http://localhost:${httpPort}`],
      [`evil.example:${httpPort}`, `http://evil.example:${httpPort}`],
      [`evil.example:${httpPort}`, ''],
    ] as const) {
      const headers: Record<string, string> = { Host: host, ...(origin === '' ? {} : { Origin: origin }) };
      for (const [method, path, body] of [
        ['GET', '/console', ''],
        ['PUT', '/v1/switches', kept],
        ['DELETE', '/v1/switches?kind=read-only', ''],
        ['PUT', '/v1/guard/release', '{}'],
        ['GET', '/v1/slots', ''],
      ] as const) {
        const { status } = await ask(method, path, body === '' ? headers : { ...headers, ...json }, body);
        expect([host, origin, method, path, status]).toEqual([host, origin, method, path, 403]);
      }
    }
    expect(JSON.parse((await ask('GET', '/v1/switches')).body.toString())).toEqual({ switches: [] });
    // The page of this server may.
    const own = { Host: `127.0.0.1:${httpPort}`, Origin: `http://127.0.0.1:${httpPort}` };
    expect((await ask('PUT', '/v1/switches', { ...own, ...json }, kept)).status).toBe(200);
    expect((await ask('DELETE', '/v1/switches?kind=read-only', own)).status).toBe(200);
  });

  test('[HT2] sessions of pages: of the console on the same name, and of no other', async () => {
    const { sessionPort, sessionPath } = await read<{ sessionPort: number; sessionPath: string }>('readEndpoints');
    expect(`ws://127.0.0.1:${sessionPort}${sessionPath}`).toBe(server.address.url);
    const open = (origin: string, host: string): Promise<string> =>
      RawClient.open(server.address.url, { origin, headers: { Host: `${host}:${sessionPort}` } }).then(
        (client) => {
          client.close();
          return 'opened';
        },
        () => 'refused',
      );
    for (const [origin, host, expected] of [
      [`http://127.0.0.1:${httpPort}`, '127.0.0.1', 'opened'],
      [`http://localhost:${httpPort}`, 'localhost', 'opened'],
      [`http://[::1]:${httpPort}`, '[::1]', 'opened'],
      [`http://localhost:${httpPort}`, '127.0.0.1', 'refused'],
      [`http://127.0.0.1:${sessionPort}`, '127.0.0.1', 'refused'],
      ['http://127.0.0.1', '127.0.0.1', 'refused'],
      [`https://127.0.0.1:${httpPort}`, '127.0.0.1', 'refused'],
      [`http://evil.example:${httpPort}`, 'evil.example', 'refused'],
      [`http://evil.example:${httpPort}`, '127.0.0.1', 'refused'],
      ['null', '127.0.0.1', 'refused'],
    ] as const) {
      expect([origin, host, await open(origin, host)]).toEqual([origin, host, expected]);
    }
  });

  test('what a session holds, and who claims an instance, is told; also of claims that do not show', async () => {
    const service = 'orders';
    const instance = { host: '10.0.0.1', port: 80 };
    const first = await RawClient.open(server.address.url);
    await first.request('session.open', { client: 'test/1', app: 'first' });
    const second = await RawClient.open(server.address.url);
    await second.request('session.open', { client: 'test/1', app: 'second' });
    await first.request('instance.register', { service, instance });
    await first.request('instance.register', { service, instance: { ...instance, port: 81 } });
    await second.request('instance.register', { service, instance: { ...instance, weight: 7 } });
    await second.request('service.subscribe', { service });
    await first.request('service.subscribe', { service, zone: 'z' });
    const override = { kind: 'instance-override', service, id: '10.0.0.1:80', override: { weight: 3 } };
    await ask('PUT', '/v1/switches', { 'Content-Type': 'application/json' }, JSON.stringify(override));

    const found = await read<ServiceInspection>('inspectService', `?service=${service}`);
    expect(found).toMatchObject({ subscribers: 2, more: false });
    const claims = found.claims.map(({ id, isShown, registered, owner }) => [
      id,
      isShown,
      registered.weight,
      owner?.app,
    ]);
    expect(claims).toEqual([
      // As it is registered, not as it is overridden.
      ['10.0.0.1:80', true, 7, 'second'],
      ['10.0.0.1:80', false, 100, 'first'],
      ['10.0.0.1:81', true, 100, 'first'],
    ]);
    const one = await read<ServiceInspection>('inspectService', `?service=${service}&id=10.0.0.1:81`);
    expect(one.claims.map(({ id }) => id)).toEqual(['10.0.0.1:81']);
    const limited = await read<ServiceInspection>('inspectService', `?service=${service}&limit=2`);
    expect([limited.claims.length, limited.more]).toEqual([2, true]);
    expect(await read('inspectService', '?service=unknown')).toEqual({ subscribers: 0, claims: [], more: false });

    const { sessions } = await read<SessionsResult>('listSessions');
    const name = sessions.find(({ app }) => app === 'first')?.session ?? '';
    const held = await read<SessionInspection>('inspectSession', `?session=${name}`);
    const registrations = new Map(held.registrations.map(({ id, isShown }) => [id, isShown]));
    expect(Object.fromEntries(registrations)).toEqual({ '10.0.0.1:80': false, '10.0.0.1:81': true });
    expect(held.subscriptions).toEqual([{ namespace: 'public', group: 'DEFAULT', service }]);
    expect((await ask('GET', '/v1/inspection/session?session=nobody')).status).toBe(404);
    first.close();
    second.close();
  });

  test('the slot map is told whole, and follows moves', async () => {
    const before = await read<SlotsResult>('readSlots');
    expect(countSlots(before)).toBe(16_384);
    expect(new Set(before.runs.map(({ partition }) => partition))).toEqual(new Set([0, 1]));
    const json = { 'Content-Type': 'application/json' };
    expect((await ask('PUT', '/v1/partitions', json, '{"partitions":3}')).status).toBe(200);
    await expect
      .poll(async () => JSON.parse((await ask('GET', '/v1/partitions')).body.toString()) as unknown, {
        timeout: 30_000,
      })
      .toMatchObject({ move: { isRunning: false, partitions: 3 } });
    const after = await read<SlotsResult>('readSlots');
    expect(countSlots(after)).toBe(16_384);
    expect(after.epoch).toBeGreaterThan(before.epoch);
    expect(new Set(after.runs.map(({ partition }) => partition))).toEqual(new Set([0, 1, 2]));
    expect(after.frozen).toEqual([]);
  });
});

test('all files of the console are less than 120 kB when compressed', () => {
  const folder = `${root}dist/src/console/`;
  const files = readdirSync(folder).filter((name) => name.endsWith('.gz'));
  expect(files.length).toBeGreaterThan(3);
  const bytes = files.reduce((sum, name) => sum + readFileSync(folder + name).length, 0);
  expect(bytes).toBeLessThan(120_000);
});
