import { expect, test } from 'vitest';

import { slotOf } from '../../src/slots/slot.ts';
import { InProcessRegistry } from '../support/in-process-registry.ts';
import { Random } from '../support/random.ts';
import { SimulatedClient } from '../support/simulated-client.ts';

const random = new Random(1);
/** Of one instance here. */
const instanceBytes = 4000;

/** Raises the number of partitions to two while twenty services have an instance each. Returns in how many steps slots moved, and how many services did. */
async function countSteps({ moveBytes }: { readonly moveBytes: number }): Promise<{ steps: number; moved: number }> {
  const registry = await InProcessRegistry.start({ partitions: 1, moveSlots: 16_384, moveBytes });
  const provider = new SimulatedClient(registry);
  const names = Array.from({ length: 20 }, (_, i) => `service-${i}`);
  for (const service of names) {
    const metadata = { note: 'x'.repeat(instanceBytes) };
    provider.request('instance.register', { service, instance: { id: 'a', host: 'h', port: 1, metadata } });
  }
  await registry.settle(random);
  const before = registry.router.table.epoch;
  const resized = registry.migrator.resize(2);
  await registry.settle(random);
  await resized;
  const keys = names.map((service) => `public/DEFAULT/${service}`);
  const moved = keys.filter((key) => registry.router.table.ownerOf(slotOf(key)) === 1).length;
  // One table that has a second partition, which owns nothing yet.
  return { steps: registry.router.table.epoch - before - 1, moved };
}

test('[LI1] slots move in steps that hold no more than moveBytes together, unless one slot does', async () => {
  const all = await countSteps({ moveBytes: 1_000_000 });
  expect(all.steps).toBe(1);
  expect(all.moved).toBeGreaterThan(4);
  // Two fit into a step, with what an instance has beside its note; of half of one none does, so each moves alone.
  const two = await countSteps({ moveBytes: 10_000 });
  expect(two).toMatchObject({ moved: all.moved });
  expect(two.steps).toBeGreaterThanOrEqual(Math.ceil(all.moved / 2));
  expect(two.steps).toBeLessThanOrEqual(Math.ceil(all.moved / 2) + 1);
  expect(await countSteps({ moveBytes: 2000 })).toEqual({ moved: all.moved, steps: expect.any(Number) });
  expect((await countSteps({ moveBytes: 2000 })).steps).toBeGreaterThanOrEqual(all.moved);
});
