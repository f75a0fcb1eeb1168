import { expect, test, vi } from 'vitest';

import { slotOf } from '../../src/slots/slot.ts';
import { InProcessRegistry, runPromises } from '../support/in-process-registry.ts';
import type { SimulatedPartition } from '../support/in-process-registry.ts';
import { Random } from '../support/random.ts';
import { SimulatedClient } from '../support/simulated-client.ts';

/** New tables are long on their way to a partition, so that all else comes first that may. */
function delayTables(partition: SimulatedPartition): void {
  const deliverIn = partition.deliverIn.bind(partition);
  let left = 100;
  vi.spyOn(partition, 'deliverIn').mockImplementation((mailbox) => {
    if (mailbox.inbox[0]?.table !== undefined && left > 0) left -= 1;
    else deliverIn(mailbox);
  });
}

test.each(['leaves', 'deregisters it'])(
  '[SL3] [SE2] what a client registers while its slot moves does not stay when the client %s right after',
  async (end) => {
    for (let stepsBetween = 0; stepsBetween < 30; stepsBetween++) {
      const random = new Random(stepsBetween);
      const registry = await InProcessRegistry.start({ partitions: 1, moveSlots: 16_384 }, 2);
      const names = Array.from({ length: 20 }, (_, i) => `service-${i}`);
      const client = new SimulatedClient(registry);
      const resized = registry.migrator.resize(2);
      const moving = (): string | undefined => names.find((name) => registry.router.isFrozen(`public/DEFAULT/${name}`));
      while (moving() === undefined) {
        registry.step(random);
        await runPromises();
      }
      const service = moving()!;
      delayTables(registry.partitions[1]!);
      client.request('instance.register', { service, instance: { id: 'a', host: 'h', port: 1 } });
      while (registry.router.isFrozen(`public/DEFAULT/${service}`)) {
        registry.step(random);
        await runPromises();
      }
      for (let steps = 0; steps < stepsBetween; steps++) registry.step(random);
      if (end === 'leaves') client.leave(true);
      else client.request('instance.deregister', { service, id: 'a' });
      await registry.settle(random);
      await resized;
      expect(registry.router.table.ownerOf(slotOf(`public/DEFAULT/${service}`))).toBe(1);
      expect(registry.partitions.flatMap(({ core }) => core?.describeInstances() ?? [])).toEqual([]);
    }
  },
);
