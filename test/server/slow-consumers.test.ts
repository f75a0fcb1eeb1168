import { readFileSync } from 'node:fs';
import { setDefaultHighWaterMark } from 'node:stream';

import { afterEach, expect, test } from 'vitest';

import type { ServiceChanged, SubscribeResult } from '../../src/protocol/types.ts';
import type { RawClient } from '../support/raw-client.ts';
import { SubscriberView } from '../support/subscriber-view.ts';
import { Witness } from '../support/witness.ts';

// The readers are in this process, too: from Node 22 on each would keep 64 KiB of what it does not read, and the kernel nothing.
setDefaultHighWaterMark(false, 16_384);

const readers = 300;
const instances = 20;
const changes = 600;
const burst = 4;
const note = 'x'.repeat(4000);
const unconsumedBytesMax = 65_536;

let witness: Witness | undefined;

afterEach(async () => {
  await witness?.stop();
  witness = undefined;
});

interface Reader {
  readonly client: RawClient;
  readonly view: SubscriberView;
}

/** Subscribes, and keeps its view by the rules of the protocol: a delta that does not chain throws. */
async function openReader(server: Witness, service = 'busy'): Promise<Reader> {
  const client = await server.openClient();
  const view = new SubscriberView();
  client.onNotification = (method, params) => {
    if (method === 'service.changed') view.take(params as unknown as ServiceChanged);
  };
  view.begin(await client.request<SubscribeResult>('service.subscribe', { service }));
  return { client, view };
}

/** Changes one service so many times, in bursts between which `pace` waits for somebody; gives its last version. */
async function change(
  provider: RawClient,
  pace: (version: number) => Promise<void> = () => Promise.resolve(),
): Promise<number> {
  let version = 0;
  for (let round = 0; round < changes; round++) {
    const instance = { host: 'h', port: (round % instances) + 1, metadata: { note, round: String(round) } };
    ({ version } = await provider.request<{ version: number }>('instance.register', { service: 'busy', instance }));
    if (round % burst === burst - 1) await pace(version);
  }
  return version;
}

/** Bytes in the kernel's queues, in both directions and at both ends, of all connections of a port that do not read. */
function readKernelQueues(port: number): number[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const queues = new Map<string, number>();
  for (const line of readFileSync('/proc/net/tcp', 'utf8').split('\n').slice(1)) {
    const [, local = '', remote = '', , queued = ''] = line.trim().split(/\s+/);
    const peer = local.endsWith(suffix) ? remote : remote.endsWith(suffix) ? local : undefined;
    if (peer === undefined) continue;
    const [sent = '0', received = '0'] = queued.split(':');
    queues.set(peer, (queues.get(peer) ?? 0) + Number.parseInt(sent, 16) + Number.parseInt(received, 16));
  }
  return [...queues.values()];
}

test('[PU4] those who never read are conflated, the kernel included; others notice nothing; who reads again has the latest', async () => {
  const server = await Witness.start({ sessionUnconsumedBytesMax: unconsumedBytesMax, slowConsumerTimeoutMs: 60_000 });
  witness = server;
  const healthy = await openReader(server);
  let snapshots = 0;
  let noteChange: (() => void) | undefined;
  const take = healthy.client.onNotification;
  healthy.client.onNotification = (method, params) => {
    if (params['snapshot'] === true) snapshots += 1;
    take?.(method, params);
    noteChange?.();
  };
  /** Waits until the one who reads has been told: a burst never finds it behind by itself. */
  const pace = async (version: number): Promise<void> => {
    while (healthy.view.version < version) {
      await new Promise<void>((resolve) => {
        noteChange = resolve;
      });
    }
  };
  const slow = await Promise.all(Array.from({ length: readers }, () => openReader(server)));
  for (const { client } of slow) client.socket.pause();
  const provider = await server.openClient();
  const memoryBytes = process.memoryUsage.rss();
  const version = await change(provider, pace);
  expect(healthy.view.version).toBe(version);
  // Nothing that the others do not read made this one miss anything.
  expect(snapshots).toBe(0);
  // The server's process is the test's own: 300 times 2.4 MB would show.
  expect(process.memoryUsage.rss() - memoryBytes).toBeLessThan(200_000_000);
  expect(await server.readCounter('session_conflated')).toBeGreaterThanOrEqual(readers);
  expect(await server.readCounter('closed_slow_consumer')).toBe(0);
  // 600 changes of 4 kB each would have been 2.4 MB for each.
  const queues = readKernelQueues(server.port);
  expect(queues.length).toBeGreaterThan(readers);
  expect(queues.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThan(readers * (unconsumedBytesMax + instances * 5000));
  expect(Math.max(...queues)).toBeGreaterThan(unconsumedBytesMax / 2);
  expect(Math.max(...queues)).toBeLessThan(unconsumedBytesMax + instances * 5000);
  for (const { client } of slow) client.socket.resume();
  await expect.poll(() => slow.map(({ view }) => view.version), { timeout: 10_000 }).toEqual(slow.map(() => version));
  for (const { view } of slow) expect(view.instances).toEqual(healthy.view.instances);
  // And they are subscribers like any other again.
  const { version: next } = await provider.request<{ version: number }>('instance.deregister', {
    service: 'busy',
    id: 'h:1',
  });
  await expect.poll(() => slow.map(({ view }) => view.version)).toEqual(slow.map(() => next));
});

test('[PU4] what many subscriptions missed comes in portions, each when the one before has been read', async () => {
  const server = await Witness.start({ sessionUnconsumedBytesMax: unconsumedBytesMax });
  witness = server;
  const services = Array.from({ length: 100 }, (_, index) => `missed-${index}`);
  const reader = await server.openClient();
  const views = new Map<string, number>();
  reader.onNotification = (method, params) => {
    if (method === 'service.changed') views.set(String(params['service']), Number(params['to']));
  };
  await Promise.all(services.map((service) => reader.request('service.subscribe', { service })));
  reader.socket.pause();
  const provider = await server.openClient();
  const versions = new Map<string, number>();
  for (let port = 1; port <= 5; port++) {
    const metadata = { note };
    for (const service of services) {
      const params = { service, instance: { host: 'h', port, metadata } };
      versions.set(service, (await provider.request<{ version: number }>('instance.register', params)).version);
    }
  }
  reader.socket.resume();
  await expect.poll(() => views, { timeout: 10_000 }).toEqual(versions);
});

test('[PU4] one who is behind and reads nothing for slowConsumerTimeoutMs is closed with a code that says why', async () => {
  const server = await Witness.start({ sessionUnconsumedBytesMax: unconsumedBytesMax, slowConsumerTimeoutMs: 200 });
  witness = server;
  const { client } = await openReader(server);
  client.socket.pause();
  const provider = await server.openClient();
  await change(provider);
  await expect.poll(() => server.readCounter('closed_slow_consumer')).toBe(1);
  client.socket.resume();
  expect(await client.closed).toEqual({ code: 4002, reason: 'slow_consumer' });
});

test('[PU4] answers that are not read are bounded, too: past slowConsumerBytesMax the session is closed', async () => {
  const server = await Witness.start({ sessionUnconsumedBytesMax: 16_384, slowConsumerBytesMax: unconsumedBytesMax });
  witness = server;
  const client = await server.openClient();
  for (let port = 1; port <= 2; port++) {
    await client.request('instance.register', { service: 'big', instance: { host: 'h', port, metadata: { note } } });
  }
  client.socket.pause();
  const answers = Array.from({ length: 20 }, () => client.request('service.query', { service: 'big' }));
  const settled = Promise.allSettled(answers);
  await expect.poll(() => server.readCounter('closed_slow_consumer')).toBe(1);
  client.socket.resume();
  expect(await client.closed).toEqual({ code: 4002, reason: 'slow_consumer' });
  // Whatever was sent before is there; nothing is lost in the middle.
  const outcomes = (await settled).map(({ status }) => status);
  expect(outcomes.filter((status) => status === 'fulfilled').length).toBeGreaterThan(5);
  expect(outcomes.lastIndexOf('fulfilled')).toBeLessThan(outcomes.indexOf('rejected'));
});

test('[PU4] one who reads all that comes is never conflated, however much that is', async () => {
  const server = await Witness.start({ sessionUnconsumedBytesMax: 262_144 });
  witness = server;
  const { view } = await openReader(server);
  const provider = await server.openClient();
  const version = await change(provider);
  await expect.poll(() => view.version).toBe(version);
  expect(await server.readCounter('session_conflated')).toBe(0);
});
