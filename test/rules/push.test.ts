import { expect, test } from 'vitest';

import { InProcessRegistry } from '../support/in-process-registry.ts';
import { Random } from '../support/random.ts';
import { SimulatedClient } from '../support/simulated-client.ts';
import type { SubscriberView } from '../support/subscriber-view.ts';

const random = new Random(1);

function deliver(registry: InProcessRegistry): Promise<void> {
  return registry.deliver(random);
}

function register(client: SimulatedClient, host: string, weight = 100): void {
  client.request('instance.register', { service: 'pay', instance: { host, port: 1, weight } });
}

async function setUp(
  config: Parameters<typeof InProcessRegistry.start>[0] = {},
): Promise<{ registry: InProcessRegistry; provider: SimulatedClient }> {
  const registry = await InProcessRegistry.start({ coalesceWindowMs: 20, ...config });
  return { registry, provider: new SimulatedClient(registry) };
}

async function subscribe(
  registry: InProcessRegistry,
  mode: 'delta' | 'snapshot' = 'delta',
  held?: SubscriberView,
): Promise<{ client: SimulatedClient; view: SubscriberView }> {
  const client = new SimulatedClient(registry);
  const view = client.subscribe('pay', mode, held);
  await deliver(registry);
  return { client, view };
}

test('[PU1] a late subscriber gets the full list with its version, and what it is told next chains', async () => {
  const { registry, provider } = await setUp();
  register(provider, 'a');
  register(provider, 'b');
  await registry.settle(random);
  const { view } = await subscribe(registry);
  expect([...view.instances.keys()]).toEqual(['a:1', 'b:1']);
  register(provider, 'c');
  await registry.settle(random);
  expect([...view.instances.keys()]).toEqual(['a:1', 'b:1', 'c:1']);
});

test('[PU1] a subscriber that comes in the middle of a window gets a chain of its own', async () => {
  const { registry, provider } = await setUp();
  const early = await subscribe(registry);
  register(provider, 'a');
  await deliver(registry);
  register(provider, 'b');
  await deliver(registry);
  const late = await subscribe(registry);
  expect([early.view.instances.size, late.view.instances.size]).toEqual([1, 2]);
  register(provider, 'c');
  await registry.settle(random);
  expect([early.view.instances.size, late.view.instances.size]).toEqual([3, 3]);
  expect(late.view.version).toBe(early.view.version);
});

test('[PU1] one that was shown a state inside a window is told when it is taken back', async () => {
  const { registry, provider } = await setUp();
  await subscribe(registry);
  register(provider, 'a');
  await deliver(registry);
  register(provider, 'b');
  await deliver(registry);
  const late = await subscribe(registry);
  expect(late.view.instances.size).toBe(2);
  provider.request('instance.deregister', { service: 'pay', id: 'b:1' });
  await registry.settle(random);
  expect([...late.view.instances.keys()]).toEqual(['a:1']);
});

test('[PU1] a client resumes from the version that it held, and is sent only what changed', async () => {
  const { registry, provider } = await setUp();
  register(provider, 'a');
  register(provider, 'b');
  const { client, view } = await subscribe(registry);
  await registry.settle(random);
  client.leave(false);
  register(provider, 'c');
  provider.request('instance.deregister', { service: 'pay', id: 'a:1' });
  await registry.settle(random);
  const back = new SimulatedClient(registry);
  const resumed = back.subscribe('pay', 'delta', view);
  await registry.settle(random);
  expect(back.requests.get(1)?.result).toMatchObject({ from: view.version, put: [{ id: 'c:1' }], remove: ['a:1'] });
  expect([...resumed.instances.keys()]).toEqual(['b:1', 'c:1']);
});

test.each([
  ['too old', (version: number) => version - 1_000_000],
  ['from the future', (version: number) => version + 1_000_000],
])('[PU1] a version %s is answered with a snapshot', async (_, change) => {
  const { registry, provider } = await setUp();
  register(provider, 'a');
  const { view } = await subscribe(registry);
  const client = new SimulatedClient(registry);
  const answer = client.request('service.subscribe', { service: 'pay', version: change(view.version) });
  await deliver(registry);
  expect(answer.result).toMatchObject({ version: view.version, instances: [{ id: 'a:1' }] });
});

test('[PU2] the first change after quiet is pushed at once; those inside the window are merged into one', async () => {
  const { registry, provider } = await setUp();
  const { client, view } = await subscribe(registry);
  register(provider, 'a');
  await deliver(registry);
  expect(client.notifications).toBe(1);
  for (const host of ['b', 'c', 'd', 'e']) {
    register(provider, host);
    await deliver(registry);
    registry.advance(3);
    await deliver(registry);
  }
  expect(client.notifications).toBe(1);
  registry.advance(20);
  await deliver(registry);
  expect(client.notifications).toBe(2);
  expect(view.instances.size).toBe(5);
});

test('[PU2] changes that cancel out within a window are not told', async () => {
  const { registry, provider } = await setUp();
  const { client } = await subscribe(registry);
  register(provider, 'a');
  await deliver(registry);
  register(provider, 'b');
  await deliver(registry);
  provider.request('instance.deregister', { service: 'pay', id: 'b:1' });
  await registry.settle(random);
  expect(client.notifications).toBe(1);
});

test('[PU3] a push is encoded once for each variant, whatever the number of subscribers', async () => {
  const { registry, provider } = await setUp();
  for (let count = 0; count < 40; count++) await subscribe(registry, count % 2 === 0 ? 'delta' : 'snapshot');
  await registry.settle(random);
  const encodedBefore = registry.host.framesEncoded;
  register(provider, 'a');
  await registry.settle(random);
  expect(registry.host.framesEncoded - encodedBefore).toBe(2);
});

test('[PU1] a snapshot subscriber gets the whole list with each change', async () => {
  const { registry, provider } = await setUp();
  register(provider, 'a');
  const { view } = await subscribe(registry, 'snapshot');
  register(provider, 'b');
  await registry.settle(random);
  expect([...view.instances.keys()]).toEqual(['a:1', 'b:1']);
  expect(view.pushes).toBe(1);
});

test('[PU4] one who does not read is dropped from, keeps to bounded memory, and has the latest state when it reads again', async () => {
  const { registry, provider } = await setUp();
  const slow = new SimulatedClient(registry, 3);
  const view = slow.subscribe('pay');
  await deliver(registry);
  const { client: healthy } = await subscribe(registry);
  slow.isReading = false;
  for (let round = 0; round < 20; round++) {
    register(provider, 'a', round);
    registry.advance(50);
    await deliver(registry);
  }
  expect(healthy.notifications).toBe(20);
  expect(registry.counters.snapshot()['push_dropped']).toBe(1);
  slow.resume();
  await registry.settle(random);
  expect(view.instances.get('a:1')?.weight).toBe(19);
  expect(slow.notifications).toBe(4);
});

test('[PU4] an answer that does not fit closes the session rather than getting lost', async () => {
  const { registry } = await setUp();
  const slow = new SimulatedClient(registry, 2);
  slow.isReading = false;
  for (let count = 0; count < 3; count++) slow.request('service.query', { service: 'pay' });
  await deliver(registry);
  expect(slow.closed).toBe('slow_consumer');
});

test('[PU4] one who has been sent too much gets no push until its pong, and a silent one is told why it is closed', async () => {
  const { registry, provider } = await setUp({ sessionUnconsumedBytesMax: 1024, slowConsumerTimeoutMs: 600_000 });
  const readers = await Promise.all([subscribe(registry), subscribe(registry)]);
  for (const { client } of readers) client.isReading = false;
  for (let round = 0; round < 20; round++) {
    register(provider, 'a', round);
    registry.advance(50);
    await deliver(registry);
  }
  expect(registry.counters.snapshot()).toMatchObject({ session_conflated: 2, push_dropped: 2 });
  const [{ client: back, view }, { client: silent }] = readers;
  back.resume();
  await registry.settle(random);
  expect(view.instances.get('a:1')?.weight).toBe(19);
  expect(back.notifications).toBeLessThan(10);
  for (let passed = 0; passed <= registry.config.heartbeatTimeoutMs; passed += 100) registry.advance(100);
  expect(silent.closed).toBe('slow_consumer');
  expect(back.closed).toBeUndefined();
});

test('[PU5] a registry that is stopping tells nobody that others have gone', async () => {
  const { registry, provider } = await setUp();
  register(provider, 'a');
  const { client, view } = await subscribe(registry);
  await registry.settle(random);
  registry.host.drain('stopping');
  provider.leave(true);
  await registry.settle(random);
  expect([...view.instances.keys()]).toEqual(['a:1']);
  expect(client.notifications).toBe(0);
});

test('[PU5] after a restart, who resumes from before it waits until the others have had time to come back', async () => {
  const { registry, provider } = await setUp({ warmUpMs: 1000 });
  const client = new SimulatedClient(registry);
  const before = client.request('service.subscribe', { service: 'pay', version: registry.clock().wallMicros - 1000 });
  const fresh = new SimulatedClient(registry).request('service.subscribe', { service: 'pay' });
  await registry.deliver(random);
  expect(before.result).toBeUndefined();
  expect(fresh.result).toMatchObject({ instances: [] });
  register(provider, 'a');
  registry.advance(999);
  await registry.deliver(random);
  expect(before.result).toBeUndefined();
  registry.advance(1);
  await registry.deliver(random);
  expect(before.result).toMatchObject({ instances: [{ id: 'a:1' }] });
});
