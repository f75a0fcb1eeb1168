import { expect, test } from 'vitest';

import { encodeInstance } from '../../src/protocol/instance-encoding.ts';
import { RegistrationDigest } from '../../src/protocol/registration-digest.ts';
import { serviceKey } from '../../src/protocol/service-key.ts';
import type { Health, SessionOpenResult } from '../../src/protocol/types.ts';
import { InProcessRegistry } from '../support/in-process-registry.ts';
import { Random } from '../support/random.ts';
import { SimulatedClient } from '../support/simulated-client.ts';
import type { SubscriberView } from '../support/subscriber-view.ts';

const random = new Random(1);
const service = 'pay';
const key = serviceKey({ service });

interface Cast {
  readonly registry: InProcessRegistry;
  readonly provider: SimulatedClient;
  readonly watcher: SimulatedClient;
  readonly view: SubscriberView;
}

/** A provider with an instance, and somebody who watches it. */
async function setUp(config: Parameters<typeof InProcessRegistry.start>[0] = {}): Promise<Cast> {
  const registry = await InProcessRegistry.start({ disconnectGraceMs: 1000, ...config });
  const watcher = new SimulatedClient(registry);
  const view = watcher.subscribe(service);
  const provider = new SimulatedClient(registry);
  register(provider);
  await registry.settle(random);
  return { registry, provider, watcher, view };
}

function register(client: SimulatedClient, more: object = {}): void {
  client.request('instance.register', { service, instance: { id: 'a', host: 'h', port: 1, ...more } });
}

function report(client: SimulatedClient, health: Health): ReturnType<SimulatedClient['request']> {
  return client.request('instance.health', { service, id: 'a', health });
}

test('[HC1] what a session reports is in pushes and lists, and passing is left out', async () => {
  const { registry, provider, watcher, view } = await setUp();
  expect(view.instances.get('a')).not.toHaveProperty('health');
  const bad = report(provider, 'critical');
  await registry.settle(random);
  expect(bad.result).toEqual({ version: expect.any(Number) as number });
  expect(view.instances.get('a')).toMatchObject({ health: 'critical' });
  const list = watcher.request('service.query', { service });
  report(provider, 'warning');
  report(provider, 'passing');
  await registry.settle(random);
  expect(list.result).toMatchObject({ instances: [{ id: 'a', health: 'critical' }] });
  expect(view.instances.get('a')).not.toHaveProperty('health');
});

test('[HC1] the same report again changes nothing and is told to nobody', async () => {
  const { registry, provider, watcher } = await setUp();
  const first = report(provider, 'warning');
  await registry.settle(random);
  const told = watcher.notifications;
  const again = report(provider, 'warning');
  await registry.settle(random);
  expect(again.result).toEqual(first.result);
  expect(watcher.notifications).toBe(told);
});

test('[HC2] a report survives the death of the partition, also one that was in flight', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const { registry, provider, view } = await setUp({ partitions: 1 });
    const order = new Random(seed);
    report(provider, 'critical');
    for (let steps = order.below(6); steps > 0; steps--) registry.step(order);
    registry.partitions[0]!.die();
    await registry.settle(order);
    expect(view.instances.get('a'), `seed ${seed}`).toMatchObject({ health: 'critical' });
    registry.partitions[0]!.die();
    await registry.settle(order);
    expect(view.instances.get('a'), `seed ${seed}`).toMatchObject({ health: 'critical' });
  }
});

test('[HC2] a report moves with its slot', async () => {
  const { registry, provider, view } = await setUp({ partitions: 1 });
  report(provider, 'critical');
  const resized = registry.migrator.resize(3);
  report(provider, 'warning');
  await registry.settle(random);
  await resized;
  const list = provider.request('service.query', { service });
  await registry.settle(random);
  expect(list.result).toMatchObject({ instances: [{ health: 'warning' }] });
  expect(view.instances.get('a')).toMatchObject({ health: 'warning' });
});

test('[HC2] a report keeps the place of the claim: one of a claim that does not show is seen when it does', async () => {
  const { registry, provider: first, view } = await setUp();
  const second = new SimulatedClient(registry);
  register(second, { weight: 7 });
  await registry.settle(random);
  report(first, 'critical');
  await registry.settle(random);
  expect(view.instances.get('a')).toMatchObject({ weight: 7 });
  expect(view.instances.get('a')).not.toHaveProperty('health');
  second.leave(true);
  await registry.settle(random);
  expect(view.instances.get('a')).toMatchObject({ weight: 100, health: 'critical' });
});

test('[HC2] a registration says itself how the instance is', async () => {
  const { registry, provider, view } = await setUp();
  report(provider, 'critical');
  register(provider, { weight: 7 });
  await registry.settle(random);
  expect(view.instances.get('a')).not.toHaveProperty('health');
  register(provider, { weight: 7, health: 'warning' });
  await registry.settle(random);
  expect(view.instances.get('a')).toMatchObject({ weight: 7, health: 'warning' });
});

test('[HC2] a report behind a registration that is refused is of what stands', async () => {
  const { registry, provider, view } = await setUp({ serviceListBytesMax: 1024 });
  register(provider, { metadata: { much: 'x'.repeat(1100) } });
  report(provider, 'critical');
  await registry.settle(random);
  expect(view.instances.get('a')).toMatchObject({ weight: 100, health: 'critical' });
  registry.partitions[0]!.die();
  registry.partitions[1]!.die();
  await registry.settle(random);
  expect(view.instances.get('a')).toMatchObject({ weight: 100, health: 'critical' });
});

test('[HC2] a session that is taken over has what it reported, and the digest says so', async () => {
  const { registry } = await setUp();
  const client = new SimulatedClient(registry);
  const opened = client.open();
  register(client);
  report(client, 'warning');
  await registry.settle(random);
  client.leave(false);
  const next = new SimulatedClient(registry);
  const resumed = next.open((opened.result as SessionOpenResult).secret);
  await registry.settle(random);
  const digest = new RegistrationDigest();
  digest.add(key, encodeInstance({ id: 'a', host: 'h', port: 1, health: 'warning' }).fragment);
  expect((resumed.result as SessionOpenResult).resumed).toEqual({ registrations: 1, digest: digest.toString() });
});

test('[HC2] only what the session has registered can be reported', async () => {
  const { registry, view } = await setUp();
  const refused = report(new SimulatedClient(registry), 'critical');
  await registry.settle(random);
  expect(refused.error?.data.code).toBe('not_found');
  expect(view.instances.get('a')).not.toHaveProperty('health');
});

test('[HC1] with healthyOnly an instance leaves the list while it is critical', async () => {
  const { registry, provider, watcher } = await setUp();
  register(provider);
  provider.request('instance.register', { service, instance: { id: 'b', host: 'h', port: 2 } });
  const healthy = watcher.subscribe(service, 'delta', undefined, { healthyOnly: true });
  await registry.settle(random);
  report(provider, 'warning');
  await registry.settle(random);
  expect([...healthy.instances.keys()].sort()).toEqual(['a', 'b']);
  report(provider, 'critical');
  await registry.settle(random);
  expect([...healthy.instances.keys()]).toEqual(['b']);
  report(provider, 'passing');
  await registry.settle(random);
  expect([...healthy.instances.keys()].sort()).toEqual(['a', 'b']);
});
