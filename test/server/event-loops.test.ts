import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { ioThreads } from '../support/io-threads.ts';
import { RawClient } from '../support/raw-client.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Ten times what is aimed at, so that a slow machine is no fault: no input of one client keeps a thread from its event loop for longer, in milliseconds. Time in
 * which the machine gave the thread no core does not count.
 */
const blockedMaxMs: Readonly<Record<string, number>> = { main: 500, io: 500, edge: 500, partition: 2000 };
/** Resident memory of a server at rest, and what one client may add to it: instances, lists on their way, and what the garbage collector has not taken yet. */
const memoryMaxMb = 900;

/** A server with default limits in a process of its own, whose threads note when they are blocked. */
class MonitoredServer {
  readonly #process: ChildProcess;
  readonly #folder: string;
  #port = 0;
  origin = '';

  private constructor() {
    this.#folder = mkdtempSync(join(tmpdir(), 'slotcast-loops-'));
    writeFileSync(this.#file, '');
    const monitor = join(root, 'test/support/loop-monitor.mjs');
    const options = ['--port', '0', '--partitions', '2', '--io-threads', String(ioThreads), '--log-level', 'silent'];
    const guard = [
      '--warm-up-ms',
      '0',
      '--disconnect-grace-ms',
      '1000',
      '--loss-sessions-percent',
      '101',
      '--loss-service-percent',
      '101',
    ];
    this.#process = spawn(
      process.execPath,
      ['--import', monitor, join(root, 'dist/src/cli/slotcast.js'), 'start', '--in-memory', ...options, ...guard],
      { env: { ...process.env, LOOP_MONITOR_FILE: this.#file }, stdio: ['ignore', 'pipe', 'inherit'] },
    );
  }

  static async start(): Promise<MonitoredServer> {
    const server = new MonitoredServer();
    for await (const line of createInterface({ input: server.#process.stdout! })) {
      const [, port, origin = ''] = /listens on ws:\S+?:(\d+)\S* and (http:\S+)/.exec(line) ?? [];
      if (port === undefined) continue;
      server.origin = origin;
      server.#port = Number(port);
      break;
    }
    // Loading the code is nobody's input.
    await delay(500);
    server.forget();
    return server;
  }

  get #file(): string {
    return join(this.#folder, 'blocked');
  }

  /** What was noted so far is not judged. */
  forget(): void {
    writeFileSync(this.#file, '');
  }

  open(): Promise<RawClient> {
    return RawClient.open(`ws://127.0.0.1:${this.#port}/v1/session`);
  }

  /** What is wrong with how it has served so far: a thread that was blocked for too long, too much memory, or that it is not there any more. */
  async judge(): Promise<string[]> {
    const { status } = await fetch(`${this.origin}/health/live`);
    // A block is noted when it ends.
    await delay(100);
    const worst: Record<string, number> = {};
    for (const line of readFileSync(this.#file, 'utf8').split('\n')) {
      const [kind = '', ms = ''] = line.split(' ');
      if (kind !== '') worst[kind] = Math.max(worst[kind] ?? 0, Number(ms));
    }
    const memory = readFileSync(`/proc/${this.#process.pid}/status`, 'utf8');
    const memoryMb = Math.round(Number(/VmHWM:\s+(\d+)/.exec(memory)?.[1]) / 1024);
    if (process.env['PRINT_LOOPS'] !== undefined) console.log(expect.getState().currentTestName, worst, memoryMb);
    return [
      ...(status === 200 ? [] : [`/health/live answers ${status}`]),
      ...Object.entries(worst)
        .filter(([kind, ms]) => ms >= (blockedMaxMs[kind] ?? 0))
        .map(([kind, ms]) => `${kind} was blocked for ${ms} ms`),
      ...(memoryMb < memoryMaxMb ? [] : [`${memoryMb} MiB were taken`]),
    ];
  }

  async stop(): Promise<void> {
    const exited = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.kill('SIGKILL');
    await exited;
    rmSync(this.#folder, { recursive: true });
  }
}

let server: MonitoredServer;
beforeEach(async () => {
  server = await MonitoredServer.start();
});
afterEach(() => server.stop());

function word(id: number, method: string, params: object): string {
  return JSON.stringify({ jsonrpc: '2.0', id, method, params });
}

/** Sends requests in batches of a thousand, and resolves to how many were carried out once all are answered, or the connection is closed. */
async function sendBatches(client: RawClient, requests: readonly string[]): Promise<number> {
  let done = 0;
  for (let at = 0; at < requests.length; at += 1000) {
    client.send(`[${requests.slice(at, at + 1000).join()}]`);
    const frame = await Promise.race([client.nextFrame(50_000), client.closed]);
    if (typeof frame !== 'string') return done;
    done += (JSON.parse(frame) as object[]).filter((answer) => 'result' in answer).length;
  }
  return done;
}

/** All must be carried out. */
async function sendAll(client: RawClient, requests: readonly string[]): Promise<void> {
  const done = await sendBatches(client, requests);
  if (done !== requests.length) throw new Error(`${done} of ${requests.length} were carried out`);
}

function encodeRegistrations(count: number, service: (i: number) => string, host = 'h', note = ''): string[] {
  return Array.from({ length: count }, (_, i) =>
    word(i + 1, 'instance.register', {
      service: service(i),
      instance: { host: `${host}${i}`, port: 1, ...(note === '' ? {} : { metadata: { note: note + String(i) } }) },
    }),
  );
}

/** Registers so many times 800 kB, a hundred instances each. */
async function fillLarge(times: number, service: (time: number) => string): Promise<void> {
  const client = await server.open();
  const note = 'x'.repeat(7900);
  for (let time = 0; time < times; time++) {
    const entries = encodeRegistrations(100, () => service(time), `p${time}-`, note);
    await sendAll(client, entries);
  }
  server.forget();
}

/** So many sessions, each with 10,000 registrations. */
async function fill(sessions: number, service: (i: number) => string): Promise<RawClient[]> {
  const clients = await Promise.all(Array.from({ length: sessions }, () => server.open()));
  for (const [at, client] of clients.entries()) {
    expect(
      await sendBatches(
        client,
        encodeRegistrations(10_000, (i) => service(at * 10_000 + i)),
      ),
    ).toBe(10_000);
  }
  server.forget();
  return clients;
}

test('[LI1] a thousand pages of services in one batch', async () => {
  const [client] = await fill(1, (i) => `service-${'x'.repeat(60)}-${i}`);
  await sendBatches(
    client!,
    Array.from({ length: 1000 }, (_, id) => word(id, 'service.list', { limit: 1000 })),
  );
  await sendBatches(
    await server.open(),
    Array.from({ length: 1000 }, (_, id) => word(id, 'service.list', { prefix: 'none' })),
  );
  expect(await server.judge()).toEqual([]);
});

test('[LI1] pages of what a session has registered, many at a time', async () => {
  const [client] = await fill(1, (i) => `service-${i}`);
  await sendBatches(
    client!,
    Array.from({ length: 50 }, (_, id) => word(id, 'session.registrations', { limit: 1000 })),
  );
  expect(await server.judge()).toEqual([]);
});

test('[LI1] queries with different filters for a large service', async () => {
  const [client] = await fill(1, () => 'large');
  await sendBatches(
    client!,
    Array.from({ length: 300 }, (_, id) =>
      word(id, 'service.query', { service: 'large', selector: { key: `v${id}` } }),
    ),
  );
  expect(await server.judge()).toEqual([]);
});

test('[LI1] subscriptions with many filters, and changes that concern all of them', async () => {
  const [client] = await fill(1, () => 'large');
  const watchers = await Promise.all(Array.from({ length: 40 }, () => server.open()));
  await Promise.all(
    watchers.map((watcher, at) =>
      watcher.request('service.subscribe', {
        service: 'large',
        mode: 'snapshot',
        selector: at < 8 ? {} : { key: `v${at}` },
        enabledOnly: true,
      }),
    ),
  );
  await sendBatches(
    client!,
    encodeRegistrations(1000, () => 'large', 'h', 'changed'),
  );
  expect(await server.judge()).toEqual([]);
});

test('[LI1] large lists, asked for by turns in one batch, by one who reads and one who does not', async () => {
  await fillLarge(20, (time) => (time % 2 === 0 ? 'one' : 'two'));
  const deaf = await server.open();
  deaf.socket.pause();
  const queries = Array.from({ length: 300 }, (_, id) =>
    word(id, 'service.query', { service: id % 2 === 0 ? 'one' : 'two' }),
  );
  deaf.send(`[${queries.join()}]`);
  await sendBatches(await server.open(), queries);
  expect(await server.judge()).toEqual([]);
  deaf.terminate();
});

test('[LI1] registrations of sessions that break together, and expire together', async () => {
  const clients = await fill(5, (i) => `service-${i % 10_000}`);
  for (const client of clients) client.terminate();
  await expect
    .poll(
      async () =>
        ((await (await fetch(`${server.origin}/v1/stats`)).json()) as { registrations: number }).registrations,
      { timeout: 50_000 },
    )
    .toBe(0);
  expect(await server.judge()).toEqual([]);
});

test('[LI1] 10,000 subscriptions of one session that end together', async () => {
  const watchers = await Promise.all(Array.from({ length: 2 }, () => server.open()));
  for (const [at, watcher] of watchers.entries()) {
    await sendBatches(
      watcher,
      Array.from({ length: 10_000 }, (_, id) => word(id, 'service.subscribe', { service: `w${at}-${id}` })),
    );
  }
  for (const watcher of watchers) watcher.terminate();
  await delay(300);
  expect(await server.judge()).toEqual([]);
});

test('[LI1] frames of the largest size that hold as much, or as deep, as they can', async () => {
  const client = await server.open();
  const size = 1_048_576;
  const frames = [
    '['.repeat(size),
    `{"a":`.repeat(size / 5),
    `[${'{},'.repeat(size / 3 - 2)}{}]`,
    `[${'0,'.repeat(size / 2 - 2)}0]`,
    `{"jsonrpc":"2.0","id":1,"method":"service.query","params":{${Array.from({ length: 60_000 }, (_, i) => `"k${i}":"${i}"`).join()},"service":"a"}}`,
    `{"jsonrpc":"2.0","id":1,"method":"instance.register","params":{"service":"a","instance":{"host":"h","port":1,"metadata":{${Array.from({ length: 60_000 }, (_, i) => `"k${i}":"${i}"`).join()}}}}}`,
    `"${String.raw`\u0061`.repeat(size / 6 - 1)}"`,
  ];
  for (const frame of frames) {
    client.send(frame.slice(0, size));
    await Promise.race([client.nextFrame(20_000), client.closed]);
  }
  expect(await server.judge()).toEqual([]);
});

test('[LI1] a service with lists of megabytes moves from one partition to another', async () => {
  // Of one slot.
  await fillLarge(60, (time) => `{public/DEFAULT/b6961}${time % 5}`);
  for (const partitions of [3, 2, 1]) {
    await fetch(`${server.origin}/v1/partitions`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ partitions }),
    });
    const read = async (): Promise<unknown> =>
      ((await (await fetch(`${server.origin}/v1/partitions`)).json()) as { move: object }).move;
    await expect.poll(read, { timeout: 30_000 }).toMatchObject({ isRunning: false });
  }
  expect(await server.judge()).toEqual([]);
});

test('[LI1] HTTP reads of everything, many at once', async () => {
  await fill(1, (i) => `service-${i}`);
  const paths = ['/metrics', '/v1/stats', '/v1/services?limit=1000', '/v1/sessions?limit=1000', '/v1/partitions'];
  for (let round = 0; round < 2; round++) {
    await Promise.all(
      Array.from({ length: 50 }, async (_, i) => (await fetch(server.origin + paths[i % paths.length]!)).text()),
    );
  }
  expect(await server.judge()).toEqual([]);
});
