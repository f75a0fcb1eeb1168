import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';

import { healthHead } from '../support/http-text.ts';
import { RawSocket } from '../support/raw-socket.ts';
import { Witness } from '../support/witness.ts';

const httpRequestsMax = 8;
const httpWaitersMax = 8;
const slow = { slowConsumerTimeoutMs: 100, sessionUnconsumedBytesMax: 65_536, sessionBacklogBytesMax: 65_536 };
let witness: Witness;
beforeAll(async () => {
  witness = await Witness.start({ httpRequestsMax, httpWaitersMax, ...slow });
});
afterAll(() => witness.stop());
afterEach(() => witness.expectUnharmed());

function word(path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`;
}

/** A connection whose first request is not going to be done with. */
async function openStream(behind: string): Promise<RawSocket> {
  const socket = await RawSocket.connect(witness.httpPort);
  socket.write(word('/v1/watch?service=known') + behind);
  expect((await socket.readReply()).status).toBe(200);
  return socket;
}

/** Of the service that never changes here. */
async function readIndex(): Promise<number> {
  const response = await fetch(`${witness.httpUrl}/v1/instances?service=known`);
  return ((await response.json()) as { version: number }).version;
}

test('[HT1] requests whose turn had not come when their connection broke are over, too', async () => {
  for (let round = 0; round < 4; round++) {
    const socket = await openStream(`${healthHead}\r\n`.repeat(httpRequestsMax));
    socket.reset();
    await socket.ended;
    await witness.expectNothingLeft();
  }
  expect((await fetch(`${witness.httpUrl}/v1/services`)).status).toBe(200);
});

test('[HT3] callers that watch or wait behind others on a broken connection make room', async () => {
  const wait = word(`/v1/instances?service=known&wait=5m&index=${await readIndex()}`);
  for (const behind of [word('/v1/watch?service=known'), wait]) {
    for (let round = 0; round < 4; round++) {
      const socket = await openStream(behind.repeat(httpWaitersMax - 1));
      const before = await witness.readCounter('limit_httpWaitersMax');
      socket.reset();
      await socket.ended;
      await witness.expectNothingLeft();
      expect(await witness.readCounter('limit_httpWaitersMax')).toBe(before);
    }
  }
});

test('[HT3] whoever has waited counts as a request until it is answered, and no longer', async () => {
  const socket = await RawSocket.connect(witness.httpPort);
  for (let round = 0; round < 3 * httpRequestsMax; round++) {
    socket.write(word(`/v1/instances?service=known&index=${round}`));
    expect((await socket.readReply()).status).toBe(200);
  }
  socket.destroy();
});

test('[HT1] a connection that breaks after CONNECT, before or behind what came first, harms nobody', async () => {
  const connect = 'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n';
  const behind = await openStream(connect);
  behind.reset();
  const alone = await RawSocket.connect(witness.httpPort);
  alone.write(connect);
  alone.reset();
  await Promise.all([behind.ended, alone.ended]);
  await witness.expectNothingLeft();
  expect(await witness.readCounter('edge_thread_died')).toBe(0);
});

test('[HT3] a caller that watches and never reads is cut, and so is its connection', async () => {
  const { provider } = witness;
  const socket = await RawSocket.connect(witness.httpPort);
  socket.socket.pause();
  socket.write(word('/v1/watch?service=large'));
  const metadata = Object.fromEntries(Array.from({ length: 7 }, (_, i) => [`k${i}`, 'x'.repeat(1000)]));
  for (let port = 1; !socket.socket.closed; port = (port % 100) + 1) {
    const instance = { id: `i${port}`, host: 'h', port: 1 + Math.floor(Math.random() * 60_000), metadata };
    await provider.request('instance.register', { service: 'large', instance });
    // What is written to a connection that has ended is answered with a reset, which is how one that does not read learns of it.
    socket.write('\r\n');
  }
  expect(await witness.readCounter('closed_slow_consumer')).toBe(1);
  for (let port = 1; port <= 100; port++) {
    await provider.request('instance.deregister', { service: 'large', id: `i${port}` }).catch(() => undefined);
  }
}, 30_000);
