import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';

import { resolveConfig } from '../../src/config/config-checking.ts';
import type { CloseReason } from '../../src/protocol/errors.ts';
import { CertificateAuthority } from '../../src/tls/certificate-authority.ts';
import { chooseSecureTransport, chooseTransport } from '../../src/transport/choose-transport.ts';
import type { TransportKind } from '../../src/transport/choose-transport.ts';
import { TlsDoor } from '../../src/transport/tls-door.ts';
import type { HttpAnswer, PlainRequest, Socket, Transport, UpgradeCall } from '../../src/transport/transport.ts';
import { encodeCloseCode, encodeFrame, opcodes, RawSocket } from '../support/raw-socket.ts';
import { issueServer, validFor } from '../support/test-certificates.ts';
import { transportKind } from '../support/transport-kind.ts';

const frameBytesMax = 100_000;
const backlogBytesMax = 200_000;
const json = { 'Content-Type': 'application/json' };

/** What stands for a session here, with everything that came for it. */
interface Peer {
  readonly socket: Socket;
  readonly texts: string[];
  readonly pongs: string[];
  drains: number;
  pings: number;
  end: { readonly isClean: boolean; readonly reason: CloseReason | undefined } | undefined;
}

type Kind = TransportKind | 'node with TLS';

const authority = new CertificateAuthority('test authority', validFor(1));
const { certificate, key } = issueServer(authority);

function createDoor(): TlsDoor {
  const { tlsClientCertificate, tlsPrincipal, tlsHandshakesMax, httpHeadTimeoutMs } = resolveConfig({});
  return new TlsDoor({
    config: { tlsClientCertificate, tlsPrincipal, tlsHandshakesMax, httpHeadTimeoutMs },
    material: { certificate, key, clientAuthorities: undefined, expiry: { tlsCert: 0, tlsCa: undefined } },
    onFailure: () => undefined,
    onFull: () => undefined,
  });
}

/** A transport, and what it hands out. */
class Stage {
  readonly peers: Peer[] = [];
  readonly upgrades: UpgradeCall[] = [];
  readonly requests: PlainRequest[] = [];
  readonly closes: CloseReason[] = [];
  answer: (request: PlainRequest) => Promise<HttpAnswer> = () =>
    Promise.resolve({ status: 200, body: '{}', headers: json });
  readonly transport: Transport;
  /** The authority of its certificate; undefined: connections are in the clear. */
  readonly trust: string | undefined;
  port = 0;

  private constructor(create: Awaited<ReturnType<typeof chooseTransport>>['create'], trust: string | undefined) {
    this.trust = trust;
    this.transport = create<Peer>({
      frameBytesMax,
      backlogBytesMax,
      heartbeatTimeoutMs: 60_000,
      tls: trust === undefined ? undefined : createDoor(),
      judgeUpgrade: (call) => {
        this.upgrades.push(call);
        return call.path === '/in'
          ? { accept: true, protocol: call.protocols.split(',')[0] ?? '' }
          : { accept: false, answer: { status: 403, body: '"no"', headers: { ...json, 'Retry-After': '7' } } };
      },
      onOpen: (socket) => {
        const peer: Peer = { socket, texts: [], pongs: [], drains: 0, pings: 0, end: undefined };
        this.peers.push(peer);
        return peer;
      },
      onText: (peer, text) => peer.texts.push(text),
      onAlive: (peer) => (peer.pings += 1),
      onPong: (peer, payload) => peer.pongs.push(payload),
      onDrain: (peer) => (peer.drains += 1),
      onClose: (peer, isClean, _address, reason) => {
        if (peer.end !== undefined) throw new Error('told twice that a connection is over');
        peer.end = { isClean, reason };
      },
      countClose: (reason) => this.closes.push(reason),
      refuseHead: (failure) => ({ status: 400, body: JSON.stringify(failure), headers: json }),
      onRequest: (request) => {
        this.requests.push(request);
        return this.answer(request);
      },
    });
  }

  static async create(kind: Kind): Promise<Stage> {
    if (kind === 'node with TLS')
      return new Stage((await chooseSecureTransport('node')).create, authority.issued.certificate);
    return new Stage((await chooseTransport(kind)).create, undefined);
  }

  static async start(kind: Kind): Promise<Stage> {
    const stage = await Stage.create(kind);
    stage.port = (await stage.transport.listen('127.0.0.1', 0)).port;
    return stage;
  }

  async open(): Promise<{ client: WebSocket; peer: Peer }> {
    const client = new WebSocket(
      `${this.trust === undefined ? 'ws' : 'wss'}://127.0.0.1:${this.port}/in`,
      ['one', 'two'],
      {
        perMessageDeflate: false,
        ...(this.trust === undefined ? {} : { ca: this.trust }),
      },
    );
    await new Promise((resolve, reject) => {
      client.once('open', resolve);
      client.once('error', reject);
    });
    // The server's end is open first.
    return { client, peer: this.peers.at(-1)! };
  }

  connect(): Promise<RawSocket> {
    return RawSocket.connect(this.port, '127.0.0.1', this.trust);
  }

  /** A handshake over a bare socket. */
  async openRaw(): Promise<{ socket: RawSocket; peer: Peer }> {
    const socket = await this.connect();
    socket.write(
      'GET /in HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
    );
    const { status } = await socket.readReply();
    if (status !== 101) throw new Error(`the handshake was answered with ${status}`);
    return { socket, peer: this.peers.at(-1)! };
  }
}

/** Both run wherever there is a binary of uWebSockets.js. */
const kinds: readonly Kind[] = [...(transportKind === 'uws' ? ['uws' as const] : []), 'node', 'node with TLS'];

describe.each(kinds)('a transport by %s', (kind) => {
  let stage: Stage;
  beforeEach(async () => {
    stage = await Stage.start(kind);
  });
  afterEach(() => {
    stage.transport.close();
  });

  describe('handshakes', () => {
    test('are told whole, and accepted with the subprotocol that was chosen and without compression', async () => {
      const { client, peer } = await stage.open();
      expect(client.protocol).toBe('one');
      expect(client.extensions).toBe('');
      expect(stage.upgrades).toMatchObject([
        { path: '/in', upgrade: 'websocket', version: '13', origin: '', protocols: 'one,two', address: '127.0.0.1' },
      ]);
      expect(peer.socket.address).toBe('127.0.0.1');
    });

    test('are refused with the answer that was given', async () => {
      const reply = await fetchUpgrade(stage, '/out');
      expect([reply.status, reply.body, reply.headers.get('retry-after')]).toEqual([403, '"no"', '7']);
      expect(stage.peers).toEqual([]);
    });
  });

  describe('frames', () => {
    test('arrive in order, texts of either kind leave in order', async () => {
      const { client, peer } = await stage.open();
      const got = collect(client);
      for (const text of ['a', 'ä€𝄞', '']) client.send(text);
      await expect.poll(() => peer.texts).toEqual(['a', 'ä€𝄞', '']);
      peer.socket.cork(() => {
        expect(peer.socket.send('first')).toBe('sent');
        expect(peer.socket.send(Buffer.from('zweité'))).toBe('sent');
      });
      await expect.poll(() => got).toEqual(['first', 'zweité']);
    });

    test('that are binary, or larger than frameBytesMax, end the connection, and the close frame says why', async () => {
      for (const [message, code, reason] of [
        [Buffer.from('{}'), 1003, 'binary_frame'],
        ['x'.repeat(frameBytesMax + 1), 1009, 'frame_too_big'],
      ] as const) {
        const { client, peer } = await stage.open();
        const closed = waitForClose(client);
        client.send(message);
        expect(await closed).toEqual([code, reason]);
        expect([peer.end, stage.closes.at(-1), peer.texts]).toEqual([{ isClean: false, reason }, reason, []]);
      }
    });

    test('that are far larger end it, too, and are counted', async () => {
      const { client, peer } = await stage.open();
      const closed = waitForClose(client);
      client.send('x'.repeat(frameBytesMax * 3));
      expect([1006, 1009]).toContain((await closed)[0]);
      await expect.poll(() => peer.end).toEqual({ isClean: false, reason: 'frame_too_big' });
      expect(stage.closes).toEqual(['frame_too_big']);
    });

    test('of control: a ping is answered and counts as a sign of life, a mark comes back', async () => {
      const { client, peer } = await stage.open();
      const payloads: string[] = [];
      client.on('pong', (payload) => payloads.push(payload.toString()));
      client.ping('are you there');
      await expect.poll(() => [peer.pings, payloads]).toEqual([1, ['are you there']]);
      expect(peer.socket.ping('mark 7')).toBe(true);
      await expect.poll(() => peer.pongs).toEqual(['mark 7']);
    });

    test('a thousand pings in one packet are answered as far as the peer reads', async () => {
      const { socket, peer } = await stage.openRaw();
      const pings = Array.from({ length: 1000 }, (_, i) => encodeFrame(`p${i}`, { opcode: opcodes.ping }));
      socket.write(Buffer.concat([...pings, encodeFrame('after')]));
      await expect.poll(() => peer.texts).toEqual(['after']);
      for (let i = 0; i < 1000; i++) expect((await socket.readFrame()).payload.toString()).toBe(`p${i}`);
      socket.destroy();
    });
  });

  describe('back-pressure', () => {
    test('a peer that does not read gets no more than its backlog; once it reads, that is told, and the rest was not cut up', async () => {
      const { client, peer } = await stage.open();
      client.pause();
      const frame = 'y'.repeat(50_000);
      let sent = 0;
      // The kernels of both ends take some.
      while (peer.socket.send(frame) === 'sent') {
        sent += 1;
        if (sent > 2000) throw new Error('the backlog has no bound');
        if (sent % 10 === 0) await new Promise(setImmediate);
      }
      expect(peer.socket.ping('mark')).toBe(false);
      const { drains } = peer;
      const got = collect(client);
      client.resume();
      await expect.poll(() => got.length).toBe(sent);
      expect(got.every((text) => text === frame)).toBe(true);
      await expect.poll(() => peer.drains).toBeGreaterThan(drains);
      expect(peer.socket.send('again')).toBe('sent');
      await expect.poll(() => got.at(-1)).toBe('again');
    });
  });

  describe('ends', () => {
    test('by this side: code and reason leave behind what was sent, it is told before the call returns, and nothing is sent any more', async () => {
      const { client, peer } = await stage.open();
      const got = collect(client);
      const closed = waitForClose(client);
      peer.socket.send('last');
      peer.socket.end('going_away');
      expect(peer.end).toEqual({ isClean: false, reason: 'going_away' });
      expect(peer.socket.send('late')).toBe('closed');
      expect(peer.socket.ping('late')).toBe(false);
      peer.socket.cork(() => {
        throw new Error('a closed socket has nothing to cork');
      });
      peer.socket.end('slow_consumer');
      expect(await closed).toEqual([1001, 'going_away']);
      expect(got).toEqual(['last']);
    });

    test.each([
      [1000, true],
      [1001, true],
      [undefined, true],
      [1011, false],
      [4000, false],
    ])('by a close frame of the peer with %s', async (code, isClean) => {
      const { client, peer } = await stage.open();
      client.close(code);
      await expect.poll(() => peer.end).toEqual({ isClean, reason: undefined });
    });

    test('by a close frame are told though the peer keeps its connection', async () => {
      const { socket, peer } = await stage.openRaw();
      socket.write(encodeFrame(encodeCloseCode(1000), { opcode: opcodes.close }));
      await expect.poll(() => peer.end).toEqual({ isClean: true, reason: undefined });
      socket.destroy();
    });

    test('what follows a close frame counts no more', async () => {
      const { socket, peer } = await stage.openRaw();
      const close = encodeFrame(encodeCloseCode(1000), { opcode: opcodes.close });
      socket.write(Buffer.concat([encodeFrame('before'), close, encodeFrame('after')]));
      await expect.poll(() => peer.end).toEqual({ isClean: true, reason: undefined });
      await socket.ended;
      expect(peer.texts).toEqual(['before']);
    });

    test('by a cut are broken', async () => {
      const { client, peer } = await stage.open();
      client.terminate();
      await expect.poll(() => peer.end).toEqual({ isClean: false, reason: undefined });
    });

    test('of all at once, each told once', async () => {
      const first = await stage.open();
      const second = await stage.open();
      const ends = [waitForClose(first.client), waitForClose(second.client)];
      stage.transport.close();
      await Promise.all(ends);
      await expect.poll(() => stage.peers.map(({ end }) => end?.isClean)).toEqual([false, false]);
    });
  });

  describe('requests over HTTP', () => {
    const host = 'Host: x\r\n';

    test('are told without their query, and answered with what was given; the connection ends with the answer', async () => {
      stage.answer = () =>
        Promise.resolve({ status: 421, body: '"not here: ä"', headers: { ...json, 'X-One': 'two' } });
      const socket = await stage.connect();
      socket.write(`PUT /a/b?c=%20d HTTP/1.1\r\n${host}Content-Length: 5\r\n\r\nhello`);
      const { status, headers, body } = await socket.readReply();
      expect([status, headers.get('x-one'), headers.get('connection'), body]).toEqual([
        421,
        'two',
        'close',
        '"not here: ä"',
      ]);
      expect(stage.requests).toEqual([{ method: 'PUT', path: '/a/b', address: '127.0.0.1' }]);
      await socket.ended;
    });

    test.each([
      ['a body of a length', 'Content-Length: 38\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n'],
      ['a body in chunks', 'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n'],
      ['nothing', '\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n'],
    ])('what follows one with %s on its connection is not answered', async (_, rest) => {
      const socket = await stage.connect();
      socket.write(`GET /first HTTP/1.1\r\n${host}${rest}`);
      await socket.ended;
      expect(socket.unread.toString().match(/^HTTP\/1\.1 /gm)).toEqual(['HTTP/1.1 ']);
      expect(stage.requests.map(({ path }) => path)).toContain('/first');
    });

    test('HEAD is answered without a body', async () => {
      stage.answer = ({ path }) => Promise.resolve({ status: 200, body: `"${path}"`, headers: json });
      const socket = await stage.connect();
      socket.write(`HEAD /a HTTP/1.1\r\n${host}\r\n`);
      const { status, headers } = await socket.readReply({ hasBody: false });
      expect([status, headers.get('content-type')]).toEqual([200, 'application/json']);
      await socket.ended;
      expect(socket.unread.toString()).toBe('');
    });

    // uWebSockets.js speaks no older HTTP, and says so.
    const statusOfOld = kind === 'uws' ? 505 : 200;
    test.each(['', host])(`HTTP/1.0 gets ${statusOfOld}, and the connection ends, headers: %j`, async (headers) => {
      const socket = await stage.connect();
      socket.write(`GET /a HTTP/1.0\r\n${headers}\r\n`);
      expect((await socket.readReply()).status).toBe(statusOfOld);
      await socket.ended;
    });

    test('a caller that goes before its answer comes harms nothing', async () => {
      let answer: ((value: HttpAnswer) => void) | undefined;
      stage.answer = () =>
        new Promise((resolve) => {
          answer = resolve;
        });
      const socket = await stage.connect();
      socket.write(`GET / HTTP/1.1\r\n${host}\r\n`);
      await expect.poll(() => answer).toBeDefined();
      socket.reset();
      await socket.ended;
      answer?.({ status: 200, body: 'x'.repeat(100_000), headers: json });
      stage.answer = () => Promise.resolve({ status: 200, body: '"here"', headers: json });
      const other = await stage.connect();
      other.write(`GET / HTTP/1.1\r\n${host}\r\n`);
      expect((await other.readReply()).body).toBe('"here"');
    });
  });

  describe('listening', () => {
    test('on a port that is taken is refused', async () => {
      const second = await Stage.create(kind);
      await expect(second.transport.listen('127.0.0.1', stage.port)).rejects.toThrow('the port is in use');
      second.transport.close();
    });

    test('can be paused and resumed; those who are in stay', async () => {
      const { client, peer } = await stage.open();
      stage.transport.pauseListening();
      expect(stage.transport.isListening).toBe(false);
      await expect(stage.connect()).rejects.toThrow('ECONNREFUSED');
      client.send('still here');
      await expect.poll(() => peer.texts).toEqual(['still here']);
      await stage.transport.resumeListening();
      expect(stage.transport.isListening).toBe(true);
      await stage.open();
      expect(stage.peers.length).toBe(2);
    });
  });
});

test.runIf(kinds.includes('node'))('[WP3] by node: what is no request is answered with what is wrong', async () => {
  const stage = await Stage.start('node');
  for (const [bytes, failure] of [
    ['GET / NONSENSE/1.1\r\n\r\n', 'malformed'],
    ['BREW / HTTP/1.1\r\nHost: x\r\n\r\n', 'unknown method'],
    [`GET /${'x'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`, 'too large'],
    ['PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n', 'malformed'],
  ] as const) {
    const socket = await stage.connect();
    socket.write(bytes);
    const { status, body } = await socket.readReply();
    expect([status, JSON.parse(body)]).toEqual([400, failure]);
    await socket.ended;
  }
  expect(stage.requests).toEqual([]);
  stage.transport.close();
});

test('[WP3] by node: an upgrade to something else is passed over, and the request answered', async () => {
  const stage = await Stage.start('node');
  const socket = await stage.connect();
  socket.write('GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n');
  const { status, body } = await socket.readReply();
  expect([status, body, stage.requests[0]?.path]).toEqual([200, '{}', '/x']);
  await socket.ended;
  stage.transport.close();
});

function collect(client: WebSocket): string[] {
  const got: string[] = [];
  client.on('message', (message: Buffer, isBinary) => got.push(isBinary ? 'binary' : message.toString()));
  return got;
}

function waitForClose(client: WebSocket): Promise<[number, string]> {
  return new Promise((resolve) => {
    client.on('error', () => undefined);
    client.once('close', (code, reason) => {
      resolve([code, reason.toString()]);
    });
  });
}

async function fetchUpgrade(stage: Stage, path: string): ReturnType<RawSocket['readReply']> {
  const socket = await stage.connect();
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
  );
  const reply = await socket.readReply();
  socket.destroy();
  return reply;
}
