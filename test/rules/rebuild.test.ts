import { expect, test } from 'vitest';

import { slotOf } from '../../src/slots/slot.ts';
import { InProcessRegistry, runPromises } from '../support/in-process-registry.ts';
import { Random } from '../support/random.ts';
import { SimulatedClient } from '../support/simulated-client.ts';
import type { SubscriberView } from '../support/subscriber-view.ts';

const random = new Random(1);
const services = ['pay', 'ship', 'stock'] as const;

/** A client that has registered an instance of each service, and one that has subscribed to all of them. */
async function populate(registry: InProcessRegistry): Promise<{ provider: SimulatedClient; views: SubscriberView[] }> {
  const provider = new SimulatedClient(registry);
  const watcher = new SimulatedClient(registry);
  const views = services.map((service) => watcher.subscribe(service));
  for (const service of services)
    provider.request('instance.register', { service, instance: { id: 'a', host: 'h', port: 1 } });
  await registry.settle(random);
  return { provider, views };
}

test('[RE2] [RE1] a partition that dies again in the middle of its first pushes tells in its next life what it had not pushed', async () => {
  // A turn has time for one push.
  const registry = await InProcessRegistry.start({ partitions: 1, partitionTurnWorkMax: 1024 });
  const [partition] = registry.partitions;
  const { provider, views } = await populate(registry);
  expect(views.map(({ instances }) => instances.size)).toEqual([1, 1, 1]);
  const gone = services.map((service) => provider.request('instance.deregister', { service, id: 'a' }));
  partition!.die();
  const isPushing = (): boolean =>
    partition!.mailboxes.some(({ outbox }) => JSON.stringify(outbox).includes('"remove\\":[\\"a\\"]'));
  for (let steps = 0; !isPushing(); steps++) {
    expect(steps).toBeLessThan(10_000);
    registry.step(random);
    await runPromises();
    registry.advance(1);
  }
  partition!.die();
  await registry.settle(random);
  expect(gone.map(({ error }) => error)).toEqual([undefined, undefined, undefined]);
  expect(views.map(({ instances }) => instances.size)).toEqual([0, 0, 0]);
});

test('[RE2] [RE1] a batch takes turns and its partition dies when only the first of its changes has been pushed: the others are told in its next life', async () => {
  // A turn has time for four registrations.
  const registry = await InProcessRegistry.start({
    partitions: 1,
    partitionTurnWorkMax: 1024,
    coalesceWindowMinMs: 20,
    coalesceWindowMaxMs: 20,
  });
  const provider = new SimulatedClient(registry);
  const watcher = new SimulatedClient(registry);
  const [pay, ship] = [watcher.subscribe('pay'), watcher.subscribe('ship')];
  await registry.deliver(random);
  const register = (service: string, id: string): void => {
    provider.request('instance.register', { service, instance: { id, host: 'h', port: 1 } });
  };
  // Each opens a window: one ends after 20 ms, the other after 30.
  register('pay', 'a');
  await registry.deliver(random);
  registry.advance(10);
  register('ship', 'a');
  await registry.deliver(random);
  expect([...pay.instances.keys(), ...ship.instances.keys()]).toEqual(['a', 'a']);
  for (const id of ['b', 'c', 'd', 'e']) register('pay', id);
  register('ship', 'b');
  while (pay.instances.size === 1) {
    registry.step(random);
    registry.advance(1);
  }
  expect([pay.instances.size, ship.instances.size]).toEqual([5, 1]);
  registry.partitions[0]!.die();
  await registry.settle(random);
  expect([pay.instances.size, ship.instances.size]).toEqual([5, 2]);
});

test('[SE2] what a session that has gone registered of one service does not stay until the partition of another has been rebuilt', async () => {
  const registry = await InProcessRegistry.start();
  const { provider, views } = await populate(registry);
  const slots = services.map((service) => slotOf(`public/DEFAULT/${service}`));
  const { gate } = registry.router;
  gate.freeze(slots);
  provider.leave(true);
  await registry.deliver(random);
  expect(views.map(({ instances }) => instances.size)).toEqual([1, 1, 1]);
  const left = [1, 1, 1];
  for (const at of [2, 1, 0]) {
    gate.thaw([slots[at]!]);
    await registry.deliver(random);
    left[at] = 0;
    expect(views.map(({ instances }) => instances.size)).toEqual(left);
  }
});
