import { readdirSync, readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { afterEach, describe, expect, test } from 'vitest';

import { settings } from '../../src/config/config.ts';
import type { ServerConfig, SettingName } from '../../src/config/config.ts';
import type { RawClient } from '../support/raw-client.ts';
import { encodeFrame, RawSocket, encodeHandshake } from '../support/raw-socket.ts';
import { Witness } from '../support/witness.ts';

let witness: Witness | undefined;

async function start(config: Partial<ServerConfig>): Promise<Witness> {
  witness = await Witness.start({ partitions: 1, ...config });
  return witness;
}

afterEach(async () => {
  await witness?.expectUnharmed();
  await witness?.stop();
  witness = undefined;
});

function register(client: RawClient, port: number, service = 'bounded'): Promise<unknown> {
  return client.request('instance.register', { service, instance: { host: 'h', port } });
}

function encodeRegister(id: number, service: string): string {
  const params = { service, instance: { host: 'h', port: id } };
  return JSON.stringify({ jsonrpc: '2.0', id, method: 'instance.register', params });
}

function encodeQuery(id: number, method = 'service.query', service = 'known'): string {
  return `{"jsonrpc":"2.0","id":${id},"method":"${method}","params":{"service":"${service}"}}`;
}

/** A batch that registers so many instances of one service. */
function encodeBatch(entries: number): string {
  return `[${Array.from({ length: entries }, (_, index) => encodeRegister(index + 1, 'bounded')).join()}]`;
}

interface Lease {
  readonly lease: string;
  readonly ttlMs: number;
}

async function putLease(
  port: number,
  rest: object = {},
): Promise<{ status: number; body: { error?: object } & Partial<Lease> }> {
  const response = await fetch(`${witness!.httpUrl}/v1/instances`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ service: 'leased', instance: { host: 'h', port }, ...rest }),
  });
  return { status: response.status, body: (await response.json()) as { error?: object } & Partial<Lease> };
}

async function endLease(lease: string | undefined): Promise<void> {
  await fetch(`${witness!.httpUrl}/v1/leases/${lease}`, { method: 'DELETE' });
}

/** A bound, and a test that meets it, shows the coded outcome, and goes on below it. Returns what was counted. */
interface Bound {
  readonly name: SettingName;
  readonly config: Partial<ServerConfig>;
  readonly counters: readonly string[];
  readonly meet: (server: Witness) => Promise<void>;
}

function refuse(code: string, limit: SettingName, max: number): object {
  return { data: { code, limit, max } };
}

function buildLarge(port: number, length: number): object {
  return { host: 'h', port, metadata: { note: 'x'.repeat(length) } };
}

const bounds: readonly Bound[] = [
  {
    name: 'registrationsMax',
    config: { registrationsMax: 2 },
    counters: ['limit_registrationsMax', 'refused_limit_exceeded'],
    meet: async (server) => {
      const client = await server.openClient();
      await register(client, 1);
      await register(client, 2);
      await expect(register(client, 3)).rejects.toMatchObject(refuse('limit_exceeded', 'registrationsMax', 2));
      // What is held already may be replaced, and leaving makes room.
      await register(client, 2);
      await client.request('instance.deregister', { service: 'bounded', id: 'h:1' });
      await register(client, 3);
      client.close();
    },
  },
  {
    name: 'persistentWritesMax',
    config: { persistentWritesMax: 1 },
    counters: ['limit_persistentWritesMax', 'refused_busy'],
    meet: async (server) => {
      const client = await server.openClient();
      const service = { service: 'bounded', persistent: true };
      const outcomes = await Promise.allSettled(
        [1, 2].map((port) => client.request('instance.register', { ...service, instance: { host: 'h', port } })),
      );
      expect(outcomes).toMatchObject([
        { status: 'fulfilled' },
        { status: 'rejected', reason: refuse('busy', 'persistentWritesMax', 1) },
      ]);
      await client.request('instance.deregister', { ...service, id: 'h:1' });
      client.close();
    },
  },
  {
    name: 'subscriptionsMax',
    config: { subscriptionsMax: 2 },
    counters: ['limit_subscriptionsMax', 'refused_limit_exceeded'],
    meet: async (server) => {
      const client = await server.openClient();
      await client.request('service.subscribe', { service: 'a' });
      await client.request('service.subscribe', { service: 'b' });
      await expect(client.request('service.subscribe', { service: 'c' })).rejects.toMatchObject(
        refuse('limit_exceeded', 'subscriptionsMax', 2),
      );
      await client.request('service.subscribe', { service: 'b', mode: 'snapshot' });
      await client.request('service.unsubscribe', { service: 'a' });
      await client.request('service.subscribe', { service: 'c' });
      client.close();
    },
  },
  {
    name: 'threadSubscriptionsMax',
    // One of them the witness's own.
    config: { threadSubscriptionsMax: 3, ioThreads: 0 },
    counters: ['limit_threadSubscriptionsMax', 'refused_limit_exceeded'],
    meet: async (server) => {
      await watchTooMuch(server, 'threadSubscriptionsMax', 3, ['a', 'b', 'c']);
      // Those that are still to be answered count as well.
      const client = await server.openClient();
      client.send(`[${[1, 2, 3].map((id) => encodeQuery(id, 'service.subscribe', `s${id}`)).join()}]`);
      const done = { result: {} };
      const refused = { error: refuse('limit_exceeded', 'threadSubscriptionsMax', 3) };
      expect(JSON.parse(await client.nextFrame())).toMatchObject([done, done, refused]);
      client.close();
    },
  },
  {
    name: 'watchedServicesMax',
    // One of them the witness's own.
    // Bounds of one thread: so all sessions are on the same.
    config: { watchedServicesMax: 3, ioThreads: 0 },
    counters: ['limit_watchedServicesMax', 'refused_limit_exceeded'],
    meet: (server) => watchTooMuch(server, 'watchedServicesMax', 3, ['a', 'b', 'c']),
  },
  {
    name: 'watchedNameBytesMax',
    config: { watchedNameBytesMax: 1024, ioThreads: 0 },
    counters: ['limit_watchedNameBytesMax', 'refused_limit_exceeded'],
    meet: (server) => watchTooMuch(server, 'watchedNameBytesMax', 1024, ['a'.repeat(500), 'b'.repeat(510), 'c']),
  },
  {
    name: 'filtersPerServiceMax',
    config: { filtersPerServiceMax: 1 },
    counters: ['limit_filtersPerServiceMax', 'refused_limit_exceeded'],
    meet: async (server) => {
      const [first, second] = [await server.openClient(), await server.openClient()];
      const red = { service: 'bounded', selector: { color: 'red' } };
      const blue = { service: 'bounded', selector: { color: 'blue' } };
      await first.request('service.subscribe', red);
      await second.request('service.subscribe', { service: 'bounded' });
      await expect(second.request('service.subscribe', blue)).rejects.toMatchObject(
        refuse('limit_exceeded', 'filtersPerServiceMax', 1),
      );
      // The older subscription goes on.
      await register(first, 1);
      expect((await second.nextNotification()).params).toMatchObject({ count: 1 });
      // Others may share the filter, and who leaves it makes room.
      await second.request('service.subscribe', red);
      await first.request('service.unsubscribe', { service: 'bounded' });
      await second.request('service.unsubscribe', { service: 'bounded' });
      await second.request('service.subscribe', blue);
      first.close();
      second.close();
    },
  },
  {
    name: 'requestsInFlightMax',
    config: { requestsInFlightMax: 3 },
    counters: ['limit_requestsInFlightMax', 'refused_busy'],
    meet: async (server) => {
      const client = await server.openClient();
      client.send(encodeBatch(5));
      const answers = JSON.parse(await client.nextFrame()) as unknown[];
      const done = { result: { version: expect.any(Number) } };
      const busy = { error: refuse('busy', 'requestsInFlightMax', 3) };
      expect(answers).toMatchObject([done, done, done, busy, busy]);
      expect(answers[3]).toMatchObject({ error: { data: { retryAfterMs: expect.any(Number) } } });
      expect(await client.request('service.query', { service: 'bounded' })).toMatchObject({ instances: [{}, {}, {}] });
      await register(client, 4);
      client.close();
    },
  },
  {
    name: 'mailboxRequestsMax',
    config: { mailboxRequestsMax: 3 },
    counters: ['limit_mailboxRequestsMax', 'refused_busy'],
    meet: async (server) => {
      const client = await server.openClient();
      client.send(encodeBatch(5));
      const answers = JSON.parse(await client.nextFrame()) as unknown[];
      const done = { result: { version: expect.any(Number) } };
      const busy = { error: { data: { code: 'busy', limit: 'mailboxRequestsMax', retryAfterMs: expect.any(Number) } } };
      expect(answers).toMatchObject([done, done, done, busy, busy]);
      await expect
        .poll(() => client.request('service.query', { service: 'bounded' }))
        .toMatchObject({
          instances: [{}, {}, {}],
        });
      client.close();
    },
  },
  {
    name: 'sessionShareRequests',
    config: { mailboxRequestsMax: 8, sessionShareRequests: 2 },
    counters: ['limit_sessionShareRequests', 'refused_busy'],
    meet: async (server) => {
      const client = await server.openClient();
      client.send(encodeBatch(8));
      // In the same turn, and so with the mailbox as full as it gets.
      const modest = server.watcher.request('service.query', { service: 'known' });
      const answers = JSON.parse(await client.nextFrame()) as unknown[];
      const done = { result: { version: expect.any(Number) } };
      const busy = { error: refuse('busy', 'sessionShareRequests', 2) };
      expect(answers).toMatchObject([done, done, done, done, done, busy, busy, busy]);
      expect(await modest).toMatchObject({ instances: [{}, {}] });
      client.close();
    },
  },
  {
    name: 'batchEntriesMax',
    config: { batchEntriesMax: 3 },
    counters: ['limit_batchEntriesMax', 'refused_limit_exceeded'],
    meet: async (server) => {
      const client = await server.openClient();
      client.send(encodeBatch(4));
      expect(JSON.parse(await client.nextFrame())).toMatchObject({
        id: null,
        error: refuse('limit_exceeded', 'batchEntriesMax', 3),
      });
      expect(await client.request('service.query', { service: 'bounded' })).toMatchObject({ instances: [] });
      client.send(encodeBatch(3));
      expect(JSON.parse(await client.nextFrame())).toHaveLength(3);
      client.close();
    },
  },
  {
    name: 'batchAnswerCharactersMax',
    config: { batchAnswerCharactersMax: 1024 },
    counters: ['limit_batchAnswerCharactersMax', 'refused_limit_exceeded'],
    meet: async (server) => {
      const client = await server.openClient();
      // Each answer has more than 200 characters.
      client.send(`[${Array.from({ length: 10 }, (_, id) => encodeQuery(id)).join()}]`);
      const answers = JSON.parse(await client.nextFrame()) as { id: number; result?: object; error?: object }[];
      expect(answers.map(({ id }) => id)).toEqual(Array.from({ length: 10 }, (_, id) => id));
      const refused = answers.filter(({ error }) => error !== undefined);
      expect(refused.length).toBeGreaterThan(4);
      expect(refused.length).toBeLessThan(10);
      for (const { error } of refused) {
        expect(error).toMatchObject(refuse('limit_exceeded', 'batchAnswerCharactersMax', 1024));
      }
      client.send(`[${encodeQuery(1)}]`);
      expect(JSON.parse(await client.nextFrame())).toMatchObject([{ id: 1, result: { instances: [{}, {}] } }]);
      client.close();
    },
  },
  {
    name: 'frameBytesMax',
    config: { frameBytesMax: 2048 },
    counters: ['closed_frame_too_big'],
    meet: async (server) => {
      const client = await server.openClient();
      client.send('{"jsonrpc":"2.0","id":"big","method":"service.query","params":{"service":"bounded"}}'.padEnd(2048));
      expect(JSON.parse(await client.nextFrame())).toMatchObject({ id: 'big', result: { instances: [] } });
      client.send(encodeRegister(1, 'bounded').padEnd(2049));
      expect((await client.closed).code).toBe(1009);
    },
  },
  {
    name: 'frameSliceBytes',
    config: { frameSliceBytes: 1024, ioThreads: 0 },
    counters: ['limit_frameSliceBytes'],
    meet: async (server) => {
      const client = await server.openClient();
      // Others come in between, and what comes behind it of the same client does not.
      client.send(encodeBatch(500));
      client.send('{"jsonrpc":"2.0","id":"after","method":"service.query","params":{"service":"bounded"}}');
      const others = await server.watcher.request<{ instances: object[] }>('service.query', { service: 'bounded' });
      expect(others.instances.length).toBeLessThan(500);
      expect(JSON.parse(await client.nextFrame())).toHaveLength(500);
      expect(JSON.parse(await client.nextFrame())).toMatchObject({
        id: 'after',
        result: { instances: { length: 500 } },
      });
      // What is not JSON at its end does nothing at its beginning.
      client.send(`${encodeBatch(500).replaceAll('bounded', 'unreadable').slice(0, -1)},{]`);
      expect(JSON.parse(await client.nextFrame())).toMatchObject({
        id: null,
        error: { data: { code: 'parse_error' } },
      });
      expect(await client.request('service.query', { service: 'unreadable' })).toMatchObject({ instances: [] });
      client.close();
    },
  },
  {
    name: 'sessionIntakeBytesMax',
    config: { frameSliceBytes: 1024, sessionIntakeBytesMax: 65_536 },
    counters: ['closed_overrun'],
    meet: async (server) => {
      const client = await server.openClient();
      client.send(encodeBatch(500));
      expect(JSON.parse(await client.nextFrame())).toHaveLength(500);
      for (let sent = 0; sent < 5; sent++) client.send(encodeBatch(500));
      expect(await client.closed).toMatchObject({ code: 4004, reason: 'overrun' });
    },
  },
  {
    name: 'bodyBytesMax',
    config: { bodyBytesMax: 1024 },
    counters: ['limit_bodyBytesMax', 'refused_limit_exceeded'],
    meet: async () => {
      // 1100 characters of a value.
      const metadata = { note: 'x'.repeat(1100) };
      expect(await putLease(1, { instance: { host: 'h', port: 1, metadata } })).toMatchObject({
        status: 413,
        body: { error: { code: 'limit_exceeded', limit: 'bodyBytesMax', max: 1024 } },
      });
      const { status, body } = await putLease(1);
      expect(status).toBe(200);
      await endLease(body.lease);
    },
  },
  {
    name: 'httpAnswerBytesMax',
    // Each thread has as much.
    config: { httpAnswerBytesMax: 1024, ioThreads: 0 },
    counters: ['limit_httpAnswerBytesMax', 'refused_busy'],
    meet: async (server) => {
      const client = await server.openClient();
      const unread = await leaveUnread(server, client);
      // What is small is not refused, and waits for nobody.
      expect((await fetch(`${server.httpUrl}/health/live`)).status).toBe(200);
      const refused = await fetchList(server);
      expect(refused.status).toBe(503);
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
      expect(await refused.json()).toMatchObject({
        error: { code: 'busy', limit: 'httpAnswerBytesMax', max: 1024 },
      });
      // Who reads, or goes, makes room.
      unread.destroy();
      await expect.poll(async () => (await fetchList(server)).status).toBe(200);
      client.close();
    },
  },
  {
    name: 'httpAnswerTimeoutMs',
    config: { httpAnswerTimeoutMs: 500, slowConsumerTimeoutMs: 60_000 },
    counters: ['http_answer_cut'],
    meet: async (server) => {
      const client = await server.openClient();
      const unread = await leaveUnread(server, client);
      await expect.poll(() => server.readCounter('http_answer_cut'), { timeout: 5000 }).toBe(1);
      // What the kernel had taken may still be read, and then it is over, without the end of the answer.
      unread.socket.resume();
      await unread.ended;
      expect((await fetchList(server)).status).toBe(200);
      client.close();
    },
  },
  {
    name: 'turnStepsMax',
    config: { turnStepsMax: 1, ioThreads: 0 },
    counters: ['limit_turnStepsMax'],
    meet: async (server) => {
      const client = await server.openClient();
      client.send(encodeBatch(1000));
      expect(JSON.parse(await client.nextFrame())).toHaveLength(1000);
      const counts = new Set<number>();
      client.close();
      // Others are served in between, and so see it become less, down to what the witness has.
      for (let count = 1002; count > 2; counts.add(count)) count = (await server.readStats()).registrations;
      expect(counts.size).toBeGreaterThan(2);
    },
  },
  {
    name: 'leasesMax',
    config: { leasesMax: 1 },
    counters: ['limit_leasesMax', 'refused_limit_exceeded'],
    meet: async () => {
      const first = await putLease(1);
      expect(await putLease(2)).toMatchObject({
        status: 413,
        body: { error: { code: 'limit_exceeded', limit: 'leasesMax', max: 1 } },
      });
      // The lease that there is takes more.
      expect(await putLease(3, { lease: first.body.lease })).toMatchObject({ status: 200 });
      await endLease(first.body.lease);
      const second = await putLease(2);
      expect(second.status).toBe(200);
      await endLease(second.body.lease);
    },
  },
  {
    name: 'leaseTtlMinMs',
    config: { leaseTtlMinMs: 5000 },
    counters: [],
    meet: () => expectTtl({ ttlMs: 100 }, 5000),
  },
  {
    name: 'leaseTtlDefaultMs',
    config: { leaseTtlDefaultMs: 7000 },
    counters: [],
    meet: () => expectTtl({}, 7000),
  },
  {
    name: 'leaseTtlMaxMs',
    config: { leaseTtlMaxMs: 40_000 },
    counters: [],
    meet: () => expectTtl({ ttlMs: 100_000 }, 40_000),
  },
  {
    name: 'slowConsumerBytesMax',
    // The backlog within the process has room for all of it.
    config: { slowConsumerBytesMax: 1_048_576, sessionBacklogBytesMax: 256 * 1_048_576 },
    counters: ['closed_slow_consumer'],
    // Larger ones are not fetched for a client that has not read those before.
    meet: (server) => expectDeafClosed(server, 6),
  },
  {
    name: 'instancesPerServiceMax',
    config: { instancesPerServiceMax: 2 },
    counters: ['limit_instancesPerServiceMax', 'refused_limit_exceeded'],
    meet: async (server) => {
      const client = await server.openClient();
      // The watched service is full, too, and stays as it is.
      for (const service of ['bounded', 'known']) {
        if (service === 'bounded') for (const port of [1, 2]) await register(client, port, service);
        await expect(register(client, 3, service)).rejects.toMatchObject(
          refuse('limit_exceeded', 'instancesPerServiceMax', 2),
        );
      }
      await register(client, 2);
      await client.request('instance.deregister', { service: 'bounded', id: 'h:1' });
      await register(client, 3);
      client.close();
    },
  },
  {
    name: 'claimsPerInstanceMax',
    config: { claimsPerInstanceMax: 2 },
    counters: ['limit_claimsPerInstanceMax'],
    meet: async (server) => {
      const clients = await Promise.all([server.openClient(), server.openClient(), server.openClient()]);
      for (const client of clients) await register(client, 1);
      const [first, ...others] = clients;
      await expect(first.request('instance.deregister', { service: 'bounded', id: 'h:1' })).rejects.toMatchObject({
        data: { code: 'not_owner' },
      });
      for (const client of others) await client.request('instance.deregister', { service: 'bounded', id: 'h:1' });
      await register(first, 1);
      for (const client of clients) client.close();
    },
  },
  {
    name: 'instancesPerPartitionMax',
    // Two are the witness's.
    config: { instancesPerPartitionMax: 3 },
    counters: ['limit_instancesPerPartitionMax', 'refused_limit_exceeded'],
    meet: async (server) => {
      const client = await server.openClient();
      await register(client, 1, 'a');
      await expect(register(client, 1, 'b')).rejects.toMatchObject(
        refuse('limit_exceeded', 'instancesPerPartitionMax', 3),
      );
      // A refused registration holds no place in the session either: leaving takes away what is there, and no more.
      await client.request('instance.deregister', { service: 'a', id: 'h:1' });
      await register(client, 1, 'b');
      client.close();
    },
  },
  {
    name: 'instanceBytesMax',
    config: { instanceBytesMax: 1024 },
    counters: ['limit_instanceBytesMax', 'refused_limit_exceeded'],
    meet: async (server) => {
      const client = await server.openClient();
      const metadata = { note: 'x'.repeat(1024) };
      await client.request('instance.register', { service: 'a', instance: { host: 'h', port: 1, metadata } });
      await expect(register(client, 1, 'b')).rejects.toMatchObject(refuse('limit_exceeded', 'instanceBytesMax', 1024));
      // What is there may change, and makes room.
      await register(client, 1, 'a');
      await register(client, 1, 'b');
      client.close();
    },
  },
  {
    name: 'serviceListBytesMax',
    config: { serviceListBytesMax: 2048 },
    counters: ['limit_serviceListBytesMax', 'refused_limit_exceeded'],
    meet: async (server) => {
      const client = await server.openClient();
      await client.request('instance.register', { service: 'a', instance: buildLarge(1, 1500) });
      const refused = refuse('limit_exceeded', 'serviceListBytesMax', 2048);
      for (const instance of [buildLarge(2, 800), buildLarge(1, 4000)]) {
        await expect(client.request('instance.register', { service: 'a', instance })).rejects.toMatchObject(refused);
      }
      // What was there is as it was.
      expect(await client.request('service.query', { service: 'a' })).toMatchObject({
        instances: [buildLarge(1, 1500)],
      });
      await client.request('instance.register', { service: 'b', instance: buildLarge(2, 800) });
      client.close();
    },
  },
  {
    name: 'sessionBacklogBytesMax',
    config: { sessionBacklogBytesMax: 1024, frameBytesMax: 4_194_304 },
    counters: ['closed_slow_consumer'],
    meet: (server) => expectDeafClosed(server),
  },
  {
    name: 'heartbeatTimeoutMs',
    config: { heartbeatTimeoutMs: 300 },
    counters: ['closed_heartbeat_timeout', 'session_broken'],
    meet: async (server) => {
      const silent = await RawSocket.openSession(server.port);
      expect(await silent.ended).toEqual({ code: 4001 });
    },
  },
  {
    name: 'changeLogEntriesMax',
    config: { changeLogEntriesMax: 4 },
    counters: [],
    meet: async (server) => {
      const client = await server.openClient();
      const { version } = await client.request('service.subscribe', { service: 'bounded' });
      const versions: unknown[] = [];
      for (let port = 1; port <= 8; port++) {
        versions.push(((await register(client, port)) as { version: number }).version);
      }
      const resume = (from: unknown): Promise<unknown> =>
        client.request('service.subscribe', { service: 'bounded', version: from });
      expect(await resume(versions[6])).toMatchObject({ from: versions[6], version: versions[7], put: [{ port: 8 }] });
      expect(await resume(version)).toMatchObject({ version: versions[7], instances: { length: 8 } });
      client.close();
    },
  },
  {
    name: 'sessionsMax',
    config: { sessionsMax: 4 },
    counters: ['upgrade_refused_sessions'],
    meet: (server) => expectHandshakesBounded(server, 'sessionsMax'),
  },
  {
    name: 'sessionsPerSecondMax',
    // Two are the witness's; then one each 20 ms.
    config: { sessionsPerSecondMax: 50, sessionsBurstMax: 4 },
    counters: ['upgrade_refused_rate'],
    meet: async (server) => {
      const waitsMs = new Set<number>();
      for (let tried = 0; waitsMs.size < 3; tried++) {
        const socket = await RawSocket.connect(server.port);
        socket.write(encodeHandshake());
        const { status, headers, body } = await socket.readReply();
        socket.destroy();
        if (status === 101) continue;
        expect(tried).toBeGreaterThanOrEqual(2);
        expect(status).toBe(503);
        const { error } = JSON.parse(body) as { error: { retryAfterMs: number } };
        expect(error).toMatchObject({ code: 'busy', limit: 'sessionsPerSecondMax', max: 50 });
        expect(headers.get('retry-after')).toBe(String(Math.ceil(error.retryAfterMs / 1000)));
        waitsMs.add(error.retryAfterMs);
      }
      // Who is in is served meanwhile, and who comes later gets in.
      expect(await server.watcher.request('service.query', { service: 'known' })).toMatchObject({
        instances: [{}, {}],
      });
      await expect
        .poll(async () => {
          const socket = await RawSocket.connect(server.port);
          socket.write(encodeHandshake());
          const { status } = await socket.readReply();
          socket.destroy();
          return status;
        })
        .toBe(101);
      // For the newcomers of the witness.
      await delay(100);
    },
  },
  {
    name: 'sessionsPerAddressMax',
    config: { sessionsPerAddressMax: 4 },
    counters: ['upgrade_refused_address'],
    meet: (server) => expectHandshakesBounded(server, 'sessionsPerAddressMax'),
  },
];

/** Registers a large list, and asks for it over HTTP without reading the answer. The list goes with the client. */
async function leaveUnread(server: Witness, client: RawClient): Promise<RawSocket> {
  const note = 'x'.repeat(8000);
  // 16 MB: more than the kernel takes for one connection.
  const entries = Array.from({ length: 100 }, (_, index) => {
    const instance = { host: 'h', port: index + 1, metadata: { note } };
    return { jsonrpc: '2.0', id: index, method: 'instance.register', params: { service: 'big', instance } };
  });
  for (let part = 0; part < 20; part++) {
    for (const entry of entries) entry.params.instance.host = `h${part}`;
    client.send(JSON.stringify(entries));
    expect(JSON.parse(await client.nextFrame())).toHaveLength(entries.length);
  }
  const unread = await RawSocket.connect(server.httpPort);
  unread.socket.pause();
  unread.write('GET /v1/instances?service=big HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
  // Once some of it has come, all that fits is on its way.
  await expect.poll(() => readQueued(unread.socket), { timeout: 5000 }).toBeGreaterThan(0);
  return unread;
}

/** Bytes that wait at this machine's end of a connection to be read. The kernel also lists connections that are over, and their ports may be in use again. */
function readQueued({ localPort = 0, remotePort = 0 }: Socket): number {
  const [from = '', to = ''] = [localPort, remotePort].map((port) => port.toString(16).toUpperCase().padStart(4, '0'));
  for (const line of readFileSync('/proc/net/tcp', 'utf8').split('\n')) {
    const [, local = '', remote = '', , queues = ''] = line.trim().split(/\s+/);
    if (local.endsWith(`:${from}`) && remote.endsWith(`:${to}`))
      return Number.parseInt(queues.split(':')[1] ?? '0', 16);
  }
  return 0;
}

function fetchList(server: Witness): Promise<Response> {
  return fetch(`${server.httpUrl}/v1/instances?service=big`);
}

/** A lease that is asked for so is granted so. */
async function expectTtl(wish: object, ttlMs: number): Promise<void> {
  const { status, body } = await putLease(1, wish);
  expect({ status, ttlMs: body.ttlMs }).toEqual({ status: 200, ttlMs });
  await endLease(body.lease);
}

/** A client that asks for large lists and reads nothing is closed. */
async function expectDeafClosed(server: Witness, instances = 100): Promise<void> {
  const client = await server.openClient();
  const note = 'x'.repeat(8000);
  for (let port = 1; port <= instances; port++) {
    await client.request('instance.register', {
      service: 'big',
      instance: { host: 'h', port, metadata: { note } },
    });
  }
  const deaf = await RawSocket.openSession(server.port);
  deaf.socket.pause();
  const query = '{"jsonrpc":"2.0","id":1,"method":"service.query","params":{"service":"big"}}';
  // 100 answers of 800 kB do not fit into what the kernel takes for one connection.
  for (let asked = 0; asked < 100; asked++) deaf.write(encodeFrame(query));
  await expect.poll(() => server.readCounter('closed_slow_consumer'), { timeout: 5000 }).toBe(1);
  deaf.destroy();
  client.close();
}

/** Two sessions are the witness's, two more have room. */
async function expectHandshakesBounded(server: Witness, limit: SettingName): Promise<void> {
  const third = await server.openClient();
  const fourth = await server.openClient();
  const fifth = await RawSocket.connect(server.port);
  fifth.write(encodeHandshake());
  const reply = await fifth.readReply();
  expect(reply.status).toBe(503);
  expect(Number(reply.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
  expect(JSON.parse(reply.body)).toMatchObject({ error: { code: 'limit_exceeded', limit, max: 4 } });
  fifth.destroy();
  // Those who are in are served, HTTP goes on, and who leaves makes room.
  expect(await fourth.request('service.query', { service: 'known' })).toMatchObject({ instances: [{}, {}] });
  third.close();
  await expect.poll(async () => (await server.readStats()).sessions).toBe(3);
  const again = await server.openClient();
  again.close();
  fourth.terminate();
}

describe('[LI1] meeting a bound has a coded outcome, is counted, and harms nothing else', () => {
  test.each(bounds)('$name', async ({ config, counters, meet }) => {
    const server = await start(config);
    for (const counter of counters) expect(await server.readCounter(counter)).toBe(0);
    await meet(server);
    for (const counter of counters) expect(await server.readCounter(counter)).toBeGreaterThan(0);
  });

  test('every bound is met here, or set to a value of its own by another test', () => {
    const met = new Set<string>(bounds.map(({ name }) => name));
    const tests = readOtherTests();
    const isSet = (name: string): boolean => tests.some((text) => new RegExp(`\\b${name}\\b: ?[\\d(]`).test(text));
    // A bound is a number; other settings choose among what there is.
    const numbers = Object.entries(settings).filter(([, { schema }]) => schema.type === 'integer');
    expect(numbers.map(([name]) => name).filter((name) => !met.has(name) && !isSet(name))).toEqual([]);
  });
});

/** The texts of all tests but this one. */
function readOtherTests(): string[] {
  const folder = fileURLToPath(new URL('..', import.meta.url));
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts') && !name.endsWith('bad-input/bounds.test.ts'))
    .map((name) => readFileSync(path.join(folder, name), 'utf8'));
}

/** Two sessions; what one of them watches already the other may. */
async function watchTooMuch(
  server: Witness,
  limit: keyof ServerConfig,
  max: number,
  names: readonly [string, string, string],
): Promise<void> {
  const [first, second] = [await server.openClient(), await server.openClient()];
  await first.request('service.subscribe', { service: names[0] });
  await second.request('service.subscribe', { service: names[1] });
  await expect(second.request('service.subscribe', { service: names[2] })).rejects.toMatchObject(
    refuse('limit_exceeded', limit, max),
  );
  // Of those that are watched already there may be more subscriptions, unless it is those that are counted.
  if (limit !== 'threadSubscriptionsMax') await second.request('service.subscribe', { service: names[0] });
  await second.request('service.unsubscribe', { service: names[1] });
  await second.request('service.subscribe', { service: names[2] });
  first.close();
  second.close();
  await Promise.all([first.closed, second.closed]);
}

describe('[WP3, LI1] a little input that asks for a lot of output', () => {
  test('a batch of queries whose answers together would not fit into memory ends that session, not the server', async () => {
    const server = await start({ partitions: 2 });
    const provider = await server.openClient();
    const note = 'x'.repeat(8000);
    const ports = Array.from({ length: 200 }, (_, index) => index + 1);
    await Promise.all(
      ports.map((port) =>
        provider.request('instance.register', { service: 'big', instance: { host: 'h', port, metadata: { note } } }),
      ),
    );
    const greedy = await server.openClient();
    const query = '{"jsonrpc":"2.0","id":1,"method":"service.query","params":{"service":"big"}}';
    // 400 × 1.6 MB is more than the longest string that V8 can make.
    greedy.send(`[${Array.from({ length: 400 }, () => query).join()}]`);
    const outcome = await Promise.race([
      greedy.closed.then(({ code }) => `closed ${code}`),
      greedy.nextFrame(10_000).then((frame) => frame.slice(0, 20)),
    ]);
    expect(outcome).toBeTypeOf('string');
    greedy.terminate();
    provider.close();
  });
});
