import { expect, test } from 'vitest';

import { InProcessRegistry, runPromises } from './support/in-process-registry.ts';
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

/** Instances of which the model does not know: somebody asked to change them and left before the answer, or was refused. */
function listUncertain({ clients }: World): Set<string> {
  const uncertain = new Set<string>();
  for (const client of clients) {
    for (const { method, params, result } of client.requests.values()) {
      if (result !== undefined || !method.startsWith('instance.')) continue;
      const { service, id, instance } = params as { service: string; id?: string; instance?: { id: string } };
      uncertain.add(`${service}/${id ?? instance?.id ?? ''}`);
    }
  }
  return uncertain;
}

/** What the sessions that are there hold, by service key: id → weight. */
function readLogs({ registry }: World): Map<string, Map<string, number>> {
  const logs = new Map<string, Map<string, number>>();
  for (const session of registry.host.sessions.all()) {
    for (const { key, id, fragment } of session.registrations.values()) {
      const log = logs.get(key) ?? new Map<string, number>();
      logs.set(key, log.set(id, (JSON.parse(fragment) as { weight: number }).weight));
    }
  }
  return logs;
}

/** Runs one history and compares every view with the model at its end; returns what was compared. */
async function runHistory(
  seed: number,
  steps: number,
  faults: Faults,
): Promise<{ views: number; pushes: number; resyncs: number; deaths: number; moves: number }> {
  const random = new Random(seed);
  const registry = await InProcessRegistry.start({
    partitions: 1 + (seed % 3),
    disconnectGraceMs: 200,
    changeLogEntriesMax: 8,
    pushCharactersInFlightMax: 1024,
    moveSlots: 2048,
  });
  const world: World = { registry, random, model: new Model(), clients: [], abandoned: new Map() };
  for (let step = 0; step < steps; step++) {
    if (random.below(100) < faults.percent) disturb(world, faults);
    else act(world);
    for (let deliveries = random.below(4); deliveries > 0; deliveries--) registry.step(random);
    if (faults.percent > 0) await runPromises();
  }
  for (const client of world.clients) if (client.closed === undefined) client.resume();
  await registry.settle(random);
  checkAgreement(world);
  const uncertain = listUncertain(world);
  const logged = readLogs(world);
  let views = 0;
  let pushes = 0;
  for (const client of world.clients) {
    if (client.closed !== undefined) continue;
    for (const { method, result, error } of client.requests.values()) {
      expect(result ?? error, `${method} was never answered`).toBeDefined();
    }
    for (const [key, view] of client.views) {
      const service = key.split('/')[2] ?? '';
      const held = new Map([...view.instances].map(([id, { weight }]) => [id, weight]));
      expect(held, `view of ${key} and the logs of sessions`).toEqual(logged.get(key) ?? new Map());
      const expected = world.model.instancesOf(service);
      for (const id of ids) {
        if (!uncertain.has(`${service}/${id}`)) expect(held.get(id), `${key} ${id}`).toBe(expected.get(id));
      }
      views += 1;
      pushes += view.pushes;
    }
  }
  const { push_resynced: resyncs = 0, partition_died: deaths = 0 } = registry.counters.snapshot();
  return { views, pushes, resyncs, deaths, moves: registry.router.table.epoch };
}

interface Faults {
  /** Of a hundred steps, how many disturb the registry rather than use it. */
  readonly percent: number;
  readonly kills: boolean;
  readonly moves: boolean;
}

function disturb({ registry, random }: World, { kills, moves }: Faults): void {
  const roll = random.below(10);
  if (kills && roll < 5) random.pick(registry.partitions).die();
  else if (moves && !registry.mover.isBusy) {
    const change = roll < 8 ? registry.mover.resize(1 + random.below(4)) : registry.mover.rebalance();
    change.catch((error: unknown) => {
      registry.fatal = error instanceof Error ? error : new Error(String(error));
    });
  } else registry.advance(random.below(60));
}

/** Session logs, partitions and table agree: what sessions hold is what owners hold, and where the table says. */
function checkAgreement({ registry, clients }: World): void {
  expect(registry.fatal).toBeUndefined();
  expect(registry.supervisor.states()).toEqual(
    registry.partitions.slice(0, registry.router.table.partitions).map(() => 'ready'),
  );
  expect(registry.router.gate.isOpen).toBe(true);
  expect(registry.router.gate.waitingCount).toBe(0);
  const logged = clients
    .filter((client) => client.closed === undefined)
    .flatMap(({ session }) =>
      [...session.registrations.values()].map(({ key, id, stamp }) => `${key} ${id} ${stamp} ${session.number}`),
    );
  const held = registry.partitions.flatMap((partition) => partition.core?.describeInstances() ?? []);
  expect(held.sort()).toEqual(logged.sort());
}

const quiet: Faults = { percent: 0, kills: false, moves: false };

async function runHistories(
  seeds: number,
  steps: number,
  faults: Faults,
): Promise<Record<'views' | 'pushes' | 'resyncs' | 'deaths' | 'moves', number>> {
  const total = { views: 0, pushes: 0, resyncs: 0, deaths: 0, moves: 0 };
  for (let seed = 1; seed <= seeds; seed++) {
    try {
      const found = await runHistory(seed, steps, faults);
      for (const name of Object.keys(total) as (keyof typeof total)[]) total[name] += found[name];
    } catch (error) {
      throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
  }
  return total;
}

test('[PU1] [PU4] [SE1] [SE2] after any history every subscriber holds exactly the live registrations, and every delta chained', async () => {
  const total = await runHistories(400, 250, quiet);
  // A checker that compared nothing would have found nothing.
  expect(total.views).toBeGreaterThan(400);
  expect(total.pushes).toBeGreaterThan(2000);
  expect(total.resyncs).toBeGreaterThan(20);
});

test('[RE1] [RE3] [PU5] the same holds while partitions die', async () => {
  const total = await runHistories(300, 200, { percent: 3, kills: true, moves: false });
  expect(total.deaths).toBeGreaterThan(300);
});

test('[SL3] the same holds while slots move and partitions come and go', async () => {
  const total = await runHistories(200, 200, { percent: 4, kills: false, moves: true });
  expect(total.moves).toBeGreaterThan(1500);
});

test('[SL3] [RE1] the same holds while partitions die in the middle of moves', async () => {
  const total = await runHistories(200, 200, { percent: 6, kills: true, moves: true });
  expect(total.deaths).toBeGreaterThan(200);
  expect(total.moves).toBeGreaterThan(1000);
});
