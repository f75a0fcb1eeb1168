import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';

import { ask, encodeChunk, healthHead, putHead, readCode, registration } from '../support/http-text.ts';
import { RawSocket } from '../support/raw-socket.ts';
import { Witness } from '../support/witness.ts';

let witness: Witness;
beforeAll(async () => {
  witness = await Witness.start();
});
afterAll(() => witness.stop());
afterEach(() => witness.expectUnharmed());

/** A registration that was carried out is undone, so that nothing is left of it. */
async function endLease(body: string): Promise<void> {
  const { lease } = JSON.parse(body) as { lease: string };
  const { status } = await fetch(`${witness.httpUrl}/v1/leases/${lease}`, { method: 'DELETE' });
  expect(status).toBe(200);
}

describe('[HT1] what is right in an unusual form is answered', () => {
  test('a request in two pieces, wherever it is cut', async () => {
    const whole = `${healthHead}X-Long: ${'y'.repeat(20)}\r\n\r\n`;
    const socket = await RawSocket.connect(witness.httpPort);
    for (let at = 1; at < whole.length; at++) {
      socket.write(whole.slice(0, at));
      await new Promise(setImmediate);
      socket.write(whole.slice(at));
      expect((await socket.readReply()).body).toBe('{"status":"live"}');
    }
    socket.destroy();
  });

  test('a registration byte by byte, its first line too', async () => {
    const socket = await RawSocket.connect(witness.httpPort);
    await socket.writeByteByByte(
      Buffer.from(`${putHead}Content-Length: ${registration.length}\r\n\r\n${registration}`),
    );
    const { status, body } = await socket.readReply();
    expect(status).toBe(200);
    await endLease(body);
    socket.destroy();
  });

  test('requests in one packet, in their order', async () => {
    const socket = await RawSocket.connect(witness.httpPort);
    // The first takes the longest.
    const paths = ['/v1/instances?service=known', '/health/live', '/nothing', '/health/started'];
    socket.write(paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`).join(''));
    const replies = [];
    for (const _ of paths) replies.push(await socket.readReply());
    expect(replies.map(({ status }) => status)).toEqual([200, 200, 404, 200]);
    expect(replies.map(({ body }) => body.slice(0, 17))).toEqual([
      expect.stringContaining('{"version":'),
      '{"status":"live"}',
      expect.stringContaining('{"error"'),
      '{"status":"starte',
    ]);
    socket.destroy();
  });

  test('a request behind one with a body', async () => {
    const socket = await RawSocket.connect(witness.httpPort);
    socket.write(`${putHead}Content-Length: ${registration.length}\r\n\r\n${registration}${healthHead}\r\n`);
    const first = await socket.readReply();
    expect([first.status, (await socket.readReply()).body]).toEqual([200, '{"status":"live"}']);
    await endLease(first.body);
    socket.destroy();
  });

  test.each([
    ['', 'close'],
    ['Connection: keep-alive\r\n', 'keep-alive'],
  ])('HTTP/1.0 without Host, and the connection as it wishes, headers: %j', async (headers, connection) => {
    const { socket, reply } = await ask(witness.httpPort, `GET /health/live HTTP/1.0\r\n${headers}\r\n`);
    expect([reply.status, reply.headers.get('connection')]).toEqual([200, connection]);
    if (connection === 'close') await socket.ended;
    else socket.destroy();
  });

  test('an absolute target, whose authority counts rather than Host', async () => {
    const text = 'GET http://localhost:1/health/live HTTP/1.1\r\nHost: evil.example\r\n\r\n';
    const { socket, reply } = await ask(witness.httpPort, text);
    expect(reply.status).toBe(200);
    socket.write('GET http://evil.example/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n');
    expect((await socket.readReply()).status).toBe(403);
    socket.write('GET http://localhost HTTP/1.1\r\nHost: localhost\r\n\r\n');
    expect((await socket.readReply()).status).toBe(404);
    socket.destroy();
  });

  test('Expect: 100-continue', async () => {
    const socket = await RawSocket.connect(witness.httpPort);
    socket.write(`${putHead}Expect: 100-continue\r\nContent-Length: ${registration.length}\r\n\r\n`);
    expect((await socket.readReply()).status).toBe(100);
    socket.write(registration);
    const { status, body } = await socket.readReply();
    expect(status).toBe(200);
    await endLease(body);
    socket.destroy();
  });

  test.each([
    ['plain', encodeChunk(registration)],
    ['with extensions', encodeChunk(registration, ';a=b;c="d e"')],
    ['with trailers', encodeChunk(registration, '', 'X-Sum: 1\r\n')],
    [
      'of one byte each',
      `${registration
        .split('')
        .map((byte) => `1\r\n${byte}\r\n`)
        .join('')}0\r\n\r\n`,
    ],
  ])('chunks %s', async (_, chunks) => {
    const { socket, reply } = await ask(witness.httpPort, `${putHead}Transfer-Encoding: chunked\r\n\r\n${chunks}`);
    expect(reply.status).toBe(200);
    await endLease(reply.body);
    // What follows is not taken for a part of it.
    socket.write(`${healthHead}\r\n`);
    expect((await socket.readReply()).body).toBe('{"status":"live"}');
    socket.destroy();
  });

  test('HEAD has the headers of GET, and no body; what follows is not mixed up with it', async () => {
    const socket = await RawSocket.connect(witness.httpPort);
    for (const path of ['/health/live', '/v1/instances?service=known', '/openapi.json']) {
      socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
      const get = await socket.readReply();
      socket.write(`HEAD ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
      const head = await socket.readReply({ hasBody: false });
      for (const name of ['content-length', 'content-type', 'etag', 'cache-control']) {
        expect([path, name, head.headers.get(name)]).toEqual([path, name, get.headers.get(name)]);
      }
    }
    socket.destroy();
  });

  test.each(['/health/live#', '/health/live#/v1/stats', '/health%2Flive', '/health/liv%65'])(
    '%s is no page, as it may be one to a proxy',
    async (target) => {
      const { socket, reply } = await ask(witness.httpPort, `GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`);
      expect([reply.status, readCode(reply)]).toEqual([404, 'not_found']);
      socket.destroy();
    },
  );

  test.each([
    ['/v1/instances', 'GET, HEAD, PUT, DELETE, OPTIONS'],
    ['/v1/leases/any', 'PUT, DELETE, OPTIONS'],
    ['/v1/watch', 'GET, OPTIONS'],
    ['*', 'GET, HEAD, PUT, POST, DELETE, OPTIONS'],
  ])('OPTIONS %s says what there is', async (target, allowed) => {
    const { socket, reply } = await ask(witness.httpPort, `OPTIONS ${target} HTTP/1.1\r\nHost: x\r\n\r\n`);
    expect([reply.status, reply.headers.get('allow')]).toEqual([204, allowed]);
    expect(reply.headers.has('content-length')).toBe(false);
    socket.destroy();
  });

  test('an upgrade is passed over', async () => {
    const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n';
    const { socket, reply } = await ask(witness.httpPort, healthHead + upgrade);
    expect(reply.status).toBe(200);
    socket.destroy();
  });
});

describe('[HT1] what may be understood in two ways is refused, not carried out, and ends the connection', () => {
  const length = `Content-Length: ${registration.length}\r\n`;
  const chunked = 'Transfer-Encoding: chunked\r\n';
  const refused: readonly (readonly [string, number, string])[] = [
    ['two lengths', 400, `${putHead}${length}Content-Length: 3\r\n\r\n${registration}`],
    ['the same length twice', 400, `${putHead}${length}${length}\r\n${registration}`],
    ['a length beside chunks', 400, `${putHead}${length}${chunked}\r\n${encodeChunk(registration)}`],
    ['chunks beside a length', 400, `${putHead}${chunked}${length}\r\n${encodeChunk(registration)}`],
    ['a length with a sign', 400, `${putHead}Content-Length: +${registration.length}\r\n\r\n${registration}`],
    ['a list of lengths', 400, `${putHead}Content-Length: 48, 48\r\n\r\n${registration}`],
    [
      'an encoding that ends like chunked',
      400,
      `${putHead}Transfer-Encoding: xchunked\r\n\r\n${encodeChunk(registration)}`,
    ],
    [
      'an encoding before chunked',
      400,
      `${putHead}Transfer-Encoding: gzip, chunked\r\n\r\n${encodeChunk(registration)}`,
    ],
    ['chunked twice', 400, `${putHead}${chunked}${chunked}\r\n${encodeChunk(registration)}`],
    [
      'an encoding after chunked',
      400,
      `${putHead}Transfer-Encoding: chunked, identity\r\n\r\n${encodeChunk(registration)}`,
    ],
    ['a space before the colon', 400, `${putHead}Transfer-Encoding : chunked\r\n\r\n${encodeChunk(registration)}`],
    ['chunks over HTTP/1.0', 400, `${putHead.replace('1.1', '1.0')}${chunked}\r\n${encodeChunk(registration)}`],
    ['a folded header', 400, `${healthHead}X: a\r\n b\r\n\r\n`],
    ['a header without a name', 400, `${healthHead}: a\r\n\r\n`],
    ['NUL in a header', 400, `${healthHead}X: a\u0000b\r\n\r\n`],
    ['a bare carriage return', 400, `${healthHead}X: a\rb\r\n\r\n`],
    ['bare line feeds', 400, healthHead.replaceAll('\r\n', '\n') + '\n'],
    ['no Host', 400, 'GET /health/live HTTP/1.1\r\n\r\n'],
    ['two Hosts', 400, `${healthHead}Host: y\r\n\r\n`],
    ['an unknown version', 400, `${healthHead.replace('1.1', '3.1')}\r\n`],
    ['a chunk that is longer than it says', 400, `${putHead}${chunked}\r\n3\r\n${registration}\r\n0\r\n\r\n`],
    ['a chunk of no number', 400, `${putHead}${chunked}\r\nzz\r\n${registration}\r\n0\r\n\r\n`],
    ['another expectation', 417, `${putHead}Expect: something\r\n${length}\r\n${registration}`],
    ['a method that is none', 405, `BREW /health/live HTTP/1.1\r\nHost: x\r\n\r\n`],
    ['a tunnel', 405, 'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['a head of 20 kB', 431, `${healthHead}X: ${'y'.repeat(20_000)}\r\n\r\n`],
    ['a target of 20 kB', 431, `GET /${'y'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`],
    ['150 headers', 431, `${healthHead}${Array.from({ length: 150 }, (_, i) => `X${i}: 1\r\n`).join('')}\r\n`],
    [
      'chunk extensions of 20 kB',
      431,
      `${putHead}${chunked}\r\n${encodeChunk(registration, `;a=${'b'.repeat(20_000)}`)}`,
    ],
  ];
  test.each(refused)('%s gets %s', async (_, status, text) => {
    const { socket, reply } = await ask(witness.httpPort, text);
    expect([reply.status, reply.headers.get('content-type')]).toEqual([status, 'application/json']);
    expect(readCode(reply)).toBe(status === 405 ? 'unknown_method' : 'invalid_request');
    await socket.ended;
    expect(socket.unread.toString()).toBe('');
  });

  test.each(['\u0000\u0001\u0002\r\n\r\n', 'NO REQUEST AT ALL\r\n\r\n', '}{"jsonrpc":"2.0"}\r\n\r\n'])(
    'behind a request: that is answered first, then comes the refusal and the end: %j',
    async (garbage) => {
      const socket = await RawSocket.connect(witness.httpPort);
      socket.write(
        `GET /v1/instances?service=known HTTP/1.1\r\nHost: x\r\n\r\n${healthHead}\r\n${garbage}${healthHead}\r\n`,
      );
      expect((await socket.readReply()).body).toContain('known.example');
      expect((await socket.readReply()).body).toBe('{"status":"live"}');
      const last = await socket.readReply();
      expect([400, 405]).toContain(last.status);
      expect(last.headers.get('connection')).toBe('close');
      await socket.ended;
      expect(socket.unread.toString()).toBe('');
    },
  );

  test('a caller that ends in the middle of its body', async () => {
    const socket = await RawSocket.connect(witness.httpPort);
    socket.socket.end(`${putHead}${length}\r\n${registration.slice(0, 5)}`);
    await socket.ended;
    expect(socket.unread.toString()).toMatch(/^(?:$|HTTP\/1\.1 400 )/);
  });

  test('callers that reset in the middle of anything', async () => {
    for (const text of [
      healthHead,
      `${putHead}${length}\r\n`,
      `${putHead}${chunked}\r\n5\r\nabc`,
      `${healthHead}\r\n`,
    ]) {
      const socket = await RawSocket.connect(witness.httpPort);
      socket.write(text);
      await new Promise(setImmediate);
      socket.reset();
      expect(await socket.ended).toEqual({ code: undefined });
    }
  });
});
