import { afterEach, expect, test } from 'vitest';

import { ConfinedServer } from '../support/confined-server.ts';
import { findFreePort } from '../support/free-port.ts';
import { ioThreads } from '../support/io-threads.ts';
import { RawClient } from '../support/raw-client.ts';
import { RawSocket, encodeHandshake } from '../support/raw-socket.ts';

let server: ConfinedServer | undefined;
const sockets: RawSocket[] = [];

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  server?.end();
});

async function start(descriptorsMax: number): Promise<ConfinedServer> {
  const [port, httpPort] = [await findFreePort(), await findFreePort()];
  server = await ConfinedServer.start(descriptorsMax, {
    port,
    httpPort,
    partitions: 1,
    ioThreads,
    descriptorsReserved: 20,
  });
  return server;
}

function openClient({ port }: ConfinedServer): Promise<RawClient> {
  return RawClient.open(`ws://127.0.0.1:${port}/v1/session`);
}

async function connect({ port }: ConfinedServer): Promise<RawSocket> {
  const socket = await RawSocket.connect(port);
  sockets.push(socket);
  return socket;
}

async function readCounters({ httpPort }: ConfinedServer): Promise<Record<string, number>> {
  const response = await fetch(`http://127.0.0.1:${httpPort}/v1/stats`);
  return ((await response.json()) as { counters: Record<string, number> }).counters;
}

async function registerOne(client: RawClient): Promise<void> {
  await client.request('instance.register', { service: 'known', instance: { host: 'h', port: 1 } });
}

function query(client: RawClient): Promise<unknown> {
  return client.request('service.query', { service: 'known' });
}

test('[LI1] sessions are refused before they take the descriptors that are kept for others, and let in once some have gone', async () => {
  const running = await start(256);
  const client = await openClient(running);
  await registerOne(client);
  let refused: RawSocket | undefined;
  for (let tried = 0; refused === undefined && tried < 256; tried++) {
    const socket = await connect(running);
    socket.write(encodeHandshake());
    const { status, body } = await socket.readReply();
    if (status === 101) continue;
    expect(status).toBe(503);
    expect(JSON.parse(body)).toMatchObject({
      error: { code: 'limit_exceeded', limit: 'descriptorsReserved', max: 20 },
    });
    refused = socket;
  }
  expect(refused, 'somebody is refused').toBeDefined();
  // Callers over HTTP still have room, and who is in is served.
  expect((await readCounters(running))['upgrade_refused_descriptors']).toBe(1);
  expect(await query(client)).toMatchObject({ instances: [{ port: 1 }] });
  for (const socket of sockets.splice(0)) socket.destroy();
  await expect
    .poll(
      async () => {
        const socket = await connect(running);
        socket.write(encodeHandshake());
        return (await socket.readReply()).status;
      },
      { timeout: 10_000 },
    )
    .toBe(101);
  client.close();
});

test('[LI1, RE1] with no descriptor left, those who are in are served, a partition that dies is rebuilt, and others get in later', async () => {
  const running = await start(256);
  const client = await openClient(running);
  await registerOne(client);
  await running.hoard();
  // Nobody answers it for now.
  const late = await connect(running);
  late.write(encodeHandshake());
  for (let deaths = 0; deaths < 2; deaths++) {
    running.killPartition();
    expect(await query(client)).toMatchObject({ instances: [{ port: 1 }] });
  }
  // The next look at whether connections can be taken comes with a tick.
  await new Promise((resolve) => setTimeout(resolve, 500));
  running.release();
  await expect
    .poll(async () => (await readCounters(running))['partition_died'], { timeout: 10_000 })
    .toBeGreaterThanOrEqual(1);
  expect((await readCounters(running))['accept_paused']).toBeGreaterThanOrEqual(1);
  // How many are free is counted now and then.
  let next: RawClient | undefined;
  await expect.poll(async () => (next = await openClient(running)), { timeout: 10_000 }).toBeDefined();
  expect(await query(next!)).toMatchObject({ instances: [{ port: 1 }] });
  expect(running.lines).toEqual([]);
  client.close();
  next!.close();
});
