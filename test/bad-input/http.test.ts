import { gzipSync } from 'node:zlib';

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { hasHead } from '../../src/edges/http/routes.ts';
import { httpOperations } from '../../src/protocol/http-operations.ts';
import { RawSocket } from '../support/raw-socket.ts';
import type { HttpReply } from '../support/raw-socket.ts';
import { Witness } from '../support/witness.ts';

const bodyBytesMax = 65_536;
let witness: Witness;
let socket: RawSocket;

beforeAll(async () => {
  witness = await Witness.start({ bodyBytesMax, allowedOrigins: ['https://console.example'] });
});
afterAll(async () => {
  await witness.stop();
});
beforeEach(async () => {
  socket = await RawSocket.connect(witness.httpPort);
});
afterEach(async () => {
  socket.destroy();
  await socket.ended;
  await witness.expectUnharmed();
});

interface Call {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: readonly string[];
  readonly body?: string | Uint8Array;
}

function encodeCall({ method = 'PUT', path = '/v1/instances', headers, body = '' }: Call): Buffer {
  const all = ['Host: 127.0.0.1', ...(headers ?? ['Content-Type: application/json'])];
  if (Buffer.byteLength(body) > 0) all.push(`Content-Length: ${Buffer.byteLength(body)}`);
  return Buffer.concat([Buffer.from(`${method} ${path} HTTP/1.1\r\n${all.join('\r\n')}\r\n\r\n`), Buffer.from(body)]);
}

async function call(request: Call): Promise<HttpReply> {
  socket.write(encodeCall(request));
  return socket.readReply({ hasBody: request.method !== 'HEAD' });
}

function expectFailure(reply: HttpReply, status: number, code: string): void {
  expect({ status: reply.status, type: reply.headers.get('content-type') }).toEqual({
    status,
    type: 'application/json',
  });
  expect(JSON.parse(reply.body)).toMatchObject({ error: { code, message: expect.any(String) } });
}

/** Would change the watched service if it were carried out. */
const intruder = { service: 'known', instance: { host: 'intruder', port: 1 } };

function nest(depth: number): string {
  return '['.repeat(depth) + ']'.repeat(depth);
}

describe('[WP3] bodies', () => {
  const good = '"service":"known","instance":{"host":"intruder","port":1}';
  const bodies: readonly (readonly [string, number, string, string | Uint8Array])[] = [
    ['nothing', 400, 'parse_error', ''],
    ['a word', 400, 'parse_error', 'hello'],
    ['half an object', 400, 'parse_error', `{${good}`],
    ['a form', 400, 'parse_error', 'service=known&port=1'],
    ['a byte order mark', 400, 'parse_error', `\ufeff{${good}}`],
    ['NUL', 400, 'parse_error', '\u0000'],
    ['a compressed body', 400, 'parse_error', Buffer.from('1f8b0800', 'hex')],
    ['null', 400, 'invalid_params', 'null'],
    ['a list', 400, 'invalid_params', `[{${good}}]`],
    [
      'a lone surrogate in metadata',
      400,
      'invalid_params',
      String.raw`{"service":"s","instance":{"host":"h","port":1,"metadata":{"k":"\ud800"}}}`,
    ],
    [
      'a lone surrogate in a host',
      400,
      'invalid_params',
      String.raw`{"service":"s","instance":{"host":"\udc00","port":1}}`,
    ],
    ['a string', 400, 'invalid_params', '"known"'],
    ['an empty object', 400, 'invalid_params', '{}'],
    ['30,000 nested lists', 400, 'invalid_params', nest(30_000)],
    ['an unknown field', 400, 'invalid_params', `{${good},"more":1}`],
    ['__proto__', 400, 'invalid_params', `{${good},"__proto__":{"lease":"x"}}`],
    ['constructor', 400, 'invalid_params', `{${good},"constructor":{}}`],
    [
      '__proto__ in metadata',
      400,
      'invalid_params',
      '{"service":"known","instance":{"host":"h","port":1,"metadata":{"__proto__":"x"}}}',
    ],
    ['a port as text', 400, 'invalid_params', '{"service":"known","instance":{"host":"h","port":"80"}}'],
    ['port 1e400', 400, 'invalid_params', '{"service":"known","instance":{"host":"h","port":1e400}}'],
    ['an empty name', 400, 'invalid_params', '{"service":"","instance":{"host":"h","port":1}}'],
    ['a control character in a name', 400, 'invalid_params', '{"service":"a\\nb","instance":{"host":"h","port":1}}'],
    ['a lease that is empty', 400, 'invalid_params', `{${good},"lease":""}`],
    ['a lease with other characters', 400, 'invalid_params', `{${good},"lease":"../x"}`],
    ['a lease of 129 characters', 400, 'invalid_params', `{${good},"lease":"${'x'.repeat(129)}"}`],
    ['a lease that is a number', 400, 'invalid_params', `{${good},"lease":1}`],
    ['an unknown lease', 404, 'not_found', `{${good},"lease":"nobodys"}`],
    ['the lease __proto__', 404, 'not_found', `{${good},"lease":"__proto__"}`],
    ['ttlMs 0', 400, 'invalid_params', `{${good},"ttlMs":0}`],
    ['ttlMs -1', 400, 'invalid_params', `{${good},"ttlMs":-1}`],
    ['ttlMs 1.5', 400, 'invalid_params', `{${good},"ttlMs":1.5}`],
    ['ttlMs as text', 400, 'invalid_params', `{${good},"ttlMs":"1000"}`],
    ['ttlMs 1e400', 400, 'invalid_params', `{${good},"ttlMs":1e400}`],
    ['ttlMs null', 400, 'invalid_params', `{${good},"ttlMs":null}`],
    ['one byte more than is allowed', 413, 'limit_exceeded', `{${good}}`.padEnd(bodyBytesMax + 1)],
    ['ten times what is allowed', 413, 'limit_exceeded', `{${good}}`.padEnd(bodyBytesMax * 10)],
  ];
  test.each(bodies)('%s', async (_, status, code, body) => {
    expectFailure(await call({ body }), status, code);
  });

  test('bytes that are not UTF-8', async () => {
    const text = JSON.stringify({ service: 'kn\u00ffwn', instance: { host: 'h', port: 1 } });
    const reply = await call({ body: Buffer.from(text, 'latin1') });
    // Should it be accepted after all, the tests that follow must not suffer from it.
    const { lease } = JSON.parse(reply.body) as { lease?: string };
    if (lease !== undefined) await call({ method: 'DELETE', path: `/v1/leases/${lease}` });
    expectFailure(reply, 400, 'parse_error');
  });

  test.each([
    ['none', []],
    ['text/plain', ['Content-Type: text/plain']],
    ['a form', ['Content-Type: application/x-www-form-urlencoded']],
    ['a look-alike', ['Content-Type: application/jsonx']],
    ['JSON as a parameter', ['Content-Type: text/plain; application/json']],
    ['empty', ['Content-Type:']],
  ])('content type %s', async (_, headers) => {
    expectFailure(await call({ headers, body: JSON.stringify(intruder) }), 400, 'invalid_request');
  });
});

describe('[WP3] what a body is encoded with beside JSON is refused before it is read, with what is taken instead', () => {
  const body = gzipSync(JSON.stringify(intruder));
  test.each(['gzip', 'GZIP', 'br', 'deflate, gzip', 'identity, gzip', 'x'])('%s', async (coding) => {
    const headers = ['Content-Type: application/json', `Content-Encoding: ${coding}`];
    const reply = await call({ headers, body });
    expectFailure(reply, 415, 'invalid_request');
    expect(reply.headers.get('accept-encoding')).toBe('identity');
    // The connection goes on behind the body.
    expect((await call({ method: 'GET', path: '/health/live', headers: [] })).status).toBe(200);
    // Also of a body that comes in chunks, and by whatever method.
    const chunk = `${body.length.toString(16)}\r\n${body.toString('latin1')}\r\n0\r\n\r\n`;
    const head = `DELETE /v1/leases/x HTTP/1.1\r\nHost: x\r\nContent-Encoding: ${coding}\r\nTransfer-Encoding: chunked\r\n\r\n`;
    socket.write(Buffer.from(head + chunk, 'latin1'));
    expectFailure(await socket.readReply(), 415, 'invalid_request');
  });

  test.each(['identity', 'Identity', ''])('%j is none', async (coding) => {
    const headers = ['Content-Type: application/json', `Content-Encoding: ${coding}`];
    expectFailure(await call({ headers, body: '{}' }), 400, 'invalid_params');
  });

  test('where there is no body nothing is encoded', async () => {
    const headers = ['Content-Encoding: gzip'];
    expect((await call({ method: 'GET', path: '/health/live', headers })).status).toBe(200);
  });
});

describe('[SE4] TTLs out of range are moved into it, and the answer says so', () => {
  test.each([
    [1, 1000],
    [999, 1000],
    [1000, 1000],
    [600_001, 600_000],
    [Number.MAX_SAFE_INTEGER, 600_000],
  ])('%s', async (ttlMs, granted) => {
    const { status, body } = await call({
      body: JSON.stringify({ service: 'leased', instance: { host: 'h', port: 1 }, ttlMs }),
    });
    expect(status).toBe(200);
    const result = JSON.parse(body) as { lease: string; ttlMs: number };
    expect(result.ttlMs).toBe(granted);
    expect((await call({ method: 'DELETE', path: `/v1/leases/${result.lease}` })).status).toBe(200);
  });
});

describe('[WP3] queries', () => {
  const queries: readonly (readonly [string, string, string, number, string])[] = [
    ['no service', 'GET', '/v1/instances', 400, 'invalid_params'],
    ['an empty query', 'GET', '/v1/instances?', 400, 'invalid_params'],
    ['an empty service', 'GET', '/v1/instances?service=', 400, 'invalid_params'],
    ['the service twice', 'GET', '/v1/instances?service=known&service=other', 400, 'invalid_params'],
    ['the service twice, once encoded', 'GET', '/v1/instances?service=known&%73ervice=other', 400, 'invalid_params'],
    ['an unknown parameter', 'GET', '/v1/instances?service=known&color=red', 400, 'invalid_params'],
    ['a fragment', 'GET', '/v1/instances?service=known#color', 400, 'parse_error'],
    ['a list in brackets', 'GET', '/v1/instances?service[]=known', 400, 'invalid_params'],
    ['__proto__', 'GET', '/v1/instances?service=known&__proto__=x', 400, 'invalid_params'],
    ['__proto__ in brackets', 'GET', '/v1/instances?service=known&__proto__[x]=y', 400, 'invalid_params'],
    ['constructor', 'GET', '/v1/instances?service=known&constructor=x', 400, 'invalid_params'],
    ['an encoded line feed', 'GET', '/v1/instances?service=a%0d%0aSet-Cookie:x', 400, 'invalid_params'],
    ['an encoded NUL', 'GET', '/v1/instances?service=a%00', 400, 'invalid_params'],
    ['a group with a slash', 'GET', '/v1/instances?service=known&group=a%2Fb', 400, 'invalid_params'],
    ['limit 0', 'GET', '/v1/services?limit=0', 400, 'invalid_params'],
    ['limit -1', 'GET', '/v1/services?limit=-1', 400, 'invalid_params'],
    ['limit 1001', 'GET', '/v1/services?limit=1001', 400, 'invalid_params'],
    ['limit 1.5', 'GET', '/v1/services?limit=1.5', 400, 'invalid_params'],
    ['limit 1e2', 'GET', '/v1/services?limit=1e2', 400, 'invalid_params'],
    ['limit 0x10', 'GET', '/v1/services?limit=0x10', 400, 'invalid_params'],
    ['limit NaN', 'GET', '/v1/services?limit=NaN', 400, 'invalid_params'],
    ['limit of a thousand digits', 'GET', `/v1/services?limit=${'9'.repeat(1000)}`, 400, 'invalid_params'],
    ['an empty prefix', 'GET', '/v1/services?prefix=', 400, 'invalid_params'],
    ['a cursor of 2049 characters', 'GET', `/v1/services?cursor=${'x'.repeat(2049)}`, 400, 'invalid_params'],
    ['declarations with limit 0', 'GET', '/v1/declarations?limit=0', 400, 'invalid_params'],
    ['declarations of a namespace with a slash', 'GET', '/v1/declarations?namespace=a%2Fb', 400, 'invalid_params'],
    ['declarations with a cursor that is none', 'GET', '/v1/declarations?cursor=%2F', 400, 'invalid_params'],
    [
      'a deregistration without a lease',
      'DELETE',
      '/v1/instances?service=known&id=known.example:1',
      400,
      'invalid_params',
    ],
    [
      'a deregistration by an unknown lease',
      'DELETE',
      '/v1/instances?service=known&id=known.example:1&lease=nobodys',
      404,
      'not_found',
    ],
    ['an unknown lease', 'PUT', '/v1/leases/nobodys', 404, 'not_found'],
    ['the lease __proto__', 'DELETE', '/v1/leases/__proto__', 404, 'not_found'],
    ['the lease constructor', 'DELETE', '/v1/leases/constructor', 404, 'not_found'],
    ['the lease ..', 'DELETE', '/v1/leases/..', 404, 'not_found'],
    ['a lease with a slash', 'DELETE', '/v1/leases/a/b', 404, 'not_found'],
    ['no lease', 'PUT', '/v1/leases/', 404, 'not_found'],
  ];
  test.each(queries)('%s', async (_, method, path, status, code) => {
    expectFailure(await call({ method, path }), status, code);
  });

  test('[SE1] a lease does not remove what a session holds', async () => {
    const { body } = await call({ body: JSON.stringify({ service: 'leased', instance: { host: 'h', port: 1 } }) });
    const { lease } = JSON.parse(body) as { lease: string };
    const path = `/v1/instances?service=known&id=known.example:1&lease=${lease}`;
    expectFailure(await call({ method: 'DELETE', path }), 409, 'not_owner');
    expect((await call({ method: 'DELETE', path: `/v1/leases/${lease}` })).status).toBe(200);
  });

  test('a first registration that is refused grants no lease', async () => {
    expectFailure(await call({ body: JSON.stringify({ ...intruder, ttlMs: 0 }) }), 400, 'invalid_params');
    expect((await witness.readStats()).leases).toBe(0);
  });
});

test.each([
  ['a query', '/v1/instances?service=', ''],
  ['a path', '/v1/leases/', ''],
  ['a header', '/v1/services', 'X: '],
])('[WP3] %s of 100 kB is refused with 431', async (_, path, header) => {
  const long = 'x'.repeat(100_000);
  socket.write(
    header === ''
      ? encodeCall({ method: 'GET', path: `${path}${long}`, headers: [] })
      : encodeCall({ method: 'GET', path, headers: [`${header}${long}`] }),
  );
  expect((await socket.readReply()).status).toBe(431);
});

describe('[WP3] methods', () => {
  test.each([
    ['POST', '/v1/services'],
    ['PUT', '/v1/services'],
    ['POST', '/v1/instances'],
    ['PATCH', '/v1/instances'],
    ['GET', '/v1/leases/nobodys'],
    ['POST', '/v1/stats'],
    ['DELETE', '/health/live'],
    ['TRACE', '/v1/instances'],
    ['QUERY', '/v1/instances'],
    ['QUERY', '/health/live'],
    ['PROPFIND', '/v1/services'],
    ['REPORT', '/v1/leases/nobodys'],
    ['get', '/v1/services'],
    ['BREW', '/v1/services'],
  ])('%s %s', async (method, path) => {
    const reply = await call({ method, path });
    if (method === 'get') expect(reply.status).toBeLessThan(500);
    else expectFailure(reply, 405, 'unknown_method');
  });

  test.each([
    ['POST', '/health/live', 'GET, HEAD'],
    ['POST', '/v1/instances', 'GET, HEAD, PUT, DELETE'],
    ['GET', '/v1/leases/nobodys', 'PUT, DELETE'],
    ['HEAD', '/v1/rebalance', 'PUT'],
  ])('%s %s gets 405, and Allow names what there is: %s', async (method, path, allowed) => {
    const reply = await call({ method, path });
    expect([reply.status, reply.headers.get('allow')]).toEqual([405, allowed]);
  });

  // Of those that need no query.
  const pages = Object.values(httpOperations).filter(
    (operation) =>
      hasHead(operation) &&
      !operation.path.includes('{') &&
      (operation.query?.required as readonly string[] | undefined)?.[0] === undefined,
  );
  test.each(pages)('HEAD is answered where GET is, without the body: $path', async ({ path }) => {
    const get = await call({ method: 'GET', path });
    expect(get.status).toBe(200);
    const head = await fetch(`${witness.httpUrl}${path}`, { method: 'HEAD' });
    expect([head.status, head.headers.get('content-type')]).toEqual([200, get.headers.get('content-type')]);
    expect(await head.text()).toBe('');
  });

  test('what follows HEAD on the same connection is not mixed up with it', async () => {
    const head = `HEAD /health/live HTTP/1.1\r\nHost: x\r\n\r\n`;
    socket.write(head);
    // By the rules of HTTP an answer to HEAD ends with its head, whatever its Content-Length says.
    await expect.poll(() => socket.unread.includes('\r\n\r\n')).toBe(true);
    socket.write(encodeCall({ method: 'GET', path: '/health/ready', headers: [] }));
    await expect.poll(() => socket.unread.includes('waitingFor')).toBe(true);
    const [first, second] = socket.unread.toString().split('\r\n\r\n');
    expect(first).toMatch(/^HTTP\/1\.1 /);
    expect(second).toMatch(/^HTTP\/1\.1 200 /);
  });
});

describe('[WP3] paths that only look like ours are no pages', () => {
  test.each([
    '/',
    '//v1/services',
    '/v1//services',
    '/v1/services/',
    '/V1/SERVICES',
    '/v1/Services',
    '/v1/%73ervices',
    '/v1%2fservices',
    '/v1/./services',
    '/v1/x/../services',
    '/v1/services;a=b',
    '/v1/services%00',
    '/v1/services%20',
    '/v1/stats/',
    '/v1/services/..%2fstats',
    '/v1/services/a%2F..%2F..%2Fguard',
    '/v1/services/%2e',
    '/v1/services/a/b',
    '/v1/services/%',
    '/v1/services/%ff',
    '/v1/services/nobodys#x',
    '//v1/stats',
    '/v1/leases/x/y',
    '/__proto__',
    '/constructor',
    '/metrics/x',
    '/favicon.ico',
    '/../../../etc/passwd',
    '/%2e%2e/%2e%2e/etc/passwd',
  ])('%s', async (path) => {
    expectFailure(await call({ method: 'GET', path }), 404, 'not_found');
  });
});

test.each(['a/../b', 'a%2F..%2Fb', 'a%2f%2e%2E%2Fb', '.', '%2e%2e', 'a/./b', 'a%5C..', 'a\\..\\b'])(
  '[WP3] the key %s cannot be named by a path, however it is encoded',
  async (name) => {
    for (const method of ['GET', 'PUT', 'DELETE']) {
      const answer = await call({ method, path: `/v1/keys/${name}` });
      expectFailure(answer, 400, 'invalid_params');
    }
  },
);

describe('[WP3] Origins', () => {
  test.each(['null', 'https://evil.example', 'https://console.example.evil.example', 'HTTPS://console.example', '*'])(
    '%s may neither read nor write',
    async (origin) => {
      const headers = ['Content-Type: application/json', `Origin: ${origin}`];
      expectFailure(await call({ headers, body: JSON.stringify(intruder) }), 403, 'forbidden');
      expectFailure(await call({ method: 'GET', path: '/v1/instances?service=known', headers }), 403, 'forbidden');
    },
  );

  test('an allowed one may', async () => {
    const headers = ['Origin: https://console.example'];
    expect((await call({ method: 'GET', path: '/v1/instances?service=known', headers })).status).toBe(200);
  });
});

describe('[WP3] messages that are not HTTP as it should be are cut off or refused, and never carried out', () => {
  const body = JSON.stringify(intruder);
  const head = 'PUT /v1/instances HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n';
  const chunked = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
  const messages: readonly (readonly [string, string])[] = [
    [
      'Transfer-Encoding beside Content-Length',
      `${head}Content-Length: ${body.length}\r\nTransfer-Encoding: chunked\r\n\r\n${chunked}`,
    ],
    ['two Content-Lengths', `${head}Content-Length: 3\r\nContent-Length: ${body.length}\r\n\r\n${body}`],
    ['a negative Content-Length', `${head}Content-Length: -1\r\n\r\n${body}`],
    ['a Content-Length in hex', `${head}Content-Length: 0x10\r\n\r\n${body}`],
    ['a Content-Length of 2^64', `${head}Content-Length: 18446744073709551616\r\n\r\n${body}`],
    ['a chunk of 2^32 - 1 bytes', `${head}Transfer-Encoding: chunked\r\n\r\nffffffff\r\n${body}`],
    ['a chunk of no number', `${head}Transfer-Encoding: chunked\r\n\r\nzz\r\n${body}\r\n0\r\n\r\n`],
    ['less body than announced', `${head}Content-Length: 100000\r\n\r\n${body}`],
    ['a head of 100 kB', `${head}X: ${'x'.repeat(100_000)}\r\nContent-Length: ${body.length}\r\n\r\n${body}`],
    ['ten thousand headers', `${head}${Array.from({ length: 10_000 }, (_, i) => `X${i}: 1\r\n`).join('')}\r\n`],
    ['a head that never ends', head],
    ['a folded header', `GET /v1/services HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\n`],
    ['NUL in a header', `GET /v1/services HTTP/1.1\r\nHost: x\u0000\r\n\r\n`],
    ['a bare line feed', 'GET /v1/services HTTP/1.1\nHost: x\n\n'],
    ['no Host', 'GET /v1/services HTTP/1.1\r\n\r\n'],
    ['HTTP/1.0', 'GET /v1/services HTTP/1.0\r\n\r\n'],
    ['HTTP/0.9', 'GET /v1/services\r\n\r\n'],
    ['spaces before the method', '   GET /v1/services HTTP/1.1\r\nHost: x\r\n\r\n'],
  ];
  test.each(messages)('%s', async (_, message) => {
    socket.write(message);
    // What a server does with each of these may differ; that it is served afterwards, and unchanged, may not.
    const health = await fetch(`${witness.httpUrl}/health/live`);
    expect(health.status).toBe(200);
    socket.reset();
    await socket.ended;
  });

  test('[WP3] Transfer-Encoding beside Content-Length smuggles no second request', async () => {
    const smuggled = `GET /v1/stats HTTP/1.1\r\nHost: x\r\n\r\n`;
    socket.write(`${head}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${smuggled}`);
    await socket.ended;
    expect(socket.unread.toString()).toMatch(/^HTTP\/1\.1 400 /);
    expect(socket.unread.toString()).not.toContain('counters');
  });

  test('a body byte by byte is read, and a lease of it works', async () => {
    const instance = { host: 'h', port: 1 };
    const bytes = encodeCall({ body: JSON.stringify({ service: 'slow', instance }) });
    // uWebSockets.js wants the first line in one piece.
    const lineEnd = bytes.indexOf('\r\n') + 2;
    socket.write(bytes.subarray(0, lineEnd));
    await socket.writeByteByByte(bytes.subarray(lineEnd));
    const reply = await socket.readReply();
    expect(reply.status).toBe(200);
    const { lease } = JSON.parse(reply.body) as { lease: string };
    expect((await call({ method: 'DELETE', path: `/v1/leases/${lease}` })).status).toBe(200);
  });

  test('a chunked body is read', async () => {
    const text = JSON.stringify({ service: 'chunked', instance: { host: 'h', port: 1 } });
    socket.write(`${head}Transfer-Encoding: chunked\r\n\r\n${text.length.toString(16)}\r\n${text}\r\n0\r\n\r\n`);
    const reply = await socket.readReply();
    expect(reply.status).toBe(200);
    const { lease } = JSON.parse(reply.body) as { lease: string };
    expect((await call({ method: 'DELETE', path: `/v1/leases/${lease}` })).status).toBe(200);
  });

  test('a caller that leaves before the answer harms nobody', async () => {
    for (let round = 0; round < 50; round++) {
      const one = await RawSocket.connect(witness.httpPort);
      one.write(encodeCall({ method: 'GET', path: '/v1/services', headers: [] }));
      one.reset();
      expect(await one.ended).toEqual({ code: undefined });
    }
  });
});
