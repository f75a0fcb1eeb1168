import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import type { RequestListener } from 'node:http';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';

import { afterEach, expect, test } from 'vitest';
import { WebSocketServer } from 'ws';

import { exchangeHttp } from '../../src/cli/http-exchange.ts';
import { runCommand } from '../support/command.ts';

const open: { close: () => unknown }[] = [];

afterEach(() => {
  for (const each of open.splice(0)) each.close();
});

async function listen(server: Server): Promise<string> {
  open.push(server);
  server.on('connection', (socket: Socket) => {
    socket.on('error', () => {});
    open.push({ close: () => socket.destroy() });
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function serveHttp(listener: RequestListener): Promise<string> {
  return listen(createHttpServer(listener));
}

const strangers: Record<string, () => Promise<string>> = {
  'a page': () => serveHttp((_, response) => void response.writeHead(404).end('<h1>not found</h1>')),
  'another API': () => serveHttp((_, response) => void response.end('{"error":"\u001B[31mno such thing"}')),
  'one that answers with an empty object': () => serveHttp((_, response) => void response.end('{}')),
  'one that sends somebody elsewhere': () =>
    serveHttp((_, response) => void response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end()),
  'no HTTP': () => listen(createServer((socket) => void socket.write('SSH-2.0-OpenSSH\r\n'))),
};

test.each([
  ...Object.keys(strangers).flatMap((name) => ['services', 'partitions'].map((command) => [name, command] as const)),
  ...['watch x', 'register x h:1', 'rebalance', 'goaway'].map((command) => ['a page', command] as const),
])('%s is no registry, and %s says so with status 4', async (name, command) => {
  const address = await strangers[name]!();
  // The time is long: it is not waited for.
  const args = [...command.split(' '), '--server', address, '--timeout-ms', '15000'];
  const { status, out, err } = await runCommand(args);
  expect(err).toContain(address);
  expect(err).toMatch(
    /^slotcast: [^\n\p{Cc}]*(is not a slotcast registry|does not answer as a slotcast registry does)[^\n\p{Cc}]*\n$/u,
  );
  expect([status, out]).toEqual([4, '']);
});

test('a WebSocket server of others is no registry either', async () => {
  const address = await serveHttp((_, response) => void response.writeHead(200).end('hello'));
  const http = open[0] as unknown as ReturnType<typeof createHttpServer>;
  open.push(new WebSocketServer({ server: http }));
  const { status, err } = await runCommand(['services', '--server', address, '--timeout-ms', '6000']);
  expect(err).toContain('is not a slotcast registry');
  expect(status).toBe(4);
});

test.each(['services', 'partitions', 'goaway'])('%s gives up on a server that keeps silent', async (command) => {
  const address = await listen(createServer(() => {}));
  const { status, err } = await runCommand([command, '--server', address, '--timeout-ms', '200']);
  expect(err).toContain('within 200 ms');
  expect(status).toBe(4);
});

/** Listens, and takes no connection: its process stands still. */
async function listenDeaf(): Promise<number> {
  const script = `const s = require('node:net').createServer(); s.listen({ port: 0, host: '127.0.0.1', backlog: 1 }, () => console.log(s.address().port));`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'ignore'] });
  open.push({ close: () => child.kill('SIGKILL') });
  const port = await new Promise<number>((resolve) => child.stdout.once('data', (chunk) => resolve(Number(chunk))));
  child.kill('SIGSTOP');
  // What the kernel would take for it in the meantime.
  const queued = Array.from({ length: 8 }, () => connect(port, '127.0.0.1').on('error', () => {}));
  open.push(...queued.map((socket) => ({ close: () => socket.destroy() })));
  await once(queued[0]!, 'connect');
  return port;
}

function countConnecting(): number {
  return process.getActiveResourcesInfo().filter((resource) => resource === 'TCPConnectWrap').length;
}

test('nothing goes on connecting once a command has given up', async () => {
  const port = await listenDeaf();
  const before = countConnecting();
  const url = new URL(`http://127.0.0.1:${port}/`);
  const asked = exchangeHttp({ url, method: 'GET', signal: AbortSignal.timeout(50), bytesMax: 1 });
  await expect(asked).rejects.toThrow();
  await expect.poll(countConnecting).toBe(before);
});
