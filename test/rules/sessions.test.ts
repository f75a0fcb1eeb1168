import { expect, test } from 'vitest';

import { InProcessRegistry } from '../support/in-process-registry.ts';
import { Random } from '../support/random.ts';
import { SimulatedClient } from '../support/simulated-client.ts';

const random = new Random(1);
const instance = { host: '10.0.0.1', port: 80 };
const id = '10.0.0.1:80';

function deliver(registry: InProcessRegistry): Promise<void> {
  return registry.deliver(random);
}

interface Cast {
  readonly registry: InProcessRegistry;
  /** Subscribes to `pay`. */
  readonly watcher: SimulatedClient;
  readonly first: SimulatedClient;
  readonly second: SimulatedClient;
}

async function setUp(config: Parameters<typeof InProcessRegistry.start>[0] = {}): Promise<Cast> {
  const registry = await InProcessRegistry.start({ disconnectGraceMs: 1000, ...config });
  const watcher = new SimulatedClient(registry);
  watcher.subscribe('pay');
  await deliver(registry);
  return { registry, watcher, first: new SimulatedClient(registry), second: new SimulatedClient(registry) };
}

function held(watcher: SimulatedClient): string[] {
  return [...watcher.views.get('public/DEFAULT/pay')!.instances.keys()];
}

test('[SE1] when an older session ends, it takes away only what is still its own', async () => {
  const { registry, watcher, first, second } = await setUp();
  first.request('instance.register', { service: 'pay', instance });
  first.request('instance.register', { service: 'pay', instance: { host: 'other', port: 1 } });
  await deliver(registry);
  second.request('instance.register', { service: 'pay', instance });
  await deliver(registry);
  first.leave(true);
  await registry.settle(random);
  expect(held(watcher)).toEqual([id]);
  second.leave(true);
  await registry.settle(random);
  expect(held(watcher)).toEqual([]);
});

test('[SE1] a late close does not remove a newer registration, however the close and the registration cross', async () => {
  for (let seed = 1; seed <= 50; seed++) {
    const { registry, watcher, first, second } = await setUp();
    const order = new Random(seed);
    first.request('instance.register', { service: 'pay', instance });
    if (seed % 2 === 0) await deliver(registry);
    second.request('instance.register', { service: 'pay', instance });
    for (let steps = order.below(5); steps > 0; steps--) registry.step(order);
    first.leave(seed % 3 === 0);
    await registry.settle(order);
    expect(held(watcher), `seed ${seed}`).toEqual([id]);
  }
});

test('[SE1] a session whose instance was taken over cannot deregister it, and its log no longer holds it', async () => {
  const { registry, first, second } = await setUp();
  first.request('instance.register', { service: 'pay', instance });
  await deliver(registry);
  second.request('instance.register', { service: 'pay', instance });
  await deliver(registry);
  expect([first.session.registrations.size, second.session.registrations.size]).toEqual([0, 1]);
  const refused = first.request('instance.deregister', { service: 'pay', id });
  await deliver(registry);
  expect(refused.error?.data.code).toBe('not_owner');
});

test('[SE1] a session that takes its instance back while being told of the takeover keeps it', async () => {
  for (let seed = 1; seed <= 50; seed++) {
    const { registry, watcher, first, second } = await setUp();
    const order = new Random(seed);
    first.request('instance.register', { service: 'pay', instance });
    await deliver(registry);
    second.request('instance.register', { service: 'pay', instance });
    for (let steps = order.below(4); steps > 0; steps--) registry.step(order);
    first.request('instance.register', { service: 'pay', instance });
    await registry.settle(order);
    expect([first.session.registrations.size, second.session.registrations.size], `seed ${seed}`).toEqual([1, 0]);
    second.leave(true);
    await registry.settle(order);
    expect(held(watcher), `seed ${seed}`).toEqual([id]);
  }
});

test('[SE2] a clean close removes at once', async () => {
  const { registry, watcher, first } = await setUp();
  first.request('instance.register', { service: 'pay', instance });
  await deliver(registry);
  registry.advance(100);
  first.leave(true);
  await deliver(registry);
  expect(held(watcher)).toEqual([]);
});

test('[SE2] a deregistration removes at once', async () => {
  const { registry, watcher, first } = await setUp();
  first.request('instance.register', { service: 'pay', instance });
  await deliver(registry);
  registry.advance(100);
  first.request('instance.deregister', { service: 'pay', id });
  await deliver(registry);
  expect(held(watcher)).toEqual([]);
});

test('[SE2] a broken connection removes after the grace, not before', async () => {
  const { registry, watcher, first } = await setUp();
  first.request('instance.register', { service: 'pay', instance });
  await deliver(registry);
  first.leave(false);
  for (let waited = 0; waited < 1000; waited += 50) {
    registry.advance(50);
    await deliver(registry);
    expect(held(watcher), `${waited} ms`).toEqual([id]);
  }
  for (let waited = 0; waited < 200; waited += 50) registry.advance(50);
  await deliver(registry);
  expect(held(watcher)).toEqual([]);
});

test('[SE2] a client that comes back within the grace and registers again is never seen to have gone', async () => {
  const { registry, watcher, first, second } = await setUp();
  first.request('instance.register', { service: 'pay', instance });
  await deliver(registry);
  await registry.settle(random);
  const told = watcher.notifications;
  first.leave(false);
  registry.advance(500);
  second.request('instance.register', { service: 'pay', instance });
  await registry.settle(random);
  expect(held(watcher)).toEqual([id]);
  expect(watcher.notifications).toBe(told);
});

test('[SE3] a silent peer is pinged, then taken for broken within the heartbeat timeout', async () => {
  const { registry, watcher, first } = await setUp({ heartbeatTimeoutMs: 3000 });
  first.request('instance.register', { service: 'pay', instance });
  await deliver(registry);
  first.isReading = false;
  for (let waited = 0; waited < 2900; waited += 50) registry.advance(50);
  expect(first.closed).toBeUndefined();
  expect(first.pings).toBeGreaterThanOrEqual(2);
  for (let waited = 0; waited < 150; waited += 50) registry.advance(50);
  expect(first.closed).toBe('heartbeat_timeout');
  expect(watcher.closed).toBeUndefined();
  expect(held(watcher)).toEqual([id]);
  await registry.settle(random);
  expect(held(watcher)).toEqual([]);
});

test('[SE3] those that connected together are pinged one after the other', async () => {
  const registry = await InProcessRegistry.start({ heartbeatTimeoutMs: 15_000 });
  const clients = Array.from({ length: 500 }, () => new SimulatedClient(registry));
  const countPings = (): number => clients.reduce((sum, { pings }) => sum + pings, 0);
  for (let beat = 1; beat <= 3; beat++) {
    let most = 0;
    for (let waited = 0; waited < 5000; waited += 50) {
      const before = countPings();
      registry.advance(50);
      await deliver(registry);
      most = Math.max(most, countPings() - before);
    }
    expect(countPings()).toBe(500 * beat);
    // Half a heartbeat has 50 ticks.
    expect(most).toBeLessThan(20);
  }
});

test('[SE3] a host that was suspended gives its peers the time to show that they live', async () => {
  const { registry, watcher, first } = await setUp({ heartbeatTimeoutMs: 3000 });
  first.request('instance.register', { service: 'pay', instance });
  await deliver(registry);
  registry.advance(60_000);
  await registry.settle(random);
  expect(first.closed).toBeUndefined();
  expect(held(watcher)).toEqual([id]);
});

test('[SE5] an acknowledgement means that the owner has applied it', async () => {
  const { registry, first } = await setUp();
  const request = first.request('instance.register', { service: 'pay', instance });
  expect(request.result).toBeUndefined();
  await deliver(registry);
  const { version } = request.result as { version: number };
  const query = first.request('service.query', { service: 'pay' });
  await deliver(registry);
  expect(query.result).toMatchObject({ version, instances: [{ id }] });
});

test('[SE5] registering what is already there raises no version and pushes nothing, whatever the order of its metadata', async () => {
  const { registry, watcher, first } = await setUp();
  const register = async (metadata: Record<string, string>): Promise<unknown> => {
    const request = first.request('instance.register', { service: 'pay', instance: { ...instance, metadata } });
    await registry.settle(random);
    return request.result;
  };
  const before = await register({ a: '1', b: '2' });
  const told = watcher.notifications;
  expect(await register({ b: '2', a: '1' })).toEqual(before);
  expect(watcher.notifications).toBe(told);
});

test('[SE5] registering a known id with new content replaces, never adds', async () => {
  const { registry, watcher, first } = await setUp();
  for (const weight of [1, 2, 3]) {
    first.request('instance.register', { service: 'pay', instance: { ...instance, weight } });
    await registry.settle(random);
  }
  const view = watcher.views.get('public/DEFAULT/pay')!;
  expect([...view.instances.values()].map(({ weight }) => weight)).toEqual([3]);
});

test('[SE2] a session that ends before its registration was applied takes it away all the same', async () => {
  const { registry, watcher, first } = await setUp();
  first.request('instance.register', { service: 'pay', instance });
  first.leave(true);
  await registry.settle(random);
  expect(held(watcher)).toEqual([]);
});
