import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { RawSocket, encodeHandshake } from '../support/raw-socket.ts';
import type { HandshakeOptions } from '../support/raw-socket.ts';
import { Witness } from '../support/witness.ts';

const allowed = 'https://console.example';
let witness: Witness;
let socket: RawSocket;

beforeAll(async () => {
  witness = await Witness.start({ allowedOrigins: [allowed] });
});
afterAll(async () => {
  await witness.stop();
});
beforeEach(async () => {
  socket = await RawSocket.connect(witness.port);
});
afterEach(async () => {
  socket.destroy();
  await socket.ended;
  await witness.expectUnharmed();
});

interface Refusal extends HandshakeOptions {
  readonly name: string;
  readonly status: number;
  readonly code: string;
  readonly counter: string;
}

function refuseHandshake(name: string, headers: Record<string, string | undefined>): Refusal {
  return { name, headers, status: 400, code: 'invalid_request', counter: 'upgrade_refused_handshake' };
}

function refuseOrigin(origin: string): Refusal {
  const headers = { Origin: origin };
  return { name: `Origin ${origin}`, headers, status: 403, code: 'forbidden', counter: 'upgrade_refused_origin' };
}

function refusePath(path: string): Refusal {
  return { name: `path ${path}`, path, status: 404, code: 'not_found', counter: 'upgrade_refused_path' };
}

const refusals: readonly Refusal[] = [
  refuseHandshake('version 8', { 'Sec-WebSocket-Version': '8' }),
  refuseHandshake('version 0', { 'Sec-WebSocket-Version': '0' }),
  refuseHandshake('version 14', { 'Sec-WebSocket-Version': '14' }),
  refuseHandshake('version 13.0', { 'Sec-WebSocket-Version': '13.0' }),
  refuseHandshake('no version', { 'Sec-WebSocket-Version': undefined }),
  refuseHandshake('a key of 24 other characters', { 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ$$' }),
  refuseHandshake('a key of 18 bytes', { 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQAA' }),
  ...[
    'null',
    'https://evil.example',
    'http://console.example',
    'https://console.example.evil.example',
    'https://evil-console.example',
    'https://console.example:8443',
    'https://console.example/',
    'https://CONSOLE.example',
    'https://console.example, https://evil.example',
    '*',
    'file://',
  ].map(refuseOrigin),
  ...[
    '/',
    '/v1',
    '/v1/session/',
    '//v1/session',
    '/v1//session',
    '/V1/SESSION',
    '/v1/session%20',
    '/v1/%73ession',
    '/v1/./session',
    '/v1/session;a=b',
    '/v2/session',
    '/v1/services',
    '/health/live',
    '/../v1/session',
  ].map(refusePath),
];

describe('[WP3] a handshake that is not as it should be is refused and counted', () => {
  test.each(refusals)('$name', async ({ status, code, counter, ...options }) => {
    const before = await witness.readCounter(counter);
    socket.write(encodeHandshake(options));
    const reply = await socket.readReply();
    expect(reply.status).toBe(status);
    expect(reply.headers.get('content-type')).toBe('application/json');
    expect(JSON.parse(reply.body)).toEqual({ error: { code, message: expect.any(String) } });
    expect(await witness.readCounter(counter)).toBe(before + 1);
  });

  // uWebSockets.js does not even take these for handshakes.
  test.each([
    ['no key', undefined],
    ['an empty key', ''],
    ['a key of 23 characters', 'dGhlIHNhbXBsZSBub25jZQ='],
    ['a key of 25 characters', 'dGhlIHNhbXBsZSBub25jZQ==='],
  ])('%s', async (_, key) => {
    socket.write(encodeHandshake({ headers: { 'Sec-WebSocket-Key': key } }));
    const { status } = await socket.readReply();
    expect(status).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThan(500);
  });

  test.each([undefined, 'h2c'])('Upgrade: %s', async (upgrade) => {
    socket.write(encodeHandshake({ headers: { Upgrade: upgrade } }));
    const { status } = await socket.readReply();
    expect(status).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThan(500);
  });

  test('with another method than GET', async () => {
    socket.write(encodeHandshake().replace('GET', 'POST').replace('\r\n\r\n', '\r\nContent-Length: 0\r\n\r\n'));
    expect((await socket.readReply()).status).toBeGreaterThanOrEqual(400);
  });
});

describe('a handshake that is right is accepted', () => {
  const accepted: readonly (HandshakeOptions & { readonly name: string; readonly protocol?: string })[] = [
    { name: 'without an Origin' },
    { name: 'with an allowed Origin', headers: { Origin: allowed } },
    { name: 'with a query', path: '/v1/session?x=1' },
    {
      name: 'with our subprotocol',
      headers: { 'Sec-WebSocket-Protocol': 'slotcast.v1' },
      protocol: 'slotcast.v1',
    },
    {
      name: 'with our subprotocol among others',
      headers: { 'Sec-WebSocket-Protocol': 'mqtt, slotcast.v1' },
      protocol: 'slotcast.v1',
    },
    { name: 'with only other subprotocols', headers: { 'Sec-WebSocket-Protocol': 'mqtt, slotcast.v2' } },
    {
      name: 'with compression offered',
      headers: { 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits' },
    },
    { name: 'with forged addresses', headers: { 'X-Forwarded-For': '10.0.0.1', 'X-Real-IP': '10.0.0.1' } },
  ];
  test.each(accepted)('$name', async ({ protocol, ...options }) => {
    socket.write(encodeHandshake(options));
    const { status, headers } = await socket.readReply();
    expect(status).toBe(101);
    expect(headers.get('sec-websocket-protocol')).toBe(protocol);
    expect(headers.get('sec-websocket-extensions')).toBeUndefined();
  });
});

describe('[WP3] connections that never become sessions', () => {
  test.each([
    ['nothing', ''],
    ['half a handshake', encodeHandshake().slice(0, 60)],
    ['garbage', '\u0000\u0001\u0002\u0003\r\n\r\n'],
    ['the hello of TLS', Buffer.from('16030100d2010000ce0303', 'hex')],
    ['HTTP/9.9', 'GET /v1/session HTTP/9.9\r\nHost: x\r\n\r\n'],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['a PROXY header', `PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n${encodeHandshake()}`],
  ])('%s, then a reset', async (_, bytes) => {
    socket.write(bytes);
    await new Promise(setImmediate);
    socket.reset();
    expect(await socket.ended).toEqual({ code: undefined });
  });
});
