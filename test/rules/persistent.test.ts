import { expect, test } from 'vitest';

import type { ServerConfig } from '../../src/config/config.ts';
import type { DeclarationBody, ServiceDeclaration } from '../../src/protocol/service-declaration.ts';
import { serviceKey } from '../../src/protocol/service-key.ts';
import type { Instance, Methods } from '../../src/protocol/types.ts';
import { slotOf } from '../../src/slots/slot.ts';
import { InProcessRegistry, runPromises } from '../support/in-process-registry.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { Random } from '../support/random.ts';
import { SimulatedClient } from '../support/simulated-client.ts';

const random = new Random(1);
const service = 'billing';
const key = serviceKey({ service });
const full = { code: 'storage_unavailable', message: 'the disk is full' } as const;

interface World {
  readonly registry: InProcessRegistry;
  readonly store: MemoryStore;
}

async function start(config: Partial<ServerConfig> = {}, before?: MemoryStore): Promise<World> {
  const store = new MemoryStore();
  for (const [name, row] of before?.rows ?? []) store.rows.set(name, row);
  store.isUnreadable = before?.isUnreadable ?? false;
  const registry = await InProcessRegistry.start({ disconnectGraceMs: 100, ...config }, undefined, { store });
  return { registry, store };
}

async function ask(
  registry: InProcessRegistry,
  client: SimulatedClient,
  method: 'instance.register' | 'instance.deregister' | 'service.query',
  params: Methods[typeof method]['params'],
): Promise<unknown> {
  const answered = client.request(method, params);
  await registry.settle(random);
  return answered.result ?? answered.error?.data.code;
}

function instance(id: string, more: object = {}): { id: string; host: string; port: number } {
  return { id, host: '10.0.0.1', port: 8080, ...more };
}

async function list(registry: InProcessRegistry, client: SimulatedClient): Promise<readonly Instance[]> {
  const result = (await ask(registry, client, 'service.query', { service })) as { instances: Instance[] };
  return result.instances;
}

async function declare(registry: InProcessRegistry, body: DeclarationBody): Promise<unknown> {
  const answer = registry.persistent.declareService(service, body);
  await registry.settle(random);
  return answer;
}

test('[PI1] a persistent instance is shown as such, and outlives the session that registered it', async () => {
  const { registry } = await start();
  const [control, reader] = [new SimulatedClient(registry, 1), new SimulatedClient(registry, 1)];
  reader.subscribe(service);
  await registry.settle(random);
  expect(
    await ask(registry, control, 'instance.register', { service, instance: instance('a'), persistent: true }),
  ).toEqual({ version: expect.any(Number) as number, id: 'a' });
  control.leave(true);
  await registry.settle(random);
  const shown = { ...instance('a'), weight: 100, enabled: true, persistent: true };
  expect(await list(registry, reader)).toEqual([shown]);
  expect([...reader.views.get(key)!.instances.values()]).toEqual([shown]);
  // It counts as no session's.
  expect(registry.hosts.map(({ core }) => core.sessions.registrationCount)).not.toContain(1);
  expect(registry.persistent.counts).toEqual({ instances: 1, services: 0 });
});

test('[PI1] it is answered, and shown, only once it is stored', async () => {
  const { registry, store } = await start();
  const client = new SimulatedClient(registry, 1);
  const answered = client.request('instance.register', { service, instance: instance('a'), persistent: true });
  store.failure = full;
  await registry.settle(random);
  expect(answered.error?.data).toMatchObject({ code: 'storage_unavailable' });
  expect(await list(registry, client)).toEqual([]);
  store.failure = undefined;
  await ask(registry, client, 'instance.register', { service, instance: instance('a'), persistent: true });
  store.failure = full;
  expect(await ask(registry, client, 'instance.deregister', { service, id: 'a', persistent: true })).toBe(full.code);
  expect(await list(registry, client)).toHaveLength(1);
});

test('[PI1] what comes back after a restart is what was answered, and nothing else', async () => {
  const first = await start();
  const client = new SimulatedClient(first.registry, 1);
  for (const id of ['a', 'b', 'c']) {
    await ask(first.registry, client, 'instance.register', { service, instance: instance(id), persistent: true });
  }
  await ask(first.registry, client, 'instance.deregister', { service, id: 'b', persistent: true });
  await declare(first.registry, { owner: 'team', defaultWeight: 7 });
  const second = await start({}, first.store);
  const reader = new SimulatedClient(second.registry, 1);
  expect((await list(second.registry, reader)).map(({ id }) => id)).toEqual(['a', 'c']);
  // What it was declared with, too.
  await ask(second.registry, reader, 'instance.register', { service, instance: instance('d') });
  expect((await list(second.registry, reader)).find(({ id }) => id === 'd')).toMatchObject({ weight: 7 });
});

test('[PI2] it moves with its slot, and is put back when its partition dies', async () => {
  const { registry } = await start({ partitions: 2 });
  const client = new SimulatedClient(registry, 1);
  await ask(registry, client, 'instance.register', { service, instance: instance('a'), persistent: true });
  const before = await list(registry, client);
  registry.partitions[registry.router.table.ownerOf(slotOf(key))]!.die();
  await registry.settle(random);
  expect(await list(registry, client)).toEqual(before);
  await Promise.all([registry.migrator.resize(3), registry.settle(random)]);
  await Promise.all([registry.migrator.resize(1), registry.settle(random)]);
  expect(await list(registry, client)).toEqual(before);
  expect(await ask(registry, client, 'instance.deregister', { service, id: 'a', persistent: true })).toEqual({
    version: expect.any(Number) as number,
  });
  expect(await list(registry, client)).toEqual([]);
});

test('[PI3] [SE7] the newest claim is visible, and the persistent one again when others have ended', async () => {
  const { registry } = await start({ claimsPerInstanceMax: 1 });
  const clients = [1, 2, 3].map(() => new SimulatedClient(registry, 1));
  const [control, ...owners] = clients as [SimulatedClient, ...SimulatedClient[]];
  await ask(registry, control, 'instance.register', { service, instance: instance('a'), persistent: true });
  for (const [i, owner] of owners.entries()) {
    await ask(registry, owner, 'instance.register', { service, instance: instance('a', { weight: i }) });
    expect(await list(registry, control)).toEqual([{ ...instance('a'), weight: i, enabled: true }]);
  }
  // There is room for one claim that does not show, and it is the session's that goes.
  for (const owner of owners) owner.leave(true);
  await registry.settle(random);
  expect(await list(registry, control)).toEqual([{ ...instance('a'), weight: 100, enabled: true, persistent: true }]);
  // Only who says so removes it.
  expect(await ask(registry, control, 'instance.deregister', { service, id: 'a' })).toBe('not_owner');
});

test('[PI4] a declared set replaces the one before, as one on disk', async () => {
  const { registry, store } = await start();
  const client = new SimulatedClient(registry, 1);
  await ask(registry, client, 'instance.register', { service, instance: instance('own') });
  const declared = (await declare(registry, {
    description: 'Bills',
    defaultWeight: 10,
    instances: [instance('a'), instance('b', { weight: 3 })],
  })) as ServiceDeclaration;
  expect(declared).toMatchObject({ namespace: 'public', group: 'DEFAULT', service, description: 'Bills' });
  expect(declared.instances.map(({ id, weight }) => [id, weight])).toEqual([
    ['a', 10],
    ['b', 3],
  ]);
  store.failure = full;
  expect(await declare(registry, { instances: [instance('c')] })).toEqual(full);
  store.failure = undefined;
  expect(await registry.persistent.readDeclaration(service, {})).toEqual(declared);
  expect((await list(registry, client)).map(({ id }) => id).sort()).toEqual(['a', 'b', 'own']);
  await declare(registry, { owner: 'team', instances: [instance('b'), instance('c')] });
  expect((await list(registry, client)).map(({ id }) => id).sort()).toEqual(['b', 'c', 'own']);
  const withdrawn = registry.persistent.withdrawDeclaration(service, {});
  await registry.settle(random);
  expect(await withdrawn).toMatchObject({ owner: 'team' });
  expect(await list(registry, client)).toMatchObject([{ id: 'own' }]);
  expect(await registry.persistent.readDeclaration(service, {})).toMatchObject({ code: 'not_found' });
  expect(store.rows.size).toBe(0);
});

test('[PI4] a set that finds no room leaves all as it was, on disk too', async () => {
  const { registry, store } = await start({ instancesPerServiceMax: 3 });
  const client = new SimulatedClient(registry, 1);
  await declare(registry, { instances: [instance('a'), instance('b')] });
  const before = readRows(store);
  expect(
    await declare(registry, { owner: 'team', instances: ['b', 'c', 'd', 'e'].map((id) => instance(id)) }),
  ).toMatchObject({ code: 'limit_exceeded', limit: 'instancesPerServiceMax' });
  expect((await list(registry, client)).map(({ id }) => id).sort()).toEqual(['a', 'b']);
  expect(readRows(store)).toEqual(before);
  expect(await registry.persistent.readDeclaration(service, {})).not.toHaveProperty('owner');
});

test('[PI4] what cannot be taken back from the store at once is taken back with what is stored next', async () => {
  const { registry, store } = await start({ instancesPerServiceMax: 1 });
  const client = new SimulatedClient(registry, 1);
  await ask(registry, client, 'instance.register', { service, instance: instance('own') });
  const answered = client.request('instance.register', { service, instance: instance('a'), persistent: true });
  for (let steps = 0; store.rows.size === 0 && steps < 1000; steps++) if (!registry.step(random)) await runPromises();
  store.failure = full;
  await registry.settle(random);
  expect(answered.error?.data.code).toBe('internal');
  expect([...store.rows.keys()]).toEqual([`instances ${key}\na`]);
  store.failure = undefined;
  registry.persistent.tick(60_000);
  await registry.settle(random);
  expect(store.rows.size).toBe(0);
});

test('[PI1] what finds no room after a restart comes back when there is some', async () => {
  const first = await start();
  await declare(first.registry, { instances: ['a', 'b', 'c'].map((id) => instance(id)) });
  const { registry, store } = await start({ instancesPerServiceMax: 2 }, first.store);
  const client = new SimulatedClient(registry, 1);
  expect(await list(registry, client)).toHaveLength(2);
  expect(registry.troubles).toHaveLength(1);
  expect(await registry.persistent.readDeclaration(service, {})).toHaveProperty('instances.length', 3);
  await ask(registry, client, 'instance.deregister', { service, id: 'a', persistent: true });
  registry.persistent.tick(60_000);
  await registry.settle(random);
  expect((await list(registry, client)).map(({ id }) => id).sort()).toEqual(['b', 'c']);
  expect(store.rows.size).toBe(3);
});

test('[PI1] while the store cannot be read nothing is taken, and it is read later', async () => {
  const first = await start();
  await declare(first.registry, { instances: [instance('a')] });
  first.store.isUnreadable = true;
  const { registry, store } = await start({}, first.store);
  const client = new SimulatedClient(registry, 1);
  expect(await ask(registry, client, 'instance.register', { service, instance: instance('b'), persistent: true })).toBe(
    'storage_unavailable',
  );
  // What is not persistent is served.
  await ask(registry, client, 'instance.register', { service, instance: instance('own') });
  store.isUnreadable = false;
  registry.persistent.tick(60_000);
  await registry.settle(random);
  expect((await list(registry, client)).map(({ id }) => id).sort()).toEqual(['a', 'own']);
});

test('[PI5] a service is declared with the weight of what is registered without one, on every host', async () => {
  const { registry } = await start();
  const client = new SimulatedClient(registry, 1);
  await declare(registry, { defaultWeight: 42 });
  expect(await ask(registry, client, 'instance.register', { service, instance: instance('a') })).toMatchObject({
    weight: 42,
  });
  expect(
    await ask(registry, client, 'instance.register', { service, instance: instance('b', { weight: 100 }) }),
  ).not.toHaveProperty('weight');
  expect(
    await ask(registry, client, 'instance.register', { service, instance: instance('c'), persistent: true }),
  ).toMatchObject({ weight: 42 });
  expect((await list(registry, client)).map(({ id, weight }) => `${id} ${weight}`).sort()).toEqual([
    'a 42',
    'b 100',
    'c 42',
  ]);
  await declare(registry, {});
  expect(await ask(registry, client, 'instance.register', { service, instance: instance('d') })).not.toHaveProperty(
    'weight',
  );
});

test('[PI5] [SE2] a service is declared with the share of its instances that stays when many are lost', async () => {
  for (const [protectionThreshold, left] of [
    [0.8, 4],
    [0, 0],
  ] as const) {
    const { registry } = await start({ lossSessionsPercent: 101 });
    await declare(registry, { protectionThreshold });
    const reader = new SimulatedClient(registry, 1);
    const owners = ['a', 'b', 'c', 'd'].map((id) => {
      const owner = new SimulatedClient(registry, 1);
      owner.request('instance.register', { service, instance: instance(id) });
      return owner;
    });
    await registry.settle(random);
    for (const owner of owners) owner.leave(false);
    await registry.settle(random);
    expect(await list(registry, reader)).toHaveLength(left);
  }
});

test('[PI1] [LI1] what is persistent has bounds of its own', async () => {
  const { registry } = await start({ persistentInstancesMax: 2, declaredServicesMax: 1, registrationsMax: 1 });
  const client = new SimulatedClient(registry, 1);
  for (const id of ['a', 'b']) {
    await ask(registry, client, 'instance.register', { service, instance: instance(id), persistent: true });
  }
  const refused = client.request('instance.register', { service, instance: instance('c'), persistent: true });
  await registry.settle(random);
  expect(refused.error?.data).toMatchObject({ code: 'limit_exceeded', limit: 'persistentInstancesMax', max: 2 });
  // Room that was not used is there again.
  await ask(registry, client, 'instance.deregister', { service, id: 'a', persistent: true });
  expect(
    await ask(registry, client, 'instance.register', { service, instance: instance('c'), persistent: true }),
  ).toMatchObject({ id: 'c' });
  await declare(registry, { owner: 'one' });
  const more = registry.persistent.declareService('other', { owner: 'two' });
  await registry.settle(random);
  expect(await more).toMatchObject({ code: 'limit_exceeded', limit: 'declaredServicesMax', max: 1 });
});

test('[PI1] later calls of a session about the service wait for what it registers for good', async () => {
  const { registry } = await start();
  const client = new SimulatedClient(registry, 1);
  client.request('instance.register', { service, instance: instance('a'), persistent: true });
  client.request('instance.register', { service, instance: instance('a', { weight: 1 }), persistent: true });
  const seen = client.request('service.query', { service });
  client.request('instance.deregister', { service, id: 'a', persistent: true });
  const after = client.request('service.query', { service });
  await registry.settle(random);
  expect(seen.result).toMatchObject({ instances: [{ id: 'a', weight: 1 }] });
  expect(after.result).toMatchObject({ instances: [] });
});

/** Whatever their versions are. */
function readRows(store: MemoryStore): string[] {
  return [...store.rows].map(([name, { payload }]) => `${name} ${Buffer.from(payload).toString()}`).sort();
}
