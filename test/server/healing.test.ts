import { startFaultyServer } from 'slotcast/testing';
import type { Fault, FaultyServer } from 'slotcast/testing';
import { afterEach, expect, test } from 'vitest';

import { ioThreads } from '../support/io-threads.ts';
import { RawClient } from '../support/raw-client.ts';
import { SubscriberView } from '../support/subscriber-view.ts';

let server: FaultyServer;
afterEach(() => server.stop());

const services = Array.from({ length: 40 }, (_, i) => `service-${i}`);

interface Watching {
  readonly client: RawClient;
  readonly views: Map<string, SubscriberView>;
  readonly pushes: number[];
}

/** A client that registers an instance of each service, and one that watches them all. */
async function populate(): Promise<Watching> {
  const provider = await RawClient.open(server.address.url);
  const client = await RawClient.open(server.address.url);
  const views = new Map<string, SubscriberView>();
  const pushes: number[] = [];
  client.onNotification = (_, params) => {
    views.get(String(params.service))?.take(params as never);
    pushes.push(performance.now());
  };
  await Promise.all(
    services.map((service) => provider.request('instance.register', { service, instance: { host: 'h', port: 1 } })),
  );
  for (const service of services) {
    const view = new SubscriberView();
    view.begin(await client.request('service.subscribe', { service }));
    views.set(service, view);
  }
  return { client, views, pushes };
}

async function waitUntilReady(): Promise<void> {
  const url = `${server.address.httpUrl}/health/ready`;
  const deadlineMs = performance.now() + 15_000;
  for (let isReady = false; !isReady; isReady = (await fetch(url)).ok) {
    if (performance.now() > deadlineMs) throw new Error('not ready again');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function waitForDeaths(count: number): Promise<void> {
  const url = `${server.address.httpUrl}/v1/stats`;
  const deadlineMs = performance.now() + 15_000;
  for (;;) {
    const { counters } = (await (await fetch(url)).json()) as { counters: Record<string, number> };
    if ((counters['partition_died'] ?? 0) >= count) return;
    if (performance.now() > deadlineMs) throw new Error('the partition did not die');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const faults: Fault[] = ['throw', 'exit', 'hang', 'memory'];

test.each(faults)(
  '[RE1] [RE2] [PU5] a partition that dies by %s is rebuilt: clients stay, nothing is lost, and nobody is told what has not changed',
  async (fault) => {
    server = await startFaultyServer({
      port: 0,
      ioThreads,
      partitions: 2,
      logLevel: 'silent',
      warmUpMs: 0,
      partitionHeartbeatTimeoutMs: 600,
      // A machine that is short of time lets partitions that live seem to hang, too.
      partitionRestartsMax: 1000,
      partitionHeapMaxMb: 64,
    });
    const { client, views, pushes } = await populate();
    await new Promise((resolve) => setTimeout(resolve, 100));
    server.inflict(0, fault);
    await waitForDeaths(1);
    await waitUntilReady();
    expect(pushes).toEqual([]);
    for (const service of services) {
      const { instances } = await client.request<{ instances: unknown[] }>('service.query', { service });
      expect(instances).toHaveLength(1);
    }
    const told = services.map((service) =>
      client.nextNotification((_, params) => params.service === service).then(() => service),
    );
    for (const service of services) {
      await client.request('instance.register', { service, instance: { host: 'new', port: 2 } });
    }
    await Promise.all(told);
    expect([...views.values()].map(({ instances }) => instances.size)).toEqual(services.map(() => 2));
  },
  30_000,
);

test('[RE1] partitions that die at once are all rebuilt', async () => {
  server = await startFaultyServer({ port: 0, ioThreads, partitions: 3, logLevel: 'silent', warmUpMs: 0 });
  const { client } = await populate();
  for (const partition of [0, 1, 2]) server.inflict(partition, 'exit');
  await waitForDeaths(3);
  await waitUntilReady();
  for (const service of services) {
    const { instances } = await client.request<{ instances: unknown[] }>('service.query', { service });
    expect(instances).toHaveLength(1);
  }
});

test('[RE3] requests wait while slots are rebuilt; those that wait too long get busy, with a time to come back', async () => {
  server = await startFaultyServer({
    port: 0,
    ioThreads,
    partitions: 1,
    logLevel: 'silent',
    warmUpMs: 0,
    partitionRestartBackoffMs: 1500,
    slotWaitTimeoutMs: 300,
  });
  const { client } = await populate();
  server.inflict(0, 'exit');
  await waitForDeaths(1);
  await expect(client.request('service.query', { service: 'service-1' })).rejects.toMatchObject({
    data: { code: 'busy', limit: 'slotWaitTimeoutMs', retryAfterMs: expect.any(Number) },
  });
  await waitUntilReady();
  expect(await client.request('service.query', { service: 'service-1' })).toMatchObject({ instances: [{ id: 'h:1' }] });
});

test('[RE1] partitions that keep dying end the server, with the reason', async () => {
  const fatal: Error[] = [];
  server = await startFaultyServer(
    { port: 0, ioThreads, partitions: 2, logLevel: 'silent', warmUpMs: 0, partitionRestartsMax: 1 },
    { onFatal: (error) => fatal.push(error) },
  );
  await populate();
  server.inflict(0, 'exit');
  await waitForDeaths(1);
  server.inflict(1, 'exit');
  const deadlineMs = performance.now() + 5000;
  while (fatal.length === 0 && performance.now() < deadlineMs) await new Promise((resolve) => setTimeout(resolve, 20));
  expect(fatal[0]?.message).toMatch(/partition 1 died: .*partitions keep dying/);
});

test('a registry stops in order though a partition hangs that has been asked something', async () => {
  server = await startFaultyServer({
    port: 0,
    ioThreads,
    partitions: 2,
    logLevel: 'silent',
    warmUpMs: 0,
    drainTimeoutMs: 0,
    partitionHeartbeatTimeoutMs: 60_000,
  });
  const { client } = await populate();
  for (const partition of [0, 1]) server.inflict(partition, 'hang');
  await new Promise((resolve) => setTimeout(resolve, 100));
  const answers = services.map((service) => client.request('service.query', { service }));
  const lost = Promise.allSettled(answers);
  await expect(server.stop()).resolves.toBeUndefined();
  expect((await lost).map(({ status }) => status)).toEqual(services.map(() => 'rejected'));
});

test('[SL3] partitions come and go while clients register, and no subscriber loses anything', async () => {
  server = await startFaultyServer({ port: 0, ioThreads, partitions: 1, logLevel: 'silent', warmUpMs: 0 });
  const { client, views } = await populate();
  const moving = new AbortController();
  const registering = (async () => {
    let weight = 0;
    for (; !moving.signal.aborted; weight++) {
      const service = services[weight % services.length]!;
      await client.request('instance.register', { service, instance: { host: 'busy', port: 9, weight } });
    }
    return weight;
  })();
  for (const partitions of [4, 2, 3, 1]) {
    await server.resize(partitions);
    expect(server.partitions).toBe(partitions);
  }
  moving.abort();
  const registered = await registering;
  expect(registered).toBeGreaterThan(40);
  await new Promise((resolve) => setTimeout(resolve, 100));
  for (const [service, view] of views) {
    const { instances } = await client.request<{ instances: { id: string; weight: number }[] }>('service.query', {
      service,
    });
    expect(instances).toHaveLength(2);
    expect([...view.instances.values()]).toEqual(instances);
  }
});
