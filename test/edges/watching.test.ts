import { get } from 'node:http';
import type { IncomingMessage } from 'node:http';

import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { afterAll, beforeAll, expect, test } from 'vitest';

import { protocolLimits } from '../../src/protocol/limits.ts';
import { ioThreads } from '../support/io-threads.ts';
import { RawClient } from '../support/raw-client.ts';

const settings = { port: 0, ioThreads, partitions: 1, logLevel: 'silent', warmUpMs: 0 } as const;

let server: Server;
let provider: RawClient;
beforeAll(async () => {
  server = await startServer({
    ...settings,
    partitions: 2,
    coalesceWindowMinMs: 0,
    coalesceWindowMaxMs: 0,
    drainTimeoutMs: 5000,
  });
  provider = await RawClient.open(server.address.url);
});
afterAll(async () => {
  provider.close();
  await server.stop();
});

interface StreamEvent {
  readonly event: string;
  readonly id: string | undefined;
  readonly data: Record<string, unknown>;
}

/** Reads text/event-stream, as far as it is used here. */
class EventReader {
  readonly response: IncomingMessage;
  readonly events: StreamEvent[] = [];
  readonly ended: Promise<void>;
  #text = '';
  #wake: () => void = () => undefined;

  constructor(response: IncomingMessage) {
    this.response = response;
    response.on('data', (bytes: Buffer) => {
      this.#read(bytes.toString());
    });
    this.ended = new Promise((resolve) => {
      response.once('close', resolve);
    });
  }

  static open(path: string, headers: Record<string, string> = {}): Promise<EventReader> {
    return new Promise((resolve, reject) => {
      get(`${server.address.httpUrl}${path}`, { headers, agent: false }, (response) => {
        resolve(new EventReader(response));
      }).once('error', reject);
    });
  }

  async next(): Promise<StreamEvent> {
    while (this.events.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.events.shift()!;
  }

  close(): void {
    this.response.destroy();
  }

  #read(text: string): void {
    this.#text += text;
    for (let end = this.#text.indexOf('\n\n'); end !== -1; end = this.#text.indexOf('\n\n')) {
      const fields = new Map(
        this.#text
          .slice(0, end)
          .split('\n')
          .filter((line) => !line.startsWith(':'))
          .map((line) => [line.slice(0, line.indexOf(': ')), line.slice(line.indexOf(': ') + 2)]),
      );
      this.#text = this.#text.slice(end + 2);
      const event = fields.get('event');
      if (event === undefined) continue;
      this.events.push({
        event,
        id: fields.get('id'),
        data: JSON.parse(fields.get('data') ?? '{}') as StreamEvent['data'],
      });
      this.#wake();
    }
  }
}

let ports = 0;
async function register(service: string, more: object = {}): Promise<number> {
  ports += 1;
  const instance = { host: 'h', port: ports, ...more };
  const { version } = await provider.request<{ version: number }>('instance.register', { service, instance });
  return version;
}

async function read(path: string): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(`${server.address.httpUrl}${path}`, { headers: { connection: 'close' } });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

test('[HT3] who watches gets the list, and then each list that follows', async () => {
  const first = await register('watched');
  const reader = await EventReader.open('/v1/watch?service=watched');
  expect(reader.response.headers['content-type']).toBe('text/event-stream');
  expect(await reader.next()).toMatchObject({ event: 'snapshot', id: String(first), data: { to: first, count: 1 } });
  const second = await register('watched');
  const next = await reader.next();
  expect(next).toMatchObject({ event: 'snapshot', id: String(second), data: { to: second, count: 2 } });
  expect(next.data.instances).toHaveLength(2);
  reader.close();
});

test('[HT3] [PU1] in delta mode events chain, and a caller that comes back with its last event gets what changed since', async () => {
  const first = await register('chained');
  const reader = await EventReader.open('/v1/watch?service=chained&mode=delta');
  await reader.next();
  const second = await register('chained');
  expect(await reader.next()).toMatchObject({ event: 'delta', id: String(second), data: { from: first, to: second } });
  // The change log is kept while somebody watches.
  const other = await EventReader.open('/v1/watch?service=chained&mode=delta', { 'last-event-id': String(first) });
  const missed = await other.next();
  expect(missed).toMatchObject({ event: 'delta', id: String(second), data: { from: first } });
  expect(missed.data.put).toHaveLength(1);
  const same = await EventReader.open('/v1/watch?service=chained&mode=delta', { 'last-event-id': String(second) });
  const third = await register('chained');
  expect(await same.next()).toMatchObject({ event: 'delta', id: String(third), data: { from: second } });
  for (const each of [reader, other, same]) each.close();
});

/** Waits again as long as the list has another length: what a filter does not let through may end a wait, too. */
async function readOnceItHas(count: number, path: string, version: number): Promise<void> {
  for (let index = version; ;) {
    const { body } = await read(`${path}&index=${index}`);
    const { version: next, instances } = body as { version: number; instances: unknown[] };
    expect(next).toBeGreaterThan(index);
    if (instances.length === count) return;
    index = next;
  }
}

test('[HT3] a filter holds for who watches and who waits', async () => {
  await register('filtered', { zone: 'a', metadata: { lane: 'blue' } });
  const reader = await EventReader.open('/v1/watch?service=filtered&zone=a&selector[lane]=blue');
  expect((await reader.next()).data.count).toBe(1);
  const { version } = (await read('/v1/instances?service=filtered&zone=a')).body as { version: number };
  const waiting = readOnceItHas(2, `/v1/instances?service=filtered&zone=a&wait=20s`, version);
  await register('filtered', { zone: 'b' });
  await register('filtered', { zone: 'a', metadata: { lane: 'blue' } });
  expect((await reader.next()).data.count).toBe(2);
  await waiting;
  reader.close();
});

test('[HT3] who waits is answered once there is a newer list, at once if there is one, and with the same list when the time is over', async () => {
  const first = await register('awaited');
  const waiting = read(`/v1/instances?service=awaited&index=${first}&wait=30s`);
  const second = await register('awaited');
  expect((await waiting).body).toMatchObject({ version: second });
  expect((await read(`/v1/instances?service=awaited&index=${first}&wait=30s`)).body).toMatchObject({ version: second });
  const over = await read(`/v1/instances?service=awaited&index=${second}&wait=50ms`);
  expect(over).toMatchObject({ status: 200, body: { version: second } });
  expect(over.body.instances).toHaveLength(2);
});

test.each(['index=x', 'index=-1', 'index=1&wait=forever', 'index=1&index=2', 'index=99999999999999999'])(
  '[HT3] [WP3] %s is refused',
  async (query) => {
    const { status, body } = await read(`/v1/instances?service=awaited&${query}`);
    expect([status, (body.error as { code: string }).code]).toEqual([400, 'invalid_params']);
  },
);

/** Once there is room: those of before may not be gone yet. */
async function openOnceThereIsRoom(path: string): Promise<EventReader> {
  for (;;) {
    const reader = await EventReader.open(path);
    if (reader.response.statusCode === 200) return reader;
    reader.close();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test('[HT3] [LI1] no more than httpWaitersMax watch or wait, and who goes makes room', async () => {
  const mine = server;
  server = await startServer({ ...settings, httpWaitersMax: 4 });
  const readers: EventReader[] = [];
  while (readers.length < 4) readers.push(await openOnceThereIsRoom('/v1/watch?service=crowded'));
  for (const reader of readers) expect((await reader.next()).event).toBe('snapshot');
  const { status, body } = await read('/v1/watch?service=crowded');
  expect([status, body.error]).toMatchObject([503, { code: 'busy', limit: 'httpWaitersMax', max: 4 }]);
  expect((await read('/v1/instances?service=crowded&index=1')).status).toBe(503);
  for (const reader of readers) reader.close();
  const again = await openOnceThereIsRoom('/v1/watch?service=crowded');
  expect((await again.next()).event).toBe('snapshot');
  again.close();
  const { body: stats } = await read('/v1/stats');
  expect((stats.counters as Record<string, number>)['limit_httpWaitersMax']).toBeGreaterThanOrEqual(2);
  await server.stop();
  server = mine;
});

test('[HT3] a server that stops ends what goes on, and says when to come back', async () => {
  const other = await startServer({ ...settings, drainTimeoutMs: 20_000 });
  const mine = server;
  server = other;
  const reader = await EventReader.open('/v1/watch?service=ending');
  server = mine;
  expect((await reader.next()).event).toBe('snapshot');
  const stopping = other.stop();
  expect(await reader.next()).toMatchObject({ event: 'end', data: { reason: 'going_away' } });
  await reader.ended;
  await stopping;
});

test('[HT3] a version above heldVersionMax can be waited for', async () => {
  const url = server.address.httpUrl!;
  // Whoever holds a version is told a higher one, so a caller can lift it above what is resumed from.
  const stream = await EventReader.open(`/v1/watch?service=lifted&version=${protocolLimits.heldVersionMax}`);
  const { data } = await stream.next();
  expect(data.to).toBeGreaterThan(protocolLimits.heldVersionMax);
  const waiting = fetch(`${url}/v1/instances?service=lifted&index=${data.to as number}`);
  await provider.request('instance.register', { service: 'lifted', instance: { host: 'h', port: 1 } });
  const response = await waiting;
  expect([response.status, await response.json()]).toMatchObject([200, { instances: [{ id: 'h:1' }] }]);
  stream.response.destroy();
});

test('[HT3] who waits is not taken for one who has gone silent', async () => {
  const mine = server;
  server = await startServer({ ...settings, heartbeatTimeoutMs: 1500 });
  const path = '/v1/instances?service=quiet';
  const { version } = (await read(path)).body as { version: number };
  const waiting = read(`${path}&index=${version}&wait=30s`);
  // Long enough for it to be given up. A shorter heartbeat would be missed by a thread that is short of a core.
  await new Promise((resolve) => setTimeout(resolve, 3500));
  // Over HTTP: a connection of this process might itself be silent for too long.
  await fetch(`${server.address.httpUrl}/v1/instances`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ service: 'quiet', instance: { host: 'h', port: 1 } }),
  });
  expect((await waiting).body.instances).toHaveLength(1);
  expect((await read('/v1/stats')).body.counters).not.toHaveProperty('closed_heartbeat_timeout');
  await server.stop();
  server = mine;
});

test('[HT3] [LI1] nobody waits longer than httpWaitMaxMs, whatever is asked for', async () => {
  const mine = server;
  server = await startServer({ ...settings, httpWaitMaxMs: 200 });
  const { version } = (await read('/v1/instances?service=quiet')).body as { version: number };
  for (const wait of ['&wait=60m', '']) {
    expect((await read(`/v1/instances?service=quiet&index=${version}${wait}`)).body).toEqual({
      version,
      instances: [],
    });
  }
  await server.stop();
  server = mine;
});
