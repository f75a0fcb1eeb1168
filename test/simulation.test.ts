import { expect, test } from 'vitest';

import { InProcessRegistry } from './support/in-process-registry.ts';
import { Random } from './support/random.ts';
import { SimulatedClient } from './support/simulated-client.ts';
import type { SubscriberView } from './support/subscriber-view.ts';

const services = ['pay', 'ship', 'mail'] as const;
const ids = ['a', 'b', 'c', 'd'] as const;

/** What must be true: who registered what last, and with what weight. */
class Model {
  readonly #live = new Map<string, { owner: SimulatedClient; weight: number }>();

  register(owner: SimulatedClient, service: string, id: string, weight: number): void {
    this.#live.set(`${service}/${id}`, { owner, weight });
  }

  deregister(owner: SimulatedClient, service: string, id: string): void {
    if (this.#live.get(`${service}/${id}`)?.owner === owner) this.#live.delete(`${service}/${id}`);
  }

  /** Everything whose session is still there. */
  instancesOf(service: string): Map<string, number> {
    const found = new Map<string, number>();
    for (const [name, { owner, weight }] of this.#live) {
      const [of = '', id = ''] = name.split('/');
      if (of === service && owner.closed === undefined) found.set(id, weight);
    }
    return found;
  }
}

interface World {
  readonly registry: InProcessRegistry;
  readonly random: Random;
  readonly model: Model;
  readonly clients: SimulatedClient[];
  /** Views of clients that have gone: somebody may come back with one. */
  readonly abandoned: Map<string, SubscriberView>;
}

function act({ registry, random, model, clients, abandoned }: World): void {
  const live = clients.filter((client) => client.closed === undefined);
  const roll = random.below(100);
  const service = random.pick(services);
  const id = random.pick(ids);
  if (live.length < 2 || roll < 5) {
    clients.push(new SimulatedClient(registry, 6));
    return;
  }
  const client = random.pick(live);
  if (roll < 40) {
    const weight = random.below(3);
    model.register(client, service, id, weight);
    client.request('instance.register', { service, instance: { id, host: 'h', port: 1, weight } });
  } else if (roll < 52) {
    model.deregister(client, service, id);
    client.request('instance.deregister', { service, id });
  } else if (roll < 66) {
    const held = random.below(2) === 0 ? abandoned.get(service) : undefined;
    client.subscribe(service, random.pick(['delta', 'delta', 'snapshot']), held);
  } else if (roll < 70) {
    client.unsubscribe(service);
  } else if (roll < 76) {
    for (const [key, view] of client.views) abandoned.set(key.split('/')[2] ?? '', view);
    client.leave(random.below(2) === 0);
  } else if (roll < 80) {
    client.isReading = false;
  } else if (roll < 86) {
    client.resume();
  } else {
    registry.advance(random.below(60));
  }
}

/** Runs one history and compares every view with the model at its end; returns what was compared. */
function runHistory(seed: number, steps: number): { views: number; pushes: number; resyncs: number } {
  const random = new Random(seed);
  const registry = new InProcessRegistry({
    partitions: 1 + (seed % 3),
    disconnectGraceMs: 200,
    changeLogEntriesMax: 8,
    pushCharactersInFlightMax: 1024,
  });
  const world: World = { registry, random, model: new Model(), clients: [], abandoned: new Map() };
  for (let step = 0; step < steps; step++) {
    act(world);
    for (let deliveries = random.below(4); deliveries > 0; deliveries--) registry.step(random);
  }
  for (const client of world.clients) if (client.closed === undefined) client.resume();
  registry.settle(random);
  let views = 0;
  let pushes = 0;
  for (const client of world.clients) {
    if (client.closed !== undefined) continue;
    for (const { method, result, error } of client.requests.values()) {
      expect(result ?? error, `${method} was never answered`).toBeDefined();
    }
    for (const [key, view] of client.views) {
      const held = new Map([...view.instances].map(([id, { weight }]) => [id, weight]));
      expect(held, `view of ${key}`).toEqual(world.model.instancesOf(key.split('/')[2] ?? ''));
      views += 1;
      pushes += view.pushes;
    }
  }
  return { views, pushes, resyncs: registry.counters.snapshot()['push_resynced'] ?? 0 };
}

test('[PU1] [PU4] [SE1] [SE2] after any history every subscriber holds exactly the live registrations, and every delta chained', () => {
  const total = { views: 0, pushes: 0, resyncs: 0 };
  for (let seed = 1; seed <= 400; seed++) {
    try {
      const { views, pushes, resyncs } = runHistory(seed, 250);
      total.views += views;
      total.pushes += pushes;
      total.resyncs += resyncs;
    } catch (error) {
      throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
  }
  // A checker that compared nothing would have found nothing.
  expect(total.views).toBeGreaterThan(400);
  expect(total.pushes).toBeGreaterThan(2000);
  expect(total.resyncs).toBeGreaterThan(40);
});
