import { afterEach, expect, test } from 'vitest';

import { ask, encodeChunk, healthHead, putHead, readCode } from '../support/http-text.ts';
import { RawSocket } from '../support/raw-socket.ts';
import { Witness } from '../support/witness.ts';

let witness: Witness | undefined;
afterEach(async () => {
  await witness?.stop();
  witness = undefined;
});

test('[LI1] connections beyond httpConnectionsMax are closed, and counted; who leaves makes room', async () => {
  witness = await Witness.start({ httpConnectionsMax: 4 });
  const first = await ask(witness.httpPort, `${healthHead}\r\n`);
  const sockets: RawSocket[] = [];
  let isClosed = false;
  while (!isClosed && sockets.length < 10) {
    const socket = await RawSocket.connect(witness.httpPort);
    sockets.push(socket);
    isClosed = await Promise.race([socket.ended.then(() => true), answerOn(socket).then(() => false)]);
  }
  expect(isClosed).toBe(true);
  expect(sockets.length).toBeLessThanOrEqual(4);
  for (const socket of sockets) socket.destroy();
  await expect.poll(() => witness!.readCounter('limit_httpConnectionsMax')).toBeGreaterThan(0);
  first.socket.destroy();
});

async function answerOn(socket: RawSocket): Promise<void> {
  socket.write(`${healthHead}\r\n`);
  await socket.readReply().catch(() => new Promise(() => undefined));
}

test('[LI1] requests beyond httpRequestsMax get busy, and those under way go on', async () => {
  witness = await Witness.start({ httpRequestsMax: 1 });
  let slow = await RawSocket.connect(witness.httpPort);
  slow.write(`${putHead}Content-Length: 2\r\n\r\n{`);
  await expect
    .poll(async () => {
      // It met the end of another one, and was refused itself.
      if (slow.unread.length > 0) {
        slow.destroy();
        slow = await RawSocket.connect(witness!.httpPort);
        slow.write(`${putHead}Content-Length: 2\r\n\r\n{`);
      }
      return (await fetch(`${witness!.httpUrl}/health/live`)).status;
    })
    .toBe(503);
  const { socket, reply } = await ask(witness.httpPort, `${healthHead}\r\n`);
  expect(JSON.parse(reply.body)).toMatchObject({ error: { code: 'busy', limit: 'httpRequestsMax', max: 1 } });
  expect(Number(reply.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
  slow.write('}');
  expect((await slow.readReply()).status).toBe(400);
  expect(await witness.readCounter('limit_httpRequestsMax')).toBeGreaterThan(0);
  for (const one of [slow, socket]) one.destroy();
});

test('[LI1] bodies under way beyond httpBodyBytesInFlightMax get busy', async () => {
  witness = await Witness.start({ httpBodyBytesInFlightMax: 1024, bodyBytesMax: 2048 });
  const slow = await RawSocket.connect(witness.httpPort);
  slow.write(`${putHead}Content-Length: 1000\r\n\r\n{`);
  const refuse = async (): Promise<number> => {
    const { socket, reply } = await ask(
      witness!.httpPort,
      `${putHead}Transfer-Encoding: chunked\r\n\r\n${encodeChunk('{}')}`,
    );
    socket.destroy();
    return reply.status;
  };
  await expect.poll(refuse).toBe(503);
  slow.destroy();
  await expect.poll(refuse).toBe(400);
  expect(await witness.readCounter('limit_httpBodyBytesInFlightMax')).toBeGreaterThan(0);
});

test('[LI1] bodies beyond bodyBytesMax get 413, told before or chunk by chunk', async () => {
  witness = await Witness.start({ bodyBytesMax: 1024 });
  const body = ' '.repeat(1025);
  for (const text of [
    `Content-Length: 1025\r\n\r\n${body}`,
    `Transfer-Encoding: chunked\r\n\r\n${encodeChunk(body)}`,
  ]) {
    const { socket, reply } = await ask(witness.httpPort, putHead + text);
    expect(JSON.parse(reply.body)).toMatchObject({
      error: { code: 'limit_exceeded', limit: 'bodyBytesMax', max: 1024 },
    });
    socket.destroy();
  }
});

test('[LI1] heads beyond httpHeadBytesMax and httpHeadersMax get 431', async () => {
  witness = await Witness.start({ httpHeadBytesMax: 2048, httpHeadersMax: 8 });
  const long = `${healthHead}X: ${'y'.repeat(2048)}\r\n\r\n`;
  const many = `${healthHead}${'X: y\r\n'.repeat(8)}\r\n`;
  for (const text of [long, many]) {
    const { socket, reply } = await ask(witness.httpPort, text);
    expect([reply.status, readCode(reply)]).toEqual([431, 'invalid_request']);
    await socket.ended;
  }
  const { socket, reply } = await ask(witness.httpPort, `${healthHead}${'X: y\r\n'.repeat(7)}\r\n`);
  expect(reply.status).toBe(200);
  socket.destroy();
});

test('[LI1] heads and bodies that do not come in time get 408, behind requests that did, and are not carried out later', async () => {
  witness = await Witness.start({ httpHeadTimeoutMs: 200, httpRequestTimeoutMs: 400 });
  for (const [text, answers] of [
    ['', 1],
    ['GET /he', 1],
    [`${healthHead}\r\nGET /he`, 2],
    [`${putHead}Content-Length: 100\r\n\r\n{`, 1],
    [`${putHead}Transfer-Encoding: chunked\r\n\r\n5\r\n{`, 1],
  ] as const) {
    const socket = await RawSocket.connect(witness.httpPort);
    socket.write(text);
    await socket.ended;
    const statuses = [...socket.unread.toString().matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status);
    expect([text, statuses]).toEqual([text, answers === 1 ? ['408'] : ['200', '408']]);
  }
  await witness.expectUnharmed();
});

test('[LI1] a connection on which nothing happens is closed after httpIdleTimeoutMs', async () => {
  witness = await Witness.start({ httpIdleTimeoutMs: 100 });
  const { socket } = await ask(witness.httpPort, `${healthHead}\r\n`);
  expect(await socket.ended).toEqual({ code: undefined });
});
