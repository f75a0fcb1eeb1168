import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';

import type { CloseReason } from '../../src/protocol/errors.ts';
import { chooseTransport } from '../../src/transport/choose-transport.ts';
import type { TransportKind } from '../../src/transport/choose-transport.ts';
import type { HttpAnswer, HttpCall, Socket, Transport, UpgradeCall } from '../../src/transport/transport.ts';
import { UnreadAnswers } from '../../src/transport/unread-answers.ts';
import { encodeCloseCode, encodeFrame, opcodes, RawSocket } from '../support/raw-socket.ts';
import { transportKind } from '../support/transport-kind.ts';

const frameBytesMax = 100_000;
const bodyBytesMax = 1000;
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

/** A transport, and what it hands out. */
class Stage {
  readonly peers: Peer[] = [];
  readonly upgrades: UpgradeCall[] = [];
  readonly calls: HttpCall[] = [];
  readonly closes: CloseReason[] = [];
  answer: (call: HttpCall) => Promise<HttpAnswer> = () => Promise.resolve({ status: 200, body: '{}', headers: json });
  readonly unread: UnreadAnswers = new UnreadAnswers({
    bytesMax: 10_000_000,
    stallTimeoutMs: 50,
    timeoutMs: 60_000,
    onCut: () => undefined,
  });
  readonly transport: Transport;
  port = 0;

  private constructor(create: Awaited<ReturnType<typeof chooseTransport>>['create']) {
    this.transport = create<Peer>({
      frameBytesMax,
      bodyBytesMax,
      backlogBytesMax,
      heartbeatTimeoutMs: 60_000,
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
      unread: this.unread,
      refuseUnread: () => ({ status: 503, body: '"later"', headers: json }),
      refuseHead: (failure) => ({ status: 400, body: JSON.stringify(failure), headers: json }),
      onHttp: (call) => {
        this.calls.push(call);
        return this.answer(call);
      },
    });
  }

  static async create(kind: TransportKind): Promise<Stage> {
    return new Stage((await chooseTransport(kind)).create);
  }

  static async start(kind: TransportKind): Promise<Stage> {
    const stage = await Stage.create(kind);
    stage.port = (await stage.transport.listen('127.0.0.1', 0)).port;
    return stage;
  }

  async open(): Promise<{ client: WebSocket; peer: Peer }> {
    const client = new WebSocket(`ws://127.0.0.1:${this.port}/in`, ['one', 'two'], { perMessageDeflate: false });
    await new Promise((resolve, reject) => {
      client.once('open', resolve);
      client.once('error', reject);
    });
    // The server's end is open first.
    return { client, peer: this.peers.at(-1)! };
  }

  /** A handshake over a bare socket. */
  async openRaw(): Promise<{ socket: RawSocket; peer: Peer }> {
    const socket = await RawSocket.connect(this.port);
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
const kinds: readonly TransportKind[] = transportKind === 'uws' ? ['uws', 'node'] : ['node'];

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
      const reply = await fetchUpgrade(stage.port, '/out');
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

  describe('HTTP', () => {
    test('a request comes whole, with its body, and its answer leaves whole', async () => {
      stage.answer = ({ body }) =>
        Promise.resolve({ status: 409, body: JSON.stringify(body), headers: { ...json, 'X-One': 'two' } });
      const reply = await fetch(`http://127.0.0.1:${stage.port}/a/b?c=%20d`, {
        method: 'PUT',
        body: 'ä'.repeat(500),
        headers: { Origin: 'http://page.test', 'Content-Type': 'text/plain' },
      });
      expect(stage.calls).toEqual([
        {
          method: 'PUT',
          path: '/a/b',
          query: 'c=%20d',
          origin: 'http://page.test',
          contentType: 'text/plain',
          address: '127.0.0.1',
          isLocal: true,
          body: { text: 'ä'.repeat(500) },
          room: Number.MAX_SAFE_INTEGER,
        },
      ]);
      expect([reply.status, reply.headers.get('x-one')]).toEqual([409, 'two']);
      expect(await reply.json()).toEqual({ text: 'ä'.repeat(500) });
    });

    test.each([
      ['too large', 'x'.repeat(bodyBytesMax + 1)],
      ['not utf-8', Buffer.from([0xff, 0xfe])],
    ])('a body that is %s is told so', async (body, bytes) => {
      await fetch(`http://127.0.0.1:${stage.port}/`, { method: 'POST', body: bytes });
      expect(stage.calls[0]?.body).toBe(body);
    });

    test('HEAD is answered without a body, and what follows on the connection is answered, too', async () => {
      stage.answer = ({ path }) => Promise.resolve({ status: 200, body: `"${path}"`, headers: json });
      const socket = await RawSocket.connect(stage.port);
      socket.write('HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n');
      expect((await socket.readReply({ hasBody: false })).status).toBe(200);
      socket.write('GET /b HTTP/1.1\r\nHost: x\r\n\r\n');
      expect((await socket.readReply()).body).toBe('"/b"');
      socket.destroy();
    });

    test('a large answer leaves as it is read; while it is not, it counts as unread, and the caller is cut at last', async () => {
      const body = JSON.stringify('z'.repeat(8_000_000));
      stage.answer = () => Promise.resolve({ status: 200, body, headers: json });
      const reply = await fetch(`http://127.0.0.1:${stage.port}/large`);
      expect(await reply.text()).toBe(body);
      await expect.poll(() => stage.unread.bytes).toBe(0);
      const socket = await RawSocket.connect(stage.port);
      socket.socket.pause();
      socket.write('GET /large HTTP/1.1\r\nHost: x\r\n\r\n');
      await expect.poll(() => stage.unread.bytes).toBeGreaterThan(0);
      // There is no room for a second one.
      const refused = await fetch(`http://127.0.0.1:${stage.port}/large`);
      expect([refused.status, await refused.text()]).toEqual([503, '"later"']);
      await expect
        .poll(() => {
          stage.unread.tick(performance.now());
          return stage.unread.bytes;
        })
        .toBe(0);
      socket.socket.resume();
      await socket.ended;
    });

    test('a caller that goes before its answer comes harms nothing', async () => {
      let answer: ((value: HttpAnswer) => void) | undefined;
      stage.answer = () =>
        new Promise((resolve) => {
          answer = resolve;
        });
      const socket = await RawSocket.connect(stage.port);
      socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      await expect.poll(() => answer).toBeDefined();
      socket.reset();
      await socket.ended;
      answer?.({ status: 200, body: 'x'.repeat(100_000), headers: json });
      stage.answer = () => Promise.resolve({ status: 200, body: '"here"', headers: json });
      expect(await (await fetch(`http://127.0.0.1:${stage.port}/`)).text()).toBe('"here"');
      expect(stage.unread.bytes).toBe(0);
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
      await expect(RawSocket.connect(stage.port)).rejects.toThrow('ECONNREFUSED');
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
    const socket = await RawSocket.connect(stage.port);
    socket.write(bytes);
    const { status, body } = await socket.readReply();
    expect([status, JSON.parse(body)]).toEqual([400, failure]);
    await socket.ended;
  }
  expect(stage.calls).toEqual([]);
  stage.transport.close();
});

test('[WP3] by node: an upgrade to something else is passed over, and the request answered', async () => {
  const stage = await Stage.start('node');
  const socket = await RawSocket.connect(stage.port);
  socket.write('GET /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n');
  const { status, body } = await socket.readReply();
  expect([status, body, stage.calls[0]?.path]).toEqual([200, '{}', '/x']);
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

async function fetchUpgrade(port: number, path: string): ReturnType<RawSocket['readReply']> {
  const socket = await RawSocket.connect(port);
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n',
  );
  const reply = await socket.readReply();
  socket.destroy();
  return reply;
}
