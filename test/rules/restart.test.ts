import { afterEach, expect, test, vi } from 'vitest';

import type { InstanceFilter } from '../../src/protocol/types.ts';
import { WarmUp } from '../../src/sessions/warm-up.ts';
import { ServiceRecord } from '../../src/store/service-record.ts';
import { InProcessRegistry } from '../support/in-process-registry.ts';
import { Random } from '../support/random.ts';
import { runRestarts } from '../support/restart-history.ts';
import { SimulatedClient } from '../support/simulated-client.ts';
import { SubscriberView } from '../support/subscriber-view.ts';

const random = new Random(1);

afterEach(() => {
  vi.restoreAllMocks();
});

function countFrom(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

function register(client: SimulatedClient, host: string, content: object = {}): void {
  client.request('instance.register', { service: 'pay', instance: { host, port: 1, ...content } });
}

/** What somebody holds who was there before: a version that this registry never gave. */
function hold(registry: InProcessRegistry, ids: readonly string[], filter: InstanceFilter = {}): SubscriberView {
  const view = new SubscriberView(filter);
  view.version = registry.clock().wallMicros - 5_000_000;
  for (const id of ids) view.instances.set(id, { id, host: 'before', port: 1, weight: 100, enabled: true });
  return view;
}

async function pass(registry: InProcessRegistry, ms: number): Promise<void> {
  for (let left = ms; left > 0; left -= 50) {
    registry.advance(Math.min(left, 50));
    await registry.deliver(random);
  }
}

const idsOf = (view: SubscriberView | undefined): string[] => [...(view?.instances.keys() ?? [])].sort();

test('[PU5] after a restart, who resumes from before goes on with what it knows until the others have had the time', async () => {
  const registry = await InProcessRegistry.start({ warmUpMs: 1000 });
  const client = new SimulatedClient(registry);
  const held = hold(registry, ['a:1', 'b:1']);
  client.isCounting = false;
  client.subscribe('pay', 'delta', held);
  await registry.deliver(random);
  const { version } = held;
  expect(client.requests.get(1)?.result).toEqual({ from: version, version, put: [], remove: [], warming: true });
  register(new SimulatedClient(registry), 'a');
  await pass(registry, 950);
  expect(client.notifications).toBe(0);
  expect(idsOf(client.views.get('public/DEFAULT/pay'))).toEqual(['a:1', 'b:1']);
  await pass(registry, 100);
  expect(client.notifications).toBe(1);
  expect(idsOf(client.views.get('public/DEFAULT/pay'))).toEqual(['a:1']);
  // And from there on it is told of changes like everybody.
  register(new SimulatedClient(registry), 'c');
  await pass(registry, 300);
  expect(idsOf(client.views.get('public/DEFAULT/pay'))).toEqual(['a:1', 'c:1']);
});

test('[PU5] lists say that they are filling as long as they are, and who comes anew gets them as they are', async () => {
  const registry = await InProcessRegistry.start({ warmUpMs: 1000 });
  register(new SimulatedClient(registry), 'a');
  await registry.deliver(random);
  const client = new SimulatedClient(registry);
  const ask = async (): Promise<unknown[]> => {
    const answers = [
      client.request('service.query', { service: 'pay' }),
      client.request('service.subscribe', { service: 'pay' }),
      new SimulatedClient(registry).request('session.open', { client: 'test' }),
    ];
    await registry.deliver(random);
    return answers.map(({ result }) => (result as { warming?: boolean }).warming);
  };
  expect(await ask()).toEqual([true, true, true]);
  expect(idsOf(client.views.get('public/DEFAULT/pay'))).toEqual([]);
  await pass(registry, 1100);
  expect(await ask()).toEqual([undefined, undefined, false]);
  // One that comes later still gets the list as it is.
  const late = new SimulatedClient(registry);
  const view = late.subscribe('pay', 'delta', hold(registry, ['a:1', 'b:1']));
  await registry.deliver(random);
  expect(idsOf(view)).toEqual(['a:1']);
});

test('[PU5] a service is warm as soon as so many are back as one of its subscribers held', async () => {
  const registry = await InProcessRegistry.start({ warmUpMs: 10_000 });
  const clients = [3, 2].map((count) => {
    const client = new SimulatedClient(registry);
    client.subscribe('pay', 'delta', hold(registry, ['a:1', 'b:1', 'c:1'].slice(0, count)));
    return client;
  });
  const filtered = new SimulatedClient(registry);
  filtered.subscribe('pay', 'delta', hold(registry, ['a:1'], { zone: 'z1' }));
  const provider = new SimulatedClient(registry);
  register(provider, 'b', { zone: 'z2' });
  register(provider, 'c', { zone: 'z2' });
  await pass(registry, 500);
  expect([...clients, filtered].map(({ notifications }) => notifications)).toEqual([0, 0, 0]);
  register(provider, 'a', { zone: 'z1' });
  await pass(registry, 500);
  expect([...clients, filtered].map(({ notifications }) => notifications)).toEqual([1, 1, 1]);
  expect([...clients, filtered].map(({ views }) => views.get('public/DEFAULT/pay')?.instances.size)).toEqual([3, 3, 1]);
  expect(registry.core.subscriptionsWarming).toBe(0);
  // Who comes now gets the list at once, and it does not say that it is filling; nor does one that holds an empty list wait.
  const late = new SimulatedClient(registry);
  const resumed = late.subscribe('pay', 'delta', hold(registry, ['a:1', 'b:1', 'c:1']));
  late.request('service.subscribe', { service: 'none', version: hold(registry, []).version, count: 0 });
  await registry.deliver(random);
  expect(idsOf(resumed)).toEqual(['a:1', 'b:1', 'c:1']);
  for (const { result } of late.requests.values()) {
    expect(result).toHaveProperty('instances');
    expect(result).not.toHaveProperty('warming');
  }
});

test('[PU5] a version of this life is resumed from as always, though the registry is warming', async () => {
  const registry = await InProcessRegistry.start({ warmUpMs: 10_000 });
  const provider = new SimulatedClient(registry);
  register(provider, 'a');
  await registry.settle(random);
  const view = new SimulatedClient(registry).subscribe('pay');
  await registry.deliver(random);
  register(provider, 'b');
  await registry.settle(random);
  const back = new SimulatedClient(registry);
  const resumed = back.subscribe('pay', 'delta', view);
  await registry.deliver(random);
  expect(idsOf(resumed)).toEqual(['a:1', 'b:1']);
  expect(registry.core.subscriptionsWarming).toBe(0);
});

test('[PU5] what one connection asks of a service holds in its order, whatever waits for the warm-up', async () => {
  let waits = 0;
  for (const seed of countFrom(1, 150)) {
    const draw = new Random(seed);
    const registry = await InProcessRegistry.start({ warmUpMs: 1000, partitions: 1 + draw.below(2) });
    const provider = new SimulatedClient(registry);
    for (const [host, zone] of [
      ['a', 'z1'],
      ['b', 'z2'],
      ['c', 'z1'],
    ] as const)
      register(provider, host, { zone });
    const client = new SimulatedClient(registry);
    let last: { readonly filter: InstanceFilter; readonly mode: 'delta' | 'snapshot' } | undefined;
    const frames: object[] = [];
    for (let acts = 1 + draw.below(6); acts > 0; acts--) {
      const filter = draw.pick<InstanceFilter>([{}, {}, { zone: 'z1' }]);
      const mode = draw.pick(['delta', 'snapshot'] as const);
      const { version } = hold(registry, []);
      const resume = draw.pick([{}, { version }, { version, count: 2 }, { version, count: 99 }]);
      const isLeaving = draw.below(4) === 0;
      last = isLeaving ? undefined : { filter, mode };
      frames.push({
        jsonrpc: '2.0',
        id: frames.length + 1,
        method: isLeaving ? 'service.unsubscribe' : 'service.subscribe',
        params: isLeaving ? { service: 'pay' } : { service: 'pay', mode, ...filter, ...resume },
      });
    }
    const told: { params: { snapshot?: true; count: number } }[] = [];
    const answers: { id: number; result: object }[] = [];
    client.send = (frame) => {
      const message = JSON.parse(String(frame)) as object;
      if ('method' in message) told.push(message as object as (typeof told)[number]);
      else answers.push(...([message].flat() as typeof answers));
      return 'sent';
    };
    if (draw.below(2) === 0) registry.core.receive(client.session, JSON.stringify(frames));
    else {
      for (const frame of frames) {
        registry.core.receive(client.session, JSON.stringify(frame));
        for (let left = draw.below(8); left > 0; left--) registry.step(draw);
      }
    }
    await pass(registry, 500);
    expect(answers.map(({ id }) => id).sort((a, b) => a - b)).toEqual(frames.map((_, i) => i + 1));
    waits += answers.filter(({ result }) => 'from' in result).length;
    await pass(registry, 1000);
    told.length = 0;
    register(provider, 'd', { zone: 'z1' });
    await pass(registry, 500);
    const size = last?.filter.zone === undefined ? 4 : 3;
    const expected = last === undefined ? [] : [{ count: size, isSnapshot: last.mode === 'snapshot' }];
    expect(
      told.map(({ params }) => ({ count: params.count, isSnapshot: params.snapshot === true })),
      `seed ${seed}`,
    ).toEqual(expected);
    expect(registry.core.subscriptionsWarming).toBe(0);
  }
  expect(waits).toBeGreaterThan(100);
});

test('[PU5] a subscription that waits ends with its connection', async () => {
  const registry = await InProcessRegistry.start({ warmUpMs: 1000 });
  const client = new SimulatedClient(registry);
  const held = client.subscribe('pay', 'delta', hold(registry, ['a:1']));
  await registry.deliver(random);
  expect(registry.core.subscriptionsWarming).toBe(1);
  client.leave(false);
  expect(registry.core.subscriptionsWarming).toBe(0);
  const again = new SimulatedClient(registry);
  again.subscribe('pay', 'delta', held);
  register(again, 'a');
  await pass(registry, 1200);
  expect([client.notifications, again.notifications]).toEqual([0, 1]);
});

test('[PU5] [LI1] a subscription that waits counts as one, and however many wait, few lists are asked for at a time', async () => {
  const registry = await InProcessRegistry.start({ warmUpMs: 1000, subscriptionsMax: 1500, fanOutSliceMembers: 50 });
  const client = new SimulatedClient(registry);
  client.isCounting = false;
  for (const i of countFrom(0, 1500)) client.subscribe(`service-${i}`, 'delta', hold(registry, ['a:1']));
  await registry.deliver(random);
  const { version } = hold(registry, []);
  const more = client.request('service.subscribe', { service: 'more', version });
  expect(more.error?.data).toMatchObject({ code: 'limit_exceeded', limit: 'subscriptionsMax' });
  const crowd = countFrom(0, 400).map(() => new SimulatedClient(registry));
  for (const one of crowd) one.subscribe('service-0', 'snapshot', hold(registry, ['a:1']));
  await registry.deliver(random);
  expect(registry.core.subscriptionsWarming).toBe(1900);
  const framesBefore = registry.core.framesEncoded;
  for (let passed = 0; passed < 1000; passed += 50) registry.advance(50);
  const sum = (): number => [client, ...crowd].reduce((total, { notifications }) => total + notifications, 0);
  let most = 0;
  let mostAtOnce = 0;
  for (let before = sum(), isBusy = true; isBusy; before = sum()) {
    isBusy = registry.step(random);
    most = Math.max(most, registry.core.requestsInFlight);
    mostAtOnce = Math.max(mostAtOnce, sum() - before);
  }
  expect(sum()).toBe(1900);
  expect(most).toBeLessThanOrEqual(32);
  expect(mostAtOnce).toBeLessThanOrEqual(50);
  // PU3: one text for all who waited for a service.
  expect(registry.core.framesEncoded - framesBefore).toBe(1501);
});

test('[PU5] a version told by a clock that was ahead is never told again, once a client has shown it', async () => {
  const registry = await InProcessRegistry.start({ warmUpMs: 1000, partitions: 3 }, 2);
  const [first, second] = registry.hosts.map(({ core }) => new SimulatedClient(registry, undefined, core));
  const services = countFrom(0, 12).map((i) => `service-${i}`);
  for (const service of services) first!.request('instance.register', { service, instance: { host: 'a', port: 1 } });
  await registry.deliver(random);
  const version = registry.clock().wallMicros + 3_600_000_000;
  second!.request('service.subscribe', { service: 'service-3', version, count: 1 });
  await registry.deliver(random);
  const told = [...services, 'unknown'].flatMap((service) => [
    first!.request('service.query', { service }),
    first!.request('instance.register', { service, instance: { host: 'a', port: 1 } }),
    first!.request('instance.register', { service, instance: { host: 'b', port: 1 } }),
    first!.request('instance.deregister', { service, id: 'b:1' }),
  ]);
  await registry.deliver(random);
  for (const { result } of told) expect((result as { version: number }).version).toBeGreaterThan(version);
  // A partition that begins anew, and one that comes, know it as well.
  for (const partition of registry.partitions) partition.die(random);
  await registry.settle(random);
  void registry.migrator.resize(5);
  await registry.settle(random);
  const again = [...services, 'new'].map((service) => second!.request('service.query', { service }));
  await registry.deliver(random);
  for (const { result } of again) expect((result as { version: number }).version).toBeGreaterThan(version);
});

test('[LI1] a version from beyond all clocks is not gone on from, and is counted', async () => {
  const registry = await InProcessRegistry.start({ warmUpMs: 1000 });
  const client = new SimulatedClient(registry);
  const far = client.request('service.subscribe', { service: 'pay', version: Number.MAX_SAFE_INTEGER, count: 5 });
  await registry.deliver(random);
  expect(far.result).toMatchObject({ instances: [], warming: true });
  expect((far.result as { version: number }).version).toBeLessThan(2 ** 51);
  expect(registry.counters.snapshot()['held_version_ignored']).toBe(1);
  const most = client.request('service.subscribe', { service: 'pay', version: 2 ** 52, count: 0 });
  await registry.deliver(random);
  expect((most.result as { version: number }).version).toBeGreaterThan(2 ** 52);
  expect((most.result as { version: number }).version).toBeLessThan(2 ** 52 + 2_000_000);
  expect(registry.counters.snapshot()['held_version_ignored']).toBe(1);
});

test('[PU5] [PU1] whoever was there before loses nothing that comes back, and no version goes back, however often the registry restarts', async () => {
  const total = await runRestarts(countFrom(1, 30), { kills: false, moves: false });
  expect(total.waits).toBeGreaterThan(150);
  expect(total.looks).toBeGreaterThan(500);
  expect(total.versions).toBeGreaterThan(100);
});

test('[PU5] [RE1] [SL3] the same holds while partitions die and slots move', async () => {
  const total = await runRestarts(countFrom(1001, 20), { kills: true, moves: true });
  expect(total.waits).toBeGreaterThan(100);
});

test('a registry that does not wait, or goes on below what clients were told, is found out by these histories', async () => {
  const faults = { kills: false, moves: false };
  vi.spyOn(WarmUp.prototype, 'isOver', 'get').mockReturnValue(true);
  await expect(runRestarts(countFrom(1, 20), faults)).rejects.toThrow(/\[PU5\]/);
  vi.restoreAllMocks();
  vi.spyOn(ServiceRecord.prototype, 'raise').mockReturnValue(undefined);
  await expect(runRestarts(countFrom(1, 20), faults)).rejects.toThrow(/version/);
});
