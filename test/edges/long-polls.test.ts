import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { afterEach, expect, test } from 'vitest';

import { readCode } from '../support/http-text.ts';
import { ioThreads } from '../support/io-threads.ts';
import { RawClient } from '../support/raw-client.ts';
import { RawSocket } from '../support/raw-socket.ts';

let server: Server;
let provider: RawClient;
afterEach(async () => {
  provider.close();
  await server.stop();
});

async function start(config: Parameters<typeof startServer>[0] = {}): Promise<void> {
  server = await startServer({ port: 0, ioThreads, partitions: 2, logLevel: 'silent', warmUpMs: 0, ...config });
  provider = await RawClient.open(server.address.url);
}

interface List {
  readonly version: number;
  readonly instances: readonly { readonly id: string; readonly zone?: string }[];
}

async function read(query: string): Promise<List> {
  const response = await fetch(`${server.address.httpUrl}/v1/instances?${query}`);
  expect(response.status).toBe(200);
  return (await response.json()) as List;
}

async function countSessions(): Promise<number> {
  const response = await fetch(`${server.address.httpUrl}/v1/stats`);
  return ((await response.json()) as { sessions: number }).sessions;
}

async function change(service: string, turn: number): Promise<number> {
  const id = `i${turn % 7}`;
  const isRemoval = turn % 3 === 2;
  const params = isRemoval
    ? { service, id: `i${(turn - 1) % 7}` }
    : { service, instance: { id, host: 'h', port: 1 + turn, zone: turn % 2 === 0 ? 'a' : 'b' } };
  const method = isRemoval ? 'instance.deregister' : 'instance.register';
  return (await provider.request<{ version: number }>(method, params)).version;
}

test('[HT3] whoever asks again and again, with a filter or without, misses nothing of a service that never rests, and nobody is left behind', async () => {
  await start({ coalesceWindowMinMs: 0, coalesceWindowMaxMs: 20 });
  const { version: before } = await read('service=busy');
  const done: { last?: number } = {};
  const poll = async (query: string): Promise<List> => {
    let list = await read(query);
    // The last change may be none that the filter lets through: then a wait has nothing to tell.
    while (done.last === undefined || list.version < done.last) {
      const next = await read(`${query}&index=${list.version}&wait=200ms`);
      expect(next.version).toBeGreaterThanOrEqual(list.version);
      list = next;
    }
    return list;
  };
  const queries = ['service=busy', 'service=busy&zone=a', 'service=busy&zone=b', 'service=busy&enabledOnly=true'];
  const polls = Promise.all(queries.map(poll));
  let version = before;
  for (let turn = 0; turn < 300; turn++) version = await change('busy', turn);
  done.last = version;
  const [all, ...filtered] = await polls;
  expect(all).toEqual(await read('service=busy'));
  expect(all!.instances.length).toBeGreaterThan(0);
  for (const [i, zone] of ['a', 'b'].entries()) {
    expect(filtered[i]!.instances).toEqual(all!.instances.filter((instance) => instance.zone === zone));
  }
  await expect.poll(countSessions).toBe(1);
});

test('[HT3] [PU5] who comes back with what it was told before a restart is told once the registry is warm, and all at once', async () => {
  await start({ warmUpMs: 5000, warmUpMaxMs: 20_000 });
  const old = (Date.now() - 60_000) * 1000;
  const socket = await RawSocket.connect(server.address.httpPort!);
  socket.write(`GET /v1/watch?service=back HTTP/1.1\r\nHost: x\r\nLast-Event-ID: ${old}\r\n\r\n`);
  expect((await socket.readReply()).status).toBe(200);
  const waiting = read(`service=back&index=${old}`);
  for (const port of [1, 2, 3]) {
    await provider.request('instance.register', { service: 'back', instance: { host: 'h', port } });
  }
  await expect.poll(() => socket.unread.toString(), { timeout: 30_000 }).toContain('event: ');
  const [, event] = /event: (\w+)\nid: \d+\ndata: .*"count":3,/.exec(socket.unread.toString()) ?? [];
  expect(event).toBe('snapshot');
  expect(socket.unread.toString()).not.toMatch(/"count":[012],/);
  expect((await waiting).instances).toHaveLength(3);
  socket.destroy();
});

test('[HT3] who begins to watch or to wait once the server stops is told to come back later, and does not keep it', async () => {
  await start({ drainTimeoutMs: 20_000, coalesceWindowMinMs: 0 });
  const { version } = await read('service=ending');
  const watch = 'GET /v1/watch?service=ending HTTP/1.1\r\nHost: x\r\n\r\n';
  const wait = `GET /v1/instances?service=ending&index=${version} HTTP/1.1\r\nHost: x\r\n\r\n`;
  const sockets: RawSocket[] = [];
  for (const behind of [watch, wait]) {
    const socket = await RawSocket.connect(server.address.httpPort!);
    // The second has its turn when the first is over.
    socket.write(watch + behind);
    expect((await socket.readReply()).status).toBe(200);
    sockets.push(socket);
  }
  provider.close();
  await server.stop();
  for (const socket of sockets) {
    await socket.ended;
    const [first = '', second = ''] = socket.unread.toString().split(/(?=HTTP\/1\.1 )/);
    expect(first).toContain('event: end\ndata: {"reason":"going_away"}');
    expect(second).toMatch(/^HTTP\/1\.1 503 /);
    const body = second.slice(second.indexOf('\r\n\r\n') + 4);
    expect(readCode({ status: 503, headers: new Map(), body })).toBe('draining');
  }
});
