import { expect, test } from 'vitest';

import { encodeRegister } from '../../src/sessions/requests.ts';
import { slotOf } from '../../src/slots/slot.ts';
import { InProcessRegistry, runPromises } from '../support/in-process-registry.ts';
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

test('[SE7] a session whose claim does not show ends just that, and afterwards has none', async () => {
  const { registry, watcher, first, second } = await setUp();
  first.request('instance.register', { service: 'pay', instance });
  await deliver(registry);
  const registered = second.request('instance.register', { service: 'pay', instance });
  await deliver(registry);
  expect([first.session.registrations.size, second.session.registrations.size]).toEqual([1, 1]);
  const told = watcher.notifications;
  const done = first.request('instance.deregister', { service: 'pay', id });
  const refused = first.request('instance.deregister', { service: 'pay', id });
  await registry.settle(random);
  expect(done.result).toEqual({ version: (registered.result as { version: number }).version });
  expect(refused.error?.data.code).toBe('not_owner');
  expect([first.session.registrations.size, held(watcher), watcher.notifications]).toEqual([0, [id], told]);
});

test.each(['leaves', 'breaks', 'deregisters'] as const)(
  '[SE7] when the session that registered last %s, the one before shows again: one change, no gap, and it is told',
  async (end) => {
    const { registry, watcher, first, second } = await setUp();
    for (const client of [first, second]) client.request('session.open', { client: 'test', capabilities: ['claims'] });
    first.request('instance.register', { service: 'pay', instance: { ...instance, weight: 1 } });
    await registry.settle(random);
    second.request('instance.register', { service: 'pay', instance: { ...instance, weight: 2 } });
    await registry.settle(random);
    expect(watcher.views.get('public/DEFAULT/pay')!.instances.get(id)?.weight).toBe(2);
    const told = watcher.notifications;
    const sizes: number[] = [];
    watcher.listener = {
      onAnswer: () => undefined,
      onGone: () => undefined,
      onChange: (_, view) => sizes.push(view.instances.size),
    };
    if (end === 'deregisters') second.request('instance.deregister', { service: 'pay', id });
    else second.leave(end === 'leaves');
    await registry.settle(random);
    expect(watcher.views.get('public/DEFAULT/pay')!.instances.get(id)?.weight).toBe(1);
    expect([watcher.notifications - told, sizes]).toEqual([1, [1]]);
    expect(first.claimNotices.map(({ service, id, shown }) => [service, id, shown])).toEqual([
      ['pay', id, false],
      ['pay', id, true],
    ]);
    expect(second.claimNotices).toEqual([]);
  },
);

test('[SE7] of equal contents nothing is told to subscribers, and nothing of claims to clients that do not know them', async () => {
  const { registry, watcher, first, second } = await setUp();
  first.request('instance.register', { service: 'pay', instance });
  await registry.settle(random);
  const told = watcher.notifications;
  second.request('instance.register', { service: 'pay', instance });
  await registry.settle(random);
  second.leave(true);
  await registry.settle(random);
  expect([held(watcher), watcher.notifications, first.claimNotices]).toEqual([[id], told, []]);
});

test('[SE2] [SE7] what a broken session claims counts through its grace, whatever others register and give up meanwhile, and no longer', async () => {
  const { registry, watcher, first, second } = await setUp({ disconnectGraceMs: 2000 });
  first.request('instance.register', { service: 'pay', instance });
  await deliver(registry);
  first.leave(false);
  second.request('instance.register', { service: 'pay', instance });
  await deliver(registry);
  second.request('instance.deregister', { service: 'pay', id });
  await deliver(registry);
  expect(held(watcher)).toEqual([id]);
  for (let waited = 0; waited < 2500; waited += 50) {
    registry.advance(50);
    await deliver(registry);
  }
  expect(held(watcher)).toEqual([]);
});

test('[SE7] a request that has waited for its slot is no newer than what came to another host meanwhile', async () => {
  const registry = await InProcessRegistry.start({}, 2);
  const [first, second] = registry.hosts.map(({ core }) => new SimulatedClient(registry, undefined, core)) as [
    SimulatedClient,
    SimulatedClient,
  ];
  const view = second.subscribe('pay');
  const { gate } = registry.hosts[0]!.router;
  const slots = [slotOf('public/DEFAULT/pay')];
  gate.freeze(slots);
  first.request('instance.register', { service: 'pay', instance: { ...instance, weight: 1 } });
  second.request('instance.register', { service: 'pay', instance: { ...instance, weight: 2 } });
  await deliver(registry);
  gate.thaw(slots);
  await registry.settle(random);
  expect(view.instances.get(id)?.weight).toBe(2);
  expect(first.session.registrations.standingOf('public/DEFAULT/pay', id).isHidden).toBe(true);
});

test.each(['query', 'subscribe'] as const)(
  '[RE1] a %s that came before changes of the same connection is answered before them, though its partition died meanwhile',
  async (kind) => {
    const { registry, first } = await setUp({ partitions: 1 });
    first.request('instance.register', { service: 'pay', instance: { host: 'first', port: 1, weight: 1 } });
    first.request('instance.register', { service: 'pay', instance: { host: 'changed', port: 1, weight: 1 } });
    await deliver(registry);
    registry.partitions[0]!.die();
    const reads = [first.request(`service.${kind}`, { service: 'pay' })];
    first.request('instance.deregister', { service: 'pay', id: 'first:1' });
    first.request('instance.register', { service: 'pay', instance: { host: 'second', port: 1, weight: 1 } });
    reads.push(first.request('service.query', { service: 'pay' }));
    first.request('instance.register', { service: 'pay', instance: { host: 'changed', port: 1, weight: 2 } });
    first.request('instance.deregister', { service: 'pay', id: 'second:1' });
    first.request('instance.register', { service: 'pay', instance: { host: 'first', port: 1, weight: 3 } });
    reads.push(first.request('service.query', { service: 'pay' }));
    await runPromises();
    await registry.settle(random);
    const lists = reads.map(({ result }) =>
      (result as { instances: { id: string; weight: number }[] }).instances
        .map(({ id, weight }) => `${id} ${weight}`)
        .sort(),
    );
    expect(lists).toEqual([
      ['changed:1 1', 'first:1 1'],
      ['changed:1 1', 'second:1 1'],
      ['changed:1 2', 'first:1 3'],
    ]);
  },
);

test('[SE7] a client that reads nothing is told of its claims once it reads, as they stand then', async () => {
  const { registry, first, second } = await setUp({ sessionUnconsumedBytesMax: 1024 });
  first.request('session.open', { client: 'test', capabilities: ['claims'] });
  const ids = Array.from({ length: 200 }, (_, i) => `i${i}`);
  for (const id of ids) first.request('instance.register', { service: 'pay', instance: { ...instance, id } });
  await deliver(registry);
  first.isReading = false;
  for (let round = 0; round < 3; round++) {
    for (const id of ids) second.request('instance.register', { service: 'pay', instance: { ...instance, id } });
    await deliver(registry);
    if (round === 2) break;
    for (const id of ids) second.request('instance.deregister', { service: 'pay', id });
    await deliver(registry);
  }
  first.resume();
  for (let rounds = 0; rounds < 50; rounds++) {
    await deliver(registry);
    first.resume();
  }
  expect(first.closed).toBeUndefined();
  expect(first.hidden.size).toBe(200);
  // Told anew at every turn it would have been a thousand.
  expect(first.claimNotices.length).toBeLessThan(300);
});

test('[LI1] [SE7] beyond claimsPerInstanceMax the oldest claim is given up, and a lease that held nothing else has ended', async () => {
  const { registry, first, second } = await setUp({ claimsPerInstanceMax: 2 });
  const { core } = registry;
  const lease = core.sessions.grantLease(10_000, '10.0.0.1')!;
  const call = encodeRegister({ service: 'pay', instance });
  core.execute(lease, call, { succeed: () => undefined, fail: () => undefined });
  await deliver(registry);
  for (const client of [first, second]) {
    expect(lease.state.kind).toBe('leased');
    client.request('instance.register', { service: 'pay', instance });
    await deliver(registry);
  }
  expect([lease.state.kind, first.session.registrations.size]).toEqual(['ended', 1]);
  expect(registry.counters.snapshot()).toMatchObject({ limit_claimsPerInstanceMax: 1 });
});

test('[SE1] [SE7] a session that registers its instance again while being told of another claim shows', async () => {
  for (let seed = 1; seed <= 50; seed++) {
    const { registry, watcher, first, second } = await setUp();
    const order = new Random(seed);
    first.request('instance.register', { service: 'pay', instance });
    await deliver(registry);
    second.request('instance.register', { service: 'pay', instance });
    for (let steps = order.below(4); steps > 0; steps--) registry.step(order);
    first.request('instance.register', { service: 'pay', instance });
    await registry.settle(order);
    expect(first.session.registrations.standingOf('public/DEFAULT/pay', id).isHidden, `seed ${seed}`).toBe(false);
    expect(second.session.registrations.standingOf('public/DEFAULT/pay', id).isHidden, `seed ${seed}`).toBe(true);
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
