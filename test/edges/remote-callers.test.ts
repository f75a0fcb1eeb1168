import { networkInterfaces } from 'node:os';

import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { httpOperations } from '../../src/protocol/http-operations.ts';
import { readCode } from '../support/http-text.ts';
import { RawSocket } from '../support/raw-socket.ts';
import type { HttpReply } from '../support/raw-socket.ts';

/** An address of this machine that is no loopback one: who calls it calls from it. Undefined: the machine has none, and what follows is left out. */
const address = Object.values(networkInterfaces())
  .flatMap((infos) => infos ?? [])
  .find(({ internal, family }) => !internal && family === 'IPv4')?.address;

describe.skipIf(address === undefined)('[HT2] callers from another address than the loopback one', () => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({
      host: address!,
      insecure: true,
      port: 0,
      partitions: 1,
      logLevel: 'silent',
      warmUpMs: 0,
    });
  });
  afterAll(() => server.stop());

  async function ask(line: string, ...headers: string[]): Promise<HttpReply> {
    const socket = await RawSocket.connect(server.address.httpPort!, address);
    const lines = headers.some((header) => header.startsWith('Host')) ? headers : ['Host: x', ...headers];
    socket.write(`${line} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
    const reply = await socket.readReply();
    socket.destroy();
    return reply;
  }

  const forOperators = Object.values(httpOperations).filter(({ isLocal }) => isLocal);
  test.each(forOperators)('may not administer, whatever they say of themselves: $method $path', async (operation) => {
    const { method, path } = operation;
    for (const [target, ...headers] of [
      [path],
      [path, 'Host: 127.0.0.1'],
      [path, 'Host: localhost', 'Origin: http://localhost'],
      [path, 'X-Forwarded-For: 127.0.0.1'],
      [path, 'X-Real-IP: ::1', 'Forwarded: for=127.0.0.1;host=localhost'],
      [`http://127.0.0.1${path}`],
      // They are refused before it matters what they ask for.
      [`${path}?unknown=1`],
      [path, 'Content-Type: application/json', 'Content-Length: 0'],
    ] as const) {
      const reply = await ask(`${method} ${target}`, ...headers);
      expect([target, reply.status, readCode(reply)]).toEqual([target, 403, 'forbidden']);
    }
  });

  test('may read and register', async () => {
    for (const { method, path, query, isLocal } of Object.values(httpOperations)) {
      if (
        method !== 'GET' ||
        isLocal ||
        path.includes('{') ||
        (query?.required as readonly string[] | undefined)?.[0] !== undefined
      )
        continue;
      expect([path, (await ask(`GET ${path}`)).status]).toEqual([path, 200]);
    }
    expect((await ask('GET /v1/instances?service=s')).status).toBe(200);
    const response = await fetch(`${server.address.httpUrl}/v1/instances`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: '{"service":"s","instance":{"host":"h","port":1}}',
    });
    expect(response.status).toBe(200);
  });
});
