import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';

import { encodeCloseCode, encodeFrame, opcodes, RawSocket } from '../support/raw-socket.ts';
import { transportKind } from '../support/transport-kind.ts';
import { Witness } from '../support/witness.ts';

const frameBytesMax = 65_536;
let witness: Witness;
let socket: RawSocket;

beforeAll(async () => {
  witness = await Witness.start({ heartbeatTimeoutMs: 600, frameBytesMax });
});
afterAll(async () => {
  await witness.stop();
});
beforeEach(async () => {
  socket = await RawSocket.openSession(witness.port);
});
afterEach(async () => {
  socket.destroy();
  await socket.ended;
  await witness.expectUnharmed();
});

const query = '{"jsonrpc":"2.0","id":7,"method":"service.query","params":{"service":"nobody"}}';
const answer = { jsonrpc: '2.0', id: 7, result: { instances: [] } };
/** Would change the watched service if it were carried out. */
const intrude =
  '{"jsonrpc":"2.0","id":8,"method":"instance.register","params":{"service":"known","instance":{"host":"intruder","port":1}}}';

/** The close code where there is one: uWebSockets.js just cuts the connection. */
function say(code: number): number | undefined {
  return transportKind === 'uws' ? undefined : code;
}

/** A request padded with white space, which JSON allows, to so many bytes. */
function pad(bytes: number): string {
  return query.padEnd(bytes, ' ');
}

describe('[WP3] frames that break the protocol end the connection, and what follows them is not carried out', () => {
  const broken: readonly (readonly [string, number | undefined, Uint8Array])[] = [
    ['a binary frame', 1003, encodeFrame(query, { opcode: opcodes.binary })],
    ['an empty binary frame', 1003, encodeFrame('', { opcode: opcodes.binary })],
    ['a compressed payload', 1003, encodeFrame(Buffer.from([0x1f, 0x8b, 8, 0]), { opcode: opcodes.binary })],
    ['a frame of one byte more than is allowed', 1009, encodeFrame(pad(frameBytesMax + 1))],
    ['a message of 65,536 bytes more', 1009, encodeFrame(pad(frameBytesMax + 65_536))],
    ['a message of 65,537 bytes more', say(1009), encodeFrame(pad(frameBytesMax + 65_537))],
    [
      'fragments that add up to too much',
      1009,
      Buffer.concat([
        encodeFrame(pad(frameBytesMax), { isFinal: false }),
        encodeFrame(' ', { opcode: opcodes.continuation }),
      ]),
    ],
    ['a length of 2^63 - 1', say(1009), encodeFrame('', { length: 2n ** 63n - 1n, lengthBits: 64 })],
    ['a length of 2^64 - 1', say(1009), encodeFrame('', { length: 2n ** 64n - 1n, lengthBits: 64 })],
    ['a length of 2^32', say(1009), encodeFrame('', { length: 2n ** 32n, lengthBits: 64 })],
    ['bytes that are not UTF-8', say(1007), encodeFrame(Buffer.from([0x22, 0xff, 0xfe, 0x22]))],
    ['an overlong encoding', say(1007), encodeFrame(Buffer.from([0x22, 0xc0, 0xaf, 0x22]))],
    ['an encoded surrogate', say(1007), encodeFrame(Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]))],
    ['a truncated character', say(1007), encodeFrame(Buffer.from([0x22, 0xe2, 0x82]))],
    ['the first reserved bit', say(1002), encodeFrame(query, { reserved: 4 })],
    ['the second reserved bit', say(1002), encodeFrame(query, { reserved: 2 })],
    ['the third reserved bit', say(1002), encodeFrame(query, { reserved: 1 })],
    ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode): readonly [string, number | undefined, Uint8Array] => [
      `opcode ${opcode}`,
      say(1002),
      encodeFrame(query, { opcode }),
    ]),
    ['a ping of 126 bytes', say(1002), encodeFrame('p'.repeat(126), { opcode: opcodes.ping })],
    ['a fragmented ping', say(1002), encodeFrame('p', { opcode: opcodes.ping, isFinal: false })],
    ['a continuation of nothing', say(1002), encodeFrame(query, { opcode: opcodes.continuation })],
    [
      'a second message within a fragmented one',
      say(1002),
      Buffer.concat([encodeFrame('{', { isFinal: false }), encodeFrame(query)]),
    ],
  ];
  test.each(broken)('%s', async (_, code, bytes) => {
    // In one segment with what must not be carried out any more.
    socket.write(Buffer.concat([bytes, encodeFrame(intrude)]));
    expect(await socket.ended).toEqual({ code });
  });
});

describe('[WP3, SE2] a close frame that is not a proper one is a broken connection: registrations stay for the grace', () => {
  const held =
    '{"jsonrpc":"2.0","id":1,"method":"instance.register","params":{"service":"held","instance":{"host":"h","port":1}}}';
  const closes: readonly (readonly [string, Uint8Array, boolean])[] = [
    ['no code', Buffer.alloc(0), true],
    ['code 1000', encodeCloseCode(1000), true],
    ['code 1001', encodeCloseCode(1001, 'bye'), true],
    // Wrong, but uWebSockets.js does not tell it from no code.
    ['one byte', Buffer.from([3]), transportKind === 'uws'],
    ...[0, 999, 1002, 1004, 1005, 1006, 1015, 1011, 3000, 4000, 4999, 5000, 65_535].map(
      (code): readonly [string, Uint8Array, boolean] => [`code ${code}`, encodeCloseCode(code), false],
    ),
    ['a reason that is not UTF-8', Buffer.concat([encodeCloseCode(1000), Buffer.from([0xff])]), false],
  ];
  test.each(closes)('%s', async (_, payload, isClean) => {
    const before = await witness.readCounter('session_broken');
    socket.write(encodeFrame(held));
    expect(await socket.readJson()).toMatchObject({ result: { id: 'h:1' } });
    socket.write(encodeFrame(payload, { opcode: opcodes.close }));
    await socket.ended;
    await witness.expectNothingLeft();
    expect((await witness.readCounter('session_broken')) - before).toBe(isClean ? 0 : 1);
  });
});

describe('[WP3] frames that look odd but are right are answered', () => {
  const right: readonly (readonly [string, Uint8Array])[] = [
    ['a request', encodeFrame(query)],
    ['a request of exactly frameBytesMax', encodeFrame(pad(frameBytesMax))],
    [
      'a request in three fragments',
      Buffer.concat([
        encodeFrame(query.slice(0, 10), { isFinal: false }),
        encodeFrame(query.slice(10, 20), { opcode: opcodes.continuation, isFinal: false }),
        encodeFrame(query.slice(20), { opcode: opcodes.continuation }),
      ]),
    ],
    [
      'a request with a ping between its fragments',
      Buffer.concat([
        encodeFrame(query.slice(0, 10), { isFinal: false }),
        encodeFrame('p'.repeat(125), { opcode: opcodes.ping }),
        encodeFrame(query.slice(10), { opcode: opcodes.continuation }),
      ]),
    ],
    ['a pong nobody asked for', Buffer.concat([encodeFrame('x', { opcode: opcodes.pong }), encodeFrame(query)])],
    [
      'a hundred pings',
      Buffer.concat([
        ...Array.from({ length: 100 }, () => encodeFrame('', { opcode: opcodes.ping })),
        encodeFrame(query),
      ]),
    ],
    ['a length that is written too long', encodeFrame(query, { lengthBits: 64 })],
    [
      'ten thousand empty fragments',
      Buffer.concat([
        encodeFrame('', { isFinal: false }),
        ...Array.from({ length: 10_000 }, () => encodeFrame('', { opcode: opcodes.continuation, isFinal: false })),
        encodeFrame(query, { opcode: opcodes.continuation }),
      ]),
    ],
  ];
  test.each(right)('%s', async (_, bytes) => {
    socket.write(bytes);
    expect(await socket.readJson()).toMatchObject(answer);
  });

  test('byte by byte', async () => {
    await socket.writeByteByByte(encodeFrame(query));
    expect(await socket.readJson()).toMatchObject(answer);
  });

  test('cut at every place in two', async () => {
    const bytes = encodeFrame(query);
    for (let at = 1; at < bytes.length; at++) {
      socket.write(bytes.subarray(0, at));
      await new Promise(setImmediate);
      socket.write(bytes.subarray(at));
      expect(await socket.readJson()).toMatchObject(answer);
    }
  });

  test('many glued together are answered in order', async () => {
    const frames = Array.from({ length: 200 }, (_, id) => encodeFrame(query.replace('"id":7', `"id":${id}`)));
    socket.write(Buffer.concat(frames));
    for (let id = 0; id < frames.length; id++) expect(await socket.readJson()).toMatchObject({ ...answer, id });
  });

  test('a ping is answered with its own payload', async () => {
    socket.write(encodeFrame('are you there', { opcode: opcodes.ping }));
    const { opcode, payload } = await socket.readFrame();
    expect({ opcode, payload: payload.toString() }).toEqual({ opcode: opcodes.pong, payload: 'are you there' });
  });
});

describe('[WP3] what was not masked is never carried out', () => {
  test.each([
    ['a registration', encodeFrame(intrude, { isMasked: false })],
    [
      'a deregistration glued to others',
      Buffer.concat(Array.from({ length: 20 }, () => encodeFrame(intrude, { isMasked: false }))),
    ],
    ['an empty frame', encodeFrame('', { isMasked: false })],
    ['a close frame', encodeFrame(encodeCloseCode(1000), { isMasked: false, opcode: opcodes.close })],
  ])('%s', async (_, bytes) => {
    socket.write(bytes);
    socket.reset();
    expect(await socket.ended).toEqual({ code: undefined });
  });
});

describe('[SE3] a peer that falls silent is found by heartbeat', () => {
  test('after the handshake: it is pinged, and closed with 4001', async () => {
    const before = await witness.readCounter('closed_heartbeat_timeout');
    expect((await socket.readFrame()).opcode).toBe(opcodes.ping);
    expect(await socket.ended).toEqual({ code: 4001 });
    expect(await witness.readCounter('closed_heartbeat_timeout')).toBe(before + 1);
  });

  test('in the middle of a frame', async () => {
    socket.write(encodeFrame(query).subarray(0, 20));
    expect(await socket.ended).toEqual({ code: 4001 });
  });

  test('while holding a registration, which goes after the grace', async () => {
    socket.write(encodeFrame(intrude.replace('"known"', '"silent"')));
    expect(await socket.readJson()).toMatchObject({ id: 8, result: {} });
    expect(await witness.watcher.request('service.query', { service: 'silent' })).toMatchObject({ instances: [{}] });
    expect(await socket.ended).toEqual({ code: 4001 });
    await witness.expectNothingLeft();
    expect(await witness.watcher.request('service.query', { service: 'silent' })).toMatchObject({ instances: [] });
  });

  test('but one that only answers pings lives', async () => {
    for (let pings = 0; pings < 6; pings++) {
      const { opcode, payload } = await socket.readFrame();
      expect(opcode).toBe(opcodes.ping);
      socket.write(encodeFrame(payload, { opcode: opcodes.pong }));
    }
    socket.write(encodeFrame(query));
    expect(await socket.readJson()).toMatchObject(answer);
  });
});

describe('[WP3, SE2] abrupt ends', () => {
  test.each([
    ['after the handshake', ''],
    ['in the middle of a frame', encodeFrame(intrude).subarray(0, 30)],
    ['in the middle of a fragmented message', encodeFrame(intrude, { isFinal: false })],
    ['with an answer on its way', encodeFrame(query)],
    [
      'with ten thousand requests on their way',
      Buffer.concat(Array.from({ length: 10_000 }, () => encodeFrame(query))),
    ],
  ])('a reset %s', async (_, bytes) => {
    socket.write(bytes);
    await new Promise(setImmediate);
    socket.reset();
    expect(await socket.ended).toEqual({ code: undefined });
  });

  test('a hundred connections that are reset at once', async () => {
    const sockets = await Promise.all(Array.from({ length: 100 }, () => RawSocket.openSession(witness.port)));
    for (const one of sockets) {
      one.write(encodeFrame('{"jsonrpc":"2.0","id":1,"method":"service.subscribe","params":{"service":"known"}}'));
    }
    await Promise.all(sockets.map((one) => one.readJson()));
    for (const one of sockets) one.reset();
    expect(await Promise.all(sockets.map((one) => one.ended))).toHaveLength(100);
  });
});
