import { expect, test } from 'vitest';

import { InProcessRegistry } from '../support/in-process-registry.ts';
import { Random } from '../support/random.ts';
import { SimulatedClient } from '../support/simulated-client.ts';

const random = new Random(1);

function describeHeld({ partitions }: InProcessRegistry): { instances: string[]; interest: string[] } {
  const cores = partitions.map(({ core }) => core!);
  return {
    instances: cores.flatMap((core) => core.describeInstances()),
    interest: cores.flatMap((core) => core.describeInterest()),
  };
}

test('a host that is gone leaves what its sessions registered; the subscribers of others are still told, and claims change hands', async () => {
  const registry = await InProcessRegistry.start({}, 2);
  const [here, there] = registry.hosts.map(({ core }) => new SimulatedClient(registry, undefined, core));
  const names = Array.from({ length: 20 }, (_, i) => `service-${i}`);
  const register = (client: SimulatedClient, port: number): void => {
    for (const service of names) {
      client.request('instance.register', { service, instance: { id: 'a', host: 'h', port } });
    }
  };
  for (const service of names) {
    here!.request('service.subscribe', { service });
    there!.request('service.subscribe', { service });
  }
  register(there!, 1);
  await registry.settle(random);
  const before = describeHeld(registry);
  expect(before.interest).toHaveLength(40);
  registry.supervisor.detachHost(1);
  await registry.deliver(random);
  const after = describeHeld(registry);
  expect(after.instances).toEqual(before.instances);
  expect(after.interest).toEqual(before.interest.filter((line) => line.endsWith(' 0')));
  const heard = here!.notifications;
  register(here!, 2);
  await registry.settle(random);
  expect(here!.notifications).toBe(heard + names.length);
  expect(describeHeld(registry).instances.filter((line) => line.endsWith('hidden'))).toHaveLength(20);
});
