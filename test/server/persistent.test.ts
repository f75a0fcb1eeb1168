import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { connect, declareService, readDeclaration, withdrawDeclaration } from 'slotcast/client';
import { afterEach, expect, test } from 'vitest';

import { RunningCommand } from '../support/command.ts';
import { findFreePort } from '../support/free-port.ts';
import { ioThreads } from '../support/io-threads.ts';
import { Random } from '../support/random.ts';
import { RawClient } from '../support/raw-client.ts';

const folders: string[] = [];
let running: RunningCommand | undefined;

afterEach(async () => {
  running?.signal('SIGKILL');
  await running?.exited;
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
});

interface Place {
  readonly port: number;
  readonly httpPort: number;
  readonly folder: string;
}

async function choosePlace(): Promise<Place> {
  const folder = await mkdtemp(path.join(tmpdir(), 'slotcast-persistent-'));
  folders.push(folder);
  return { folder, port: await findFreePort(), httpPort: await findFreePort() };
}

async function start({ port, httpPort, folder }: Place): Promise<void> {
  const settings = ['--port', String(port), '--http-port', String(httpPort), '--io-threads', String(ioThreads)];
  const quiet = ['--partitions', '2', '--log-level', 'silent', '--warm-up-ms', '0'];
  running = new RunningCommand(['start', '--data-dir', folder, ...settings, ...quiet], {}, { lifeMaxMs: 90_000 });
  await running.waitFor(/listens on/);
}

async function kill(): Promise<void> {
  running?.signal('SIGKILL');
  await running?.exited;
}

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

async function call({ httpPort }: Place, method: string, target: string, body?: object): Promise<Answer> {
  const response = await fetch(`http://127.0.0.1:${httpPort}${target}`, {
    method,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

function open({ port }: Place): Promise<RawClient> {
  return RawClient.open(`ws://127.0.0.1:${port}/v1/session`);
}

test('[PI1] [PI4] [PI5] over HTTP and WebSocket, and over the end of the process', { timeout: 90_000 }, async () => {
  const place = await choosePlace();
  await start(place);
  const service = 'payments/eu west';
  const target = `/v1/services/${encodeURIComponent(service)}`;
  const declared = {
    namespace: 'prod',
    owner: 'team-pay',
    protectionThreshold: 0.8,
    defaultWeight: 7,
    metadata: { tier: 'gold' },
    instances: [
      { host: '10.0.0.1', port: 80 },
      { host: '10.0.0.2', port: 80, weight: 3 },
    ],
  };
  const put = await call(place, 'PUT', target, declared);
  expect(put).toMatchObject({
    status: 200,
    body: {
      namespace: 'prod',
      group: 'DEFAULT',
      service,
      owner: 'team-pay',
      instances: [
        { id: '10.0.0.1:80', weight: 7, persistent: true },
        { id: '10.0.0.2:80', weight: 3, persistent: true },
      ],
    },
  });
  const single = { service: 'billing', instance: { host: '10.0.0.3', port: 81 }, persistent: true };
  expect(await call(place, 'PUT', '/v1/instances', single)).toMatchObject({ status: 200, body: { id: '10.0.0.3:81' } });
  const client = await open(place);
  const params = { namespace: 'prod', service, instance: { host: '10.0.0.4', port: 80 } };
  expect(await client.request('instance.register', { ...params, persistent: true })).toMatchObject({
    id: '10.0.0.4:80',
    weight: 7,
  });
  client.close();
  await kill();
  await start(place);
  const read = async (): Promise<Answer> => call(place, 'GET', `${target}?namespace=prod`);
  expect(readIds(await read())).toEqual(['10.0.0.1:80', '10.0.0.2:80', '10.0.0.4:80']);
  const listed = await call(place, 'GET', `/v1/instances?namespace=prod&service=${encodeURIComponent(service)}`);
  expect(listed.body.instances).toHaveLength(3);
  expect((await call(place, 'GET', '/v1/instances?service=billing')).body.instances).toEqual([
    { id: '10.0.0.3:81', host: '10.0.0.3', port: 81, weight: 100, enabled: true, persistent: true },
  ]);
  // What it was declared with holds again, too, on every thread.
  const next = await open(place);
  const own = { namespace: 'prod', service, instance: { host: '10.0.0.9', port: 80 } };
  expect(await next.request('instance.register', own)).toMatchObject({ weight: 7 });
  next.close();
  const leased = await call(place, 'PUT', '/v1/instances', own);
  expect(leased.body).toMatchObject({ weight: 7 });
  const gone = await call(place, 'DELETE', '/v1/instances?service=billing&id=10.0.0.3%3A81&persistent=true');
  expect(gone.status).toBe(200);
  expect(await call(place, 'DELETE', `${target}?namespace=prod`)).toMatchObject({ status: 200, body: { service } });
  await kill();
  await start(place);
  expect((await read()).status).toBe(404);
  // What the lease has may be there again.
  const left = await call(place, 'GET', `/v1/instances?namespace=prod&service=${encodeURIComponent(service)}`);
  expect(JSON.stringify(left.body)).not.toContain('persistent');
  expect((await call(place, 'GET', '/v1/instances?service=billing')).body.instances).toEqual([]);
});

test('[PI1] [PI4] the SDK and the command register for good, declare, and take away', { timeout: 60_000 }, async () => {
  const place = await choosePlace();
  await start(place);
  const [server, http] = [`ws://127.0.0.1:${place.port}`, `http://127.0.0.1:${place.httpPort}`];
  const client = connect({ servers: [server] });
  const { id } = await client.register('ledger', { host: '10.0.0.1', port: 1 }, { persistent: true });
  await client.close();
  const next = connect({ servers: [server] });
  expect((await next.query('ledger')).instances).toMatchObject([{ id, persistent: true }]);
  expect(await next.deregister('ledger', id, { persistent: true })).toEqual({ pending: false });
  expect((await next.query('ledger')).instances).toEqual([]);
  const instances = [{ host: '10.0.0.2', port: 2 }];
  expect(await declareService({ service: 'ledger', owner: 'pay', instances }, { http })).toMatchObject({
    owner: 'pay',
  });
  expect(await readDeclaration({ service: 'ledger' }, { http })).toMatchObject({ instances: [{ id: '10.0.0.2:2' }] });
  await withdrawDeclaration({ service: 'ledger' }, { http });
  await expect(readDeclaration({ service: 'ledger' }, { http })).rejects.toMatchObject({ code: 'not_found' });
  // Given by its service: who comes back with its session need not register again.
  await declareService({ service: 'ledger', defaultWeight: 5 }, { http });
  await next.register('ledger', { host: '10.0.0.3', port: 3 });
  expect((await next.query('ledger')).instances).toMatchObject([{ id: '10.0.0.3:3', weight: 5 }]);
  await next.close();

  const run = async (...words: string[]): Promise<string> => {
    const command = new RunningCommand([...words, '--server', server]);
    expect(`${await command.exited} ${command.err}`).toBe('0 ');
    return command.out;
  };
  expect(await run('register', 'books', '10.0.0.4:4', '--persistent')).toContain('until it is deregistered');
  expect(await run('instances', 'books')).toMatch(/10\.0\.0\.4:4 +10\.0\.0\.4:4 +100 +yes +passing +yes/);
  expect(await run('deregister', 'books', '10.0.0.4:4')).toContain('deregistered');
  const file = path.join(place.folder, 'books.json');
  await writeFile(file, JSON.stringify({ description: 'Books', instances }));
  expect(await run('declare', 'books', file)).toContain('description: Books');
  expect(await run('declare', 'books', '--remove', '--json')).toContain('"10.0.0.2:2"');
});

interface Claimed {
  readonly id: string;
  readonly host: string;
  readonly port: number;
}

function describeSet(round: number): Claimed[] {
  return Array.from({ length: 40 }, (_, i) => ({ id: `set-${round}-${i}`, host: '10.0.0.1', port: 80 }));
}

function readIds({ body }: Answer): string[] {
  return ((body.instances ?? []) as Claimed[]).map(({ id }) => id).sort();
}

/** Declares one set after the other, until nobody answers; resolves to the last that was answered. */
async function declareSets(place: Place, first: number): Promise<number> {
  for (let round = first; ; round++) {
    try {
      const { status } = await call(place, 'PUT', '/v1/services/declared', { instances: describeSet(round) });
      expect(status).toBe(200);
    } catch {
      return round - 1;
    }
  }
}

/** Registers and deregisters one after the other, until nobody answers; `known`: whether each is there. */
async function changeSingles(place: Place, known: Map<string, boolean>): Promise<void> {
  for (let n = 0; ; n++) {
    const id = `one-${n % 25}`;
    const isThere = known.get(id) === true;
    known.delete(id);
    const body = {
      service: 'singles',
      instance: { id, host: '10.0.0.1', port: 80, weight: n % 100 },
      persistent: true,
    };
    try {
      const { status } = isThere
        ? await call(place, 'DELETE', `/v1/instances?service=singles&id=${id}&persistent=true`)
        : await call(place, 'PUT', '/v1/instances', body);
      expect(status).toBe(200);
    } catch {
      return;
    }
    known.set(id, !isThere);
  }
}

test(
  '[PI1] [PI4] killed at any moment, it has all that was answered afterwards, and nothing half-done',
  { timeout: 90_000 },
  async () => {
    const random = new Random(7);
    const place = await choosePlace();
    let answered = -1;
    const known = new Map<string, boolean>();
    for (let life = 0; life < 4; life++) {
      await start(place);
      const held = readIds(await call(place, 'GET', '/v1/services/declared'));
      const possible = [answered, answered + 1].map((round) =>
        round < 0 ? [] : readIds({ status: 200, body: { instances: describeSet(round) } }),
      );
      expect(possible).toContainEqual(held);
      expect(readIds(await call(place, 'GET', '/v1/instances?service=declared'))).toEqual(held);
      if (held.length > 0 && held[0] !== possible[0]?.[0]) answered += 1;
      const there = new Set(readIds(await call(place, 'GET', '/v1/services/singles')));
      for (const [id, isThere] of known) expect(`${id} ${there.has(id)}`).toBe(`${id} ${isThere}`);
      for (let n = 0; n < 25; n++) known.set(`one-${n}`, there.has(`one-${n}`));
      const work = Promise.all([declareSets(place, answered + 1), changeSingles(place, known)]);
      await delay(200 + random.below(500));
      await kill();
      [answered] = await work;
    }
    expect(answered).toBeGreaterThan(4);
  },
);
