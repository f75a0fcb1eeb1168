import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';

import { httpOperations } from '../../src/protocol/http-operations.ts';
import { ask, readCode } from '../support/http-text.ts';
import type { HttpReply } from '../support/raw-socket.ts';
import { Witness } from '../support/witness.ts';

const console_ = 'https://console.example';
const operator = 'https://operator.example';
let witness: Witness;
beforeAll(async () => {
  witness = await Witness.start({
    allowedOrigins: [console_],
    administrationOrigins: [operator],
    allowedHosts: ['registry.example', '.inner.example'],
  });
});
afterAll(() => witness.stop());
afterEach(() => witness.expectUnharmed());

async function call(method: string, path: string, ...headers: string[]): Promise<HttpReply> {
  const lines = headers.some((line) => line.startsWith('Host')) ? headers : ['Host: x', ...headers];
  const { socket, reply } = await ask(witness.httpPort, `${method} ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
  socket.destroy();
  return reply;
}

describe('[HT2] by which names the server may be called', () => {
  test.each([
    '127.0.0.1:7071',
    '[::1]',
    '10.1.2.3',
    'registry',
    'LOCALHOST:1',
    'a.localhost',
    'registry.example.',
    'a.inner.example',
  ])('%s is answered', async (host) => {
    expect((await call('GET', '/v1/services', `Host: ${host}`)).status).toBe(200);
  });

  test.each([
    'evil.example',
    'evil.example:7071',
    'inner.example',
    'registry.example.evil.example',
    '127.0.0.1.evil.example',
  ])('%s gets 403, whatever is asked', async (host) => {
    for (const [method, path] of [
      ['GET', '/v1/services'],
      ['PUT', '/v1/leases/any'],
      ['GET', '/nothing'],
      ['OPTIONS', '*'],
    ] as const) {
      const reply = await call(method, path, `Host: ${host}`);
      expect([method, reply.status, readCode(reply)]).toEqual([method, 403, 'forbidden']);
    }
  });

  test.each(['', 'a b', 'x:', 'x:123456', 'user@x', 'x/y', 'a,b'])('%j is none, and gets 400', async (host) => {
    expect((await call('GET', '/v1/services', `Host: ${host}`)).status).toBe(400);
  });
});

describe('[HT2] pages', () => {
  test.each([console_, operator, 'http://x', 'https://x'])('of %s may read and change', async (origin) => {
    expect((await call('GET', '/v1/services', `Origin: ${origin}`)).status).toBe(200);
    expect((await call('PUT', '/v1/leases/any', `Origin: ${origin}`)).status).toBe(404);
  });

  test.each([
    'https://evil.example',
    'null',
    'http://x:1',
    'http://x.evil.example',
    '*',
    `${console_}/`,
    console_.toUpperCase(),
  ])('of %s may neither', async (origin) => {
    for (const [method, path] of [
      ['GET', '/v1/services'],
      ['PUT', '/v1/leases/any'],
      ['OPTIONS', '/v1/services'],
    ] as const) {
      const reply = await call(method, path, `Origin: ${origin}`);
      expect([reply.status, reply.headers.get('access-control-allow-origin')]).toEqual([403, undefined]);
    }
  });

  test('that may are told so, whatever the answer; caches keep the answers apart', async () => {
    for (const path of ['/v1/services', '/nothing', '/v1/services?more=1']) {
      const { headers } = await call('GET', path, `Origin: ${console_}`);
      expect([headers.get('access-control-allow-origin'), headers.get('vary')]).toEqual([console_, 'Origin']);
    }
    expect((await call('GET', '/v1/services')).headers.has('access-control-allow-origin')).toBe(false);
  });

  test('may ask before: a preflight says what they may', async () => {
    const { status, headers } = await call(
      'OPTIONS',
      '/v1/instances',
      `Origin: ${console_}`,
      'Access-Control-Request-Method: PUT',
      'Access-Control-Request-Headers: content-type',
    );
    expect([status, headers.get('access-control-allow-origin')]).toEqual([204, console_]);
    expect(headers.get('access-control-allow-methods')).toBe('GET, HEAD, PUT, DELETE');
    expect(headers.get('access-control-allow-headers')).toContain('Content-Type');
  });

  // Of a backup the answer is streamed, and there is one at a time.
  test.each(Object.values(httpOperations).filter(({ isLocal, path }) => isLocal && path !== '/v1/backup'))(
    'of allowedOrigins may not administer, others may: $method $path',
    async ({ method, path }) => {
      expect((await call(method, path, `Origin: ${console_}`)).status).toBe(403);
      // The body is missing, or what it asks for changes nothing.
      for (const origin of [operator, 'http://x']) {
        expect([200, 400]).toContain((await call(method, path, `Origin: ${origin}`)).status);
      }
    },
  );
});

describe('[WP3] lists', () => {
  test('have a tag, and are not sent again to who has them', async () => {
    for (const path of ['/v1/instances?service=known', '/v1/services']) {
      const first = await call('GET', path);
      const tag = first.headers.get('etag')!;
      for (const given of [tag, `W/${tag}`, `"other", ${tag}`, '*']) {
        const again = await call('GET', path, `If-None-Match: ${given}`);
        expect([again.status, again.body, again.headers.get('etag')]).toEqual([304, '', tag]);
      }
      expect((await call('GET', path, 'If-None-Match: "other"')).status).toBe(200);
    }
  });

  test('may be filtered', async () => {
    const client = await witness.openClient();
    const register = (host: string, more: object): Promise<unknown> =>
      client.request('instance.register', { service: 'filtered', instance: { host, port: 1, ...more } });
    await register('a', { zone: 'z1', metadata: { lane: 'blue', 'a[b]': 'c' } });
    await register('b', { zone: 'z2', enabled: false, metadata: { lane: 'blue' } });
    expect(await hosts('')).toEqual(['a', 'b']);
    expect(await hosts('&zone=z2')).toEqual(['b']);
    expect(await hosts('&enabledOnly=true')).toEqual(['a']);
    expect(await hosts('&selector[lane]=blue')).toEqual(['a', 'b']);
    expect(await hosts('&selector%5Ba%5Bb%5D%5D=c&selector[lane]=blue')).toEqual(['a']);
    client.close();
    await client.closed;
  });

  test.each([
    'enabledOnly=1',
    'enabledOnly=true&enabledOnly=true',
    'selector=x',
    'selector[a]=1&selector[a]=2',
    'selector[a]=1&selector=x',
    'zone=',
  ])('are not filtered by %s', async (query) => {
    const reply = await call('GET', `/v1/instances?service=known&${query}`);
    expect([reply.status, readCode(reply)]).toEqual([400, 'invalid_params']);
  });

  test.each(Object.values(httpOperations))(
    '$method $path takes no parameter that it does not know',
    async ({ method, path }) => {
      const reply = await call(method, `${path.replace('{lease}', 'any')}?more=1`, 'Content-Type: application/json');
      expect([reply.status, readCode(reply)]).toEqual([400, 'invalid_params']);
    },
  );
});

/** Hosts of the filtered service. */
async function hosts(query: string): Promise<string[]> {
  const { body } = await call('GET', `/v1/instances?service=filtered${query}`);
  return (JSON.parse(body) as { instances: { host: string }[] }).instances.map(({ host }) => host);
}
