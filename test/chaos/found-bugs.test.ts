import { expect, test, vi } from 'vitest';

import { slotOf } from '../../src/slots/slot.ts';
import { InProcessRegistry, runPromises, SimulatedPartition } from '../support/in-process-registry.ts';
import { Random } from '../support/random.ts';
import { SimulatedClient } from '../support/simulated-client.ts';
import { createHistory, findFailure } from '../support/simulated-history.ts';
import type { Faults } from '../support/simulated-history.ts';

// Each of these was found by a longer run of the simulation, and is kept as the shortest history that showed it.

const random = new Random(1);
const service = 'pay';

function word(id: string): { service: string; instance: { id: string; host: string; port: number } } {
  return { service, instance: { id, host: 'h', port: 1 } };
}

function readVersion({ result }: { result?: unknown }): number {
  return (result as { version: number }).version;
}

/** Every instance that partitions hold. */
function readHeld(registry: InProcessRegistry): string[] {
  return registry.partitions.flatMap(({ core }) => core?.describeInstances() ?? []);
}

test('[RE1] a deregistration is under way when its partition dies, and its session ends during the rebuild: nothing is left behind', async () => {
  const registry = await InProcessRegistry.start({ partitions: 1, restoreSliceRegistrations: 1 });
  const first = new SimulatedClient(registry);
  const second = new SimulatedClient(registry);
  first.request('instance.register', word('a'));
  await registry.deliver(random);
  second.request('instance.register', word('b'));
  await registry.deliver(random);
  second.request('instance.deregister', { service, id: 'b' });
  registry.partitions[0]!.die();
  // The host hears of its end, and the backoff is over.
  while (registry.step(random));
  await runPromises();
  registry.advance(40);
  await runPromises();
  second.leave(true);
  await registry.settle(random);
  expect(readHeld(registry)).toEqual([expect.stringContaining('pay a ')]);
});

test('[PU1] [RE1] a session ends while its slot moves, and the owner dies before it has handed over: subscribers hear of it', async () => {
  const registry = await InProcessRegistry.start({ partitions: 2, moveSlots: 16_384 });
  const names = Array.from({ length: 100 }, (_, i) => `service-${i}`);
  const leaving = names.find((name) => registry.router.table.ownerOf(slotOf(`public/DEFAULT/${name}`)) === 1)!;
  const provider = new SimulatedClient(registry);
  const watcher = new SimulatedClient(registry);
  provider.request('instance.register', { service: leaving, instance: { id: 'a', host: 'h', port: 1 } });
  await registry.deliver(random);
  watcher.subscribe(leaving);
  await registry.settle(random);
  const view = [...watcher.views.values()][0]!;
  expect(view.instances.size).toBe(1);
  const resized = registry.migrator.resize(1);
  while (!registry.router.isFrozen(`public/DEFAULT/${leaving}`)) {
    registry.step(random);
    await runPromises();
  }
  provider.leave(true);
  registry.partitions[1]!.die();
  await registry.settle(random);
  await resized;
  expect(view.instances.size).toBe(0);
});

test('[SL3] [RE1] the wall clock is set back, slots move, and their new owner dies: no version goes back', async () => {
  const registry = await InProcessRegistry.start({ partitions: 1 });
  const provider = new SimulatedClient(registry);
  const names = Array.from({ length: 20 }, (_, i) => `service-${i}`);
  const registered = names.map((service) =>
    provider.request('instance.register', { service, instance: { id: 'a', host: 'h', port: 1 } }),
  );
  await registry.settle(random);
  registry.setWallBack(3_600_000);
  const resized = registry.migrator.resize(3);
  await registry.settle(random);
  await resized;
  for (const partition of registry.partitions) partition.die();
  await registry.settle(random);
  const queried = names.map((service) => provider.request('service.query', { service }));
  await registry.settle(random);
  names.forEach((_, i) => {
    expect(readVersion(queried[i]!)).toBeGreaterThanOrEqual(readVersion(registered[i]!));
  });
});

test('[SL3] partitions cannot all be started: those that can are ended as well, and nobody is led to them', async () => {
  const registry = await InProcessRegistry.start({ partitions: 1 });
  let begin: (() => void) | undefined;
  const start = vi
    .spyOn(SimulatedPartition.prototype, 'start')
    .mockRejectedValueOnce(new Error('no memory'))
    .mockImplementationOnce(
      () =>
        new Promise((resolve) => {
          begin = resolve;
        }),
    );
  const failed = registry.migrator.resize(3).catch((error: unknown) => error);
  await runPromises();
  begin?.();
  await registry.settle(random);
  expect(await failed).toMatchObject({ message: 'no memory' });
  start.mockRestore();
  expect(registry.hosts.map(({ router }) => router.links().map(({ partition }) => partition))).toEqual(
    registry.hosts.map(() => [0]),
  );
  expect(registry.supervisor.states()).toEqual(['ready']);
  const again = registry.migrator.resize(2);
  await registry.settle(random);
  await again;
  expect(registry.supervisor.states()).toEqual(['ready', 'ready']);
});

/** Histories whose shortest form is still long; what was wrong has a test of its own, too. */
const histories: readonly (readonly [what: string, seed: number, acts: number, faults: Faults])[] = [
  [
    'what changed last in a batch that took turns counted as pushed with what changed first',
    3092,
    250,
    { percent: 30, kills: true, moves: false, edges: true },
  ],
];

test.each(histories)('[RE1] no more is found in the history that showed that %s', async (_what, seed, acts, faults) => {
  expect(await findFailure(createHistory(seed, acts), faults)).toBeUndefined();
});
