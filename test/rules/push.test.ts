import { expect, test } from 'vitest';

import { slotOf } from '../../src/slots/slot.ts';
import { InProcessRegistry } from '../support/in-process-registry.ts';
import { Random } from '../support/random.ts';
import { SimulatedClient } from '../support/simulated-client.ts';
import type { Answered } from '../support/simulated-client.ts';
import type { SubscriberView } from '../support/subscriber-view.ts';

const random = new Random(1);

function deliver(registry: InProcessRegistry): Promise<void> {
  return registry.deliver(random);
}

function register(client: SimulatedClient, host: string, weight = 100): void {
  client.request('instance.register', { service: 'pay', instance: { host, port: 1, weight } });
}

async function setUp(
  config: Parameters<typeof InProcessRegistry.start>[0] = {},
): Promise<{ registry: InProcessRegistry; provider: SimulatedClient }> {
  const registry = await InProcessRegistry.start({ coalesceWindowMinMs: 20, ...config });
  return { registry, provider: new SimulatedClient(registry) };
}

async function subscribe(
  registry: InProcessRegistry,
  mode: 'delta' | 'snapshot' = 'delta',
  held?: SubscriberView,
): Promise<{ client: SimulatedClient; view: SubscriberView }> {
  const client = new SimulatedClient(registry);
  const view = client.subscribe('pay', mode, held);
  await deliver(registry);
  return { client, view };
}

test('[PU1] a late subscriber gets the full list with its version, and what it is told next chains', async () => {
  const { registry, provider } = await setUp();
  register(provider, 'a');
  register(provider, 'b');
  await registry.settle(random);
  const { view } = await subscribe(registry);
  expect([...view.instances.keys()]).toEqual(['a:1', 'b:1']);
  register(provider, 'c');
  await registry.settle(random);
  expect([...view.instances.keys()]).toEqual(['a:1', 'b:1', 'c:1']);
});

test('[PU1] a subscriber that comes in the middle of a window gets a chain of its own', async () => {
  const { registry, provider } = await setUp();
  const early = await subscribe(registry);
  register(provider, 'a');
  await deliver(registry);
  register(provider, 'b');
  await deliver(registry);
  const late = await subscribe(registry);
  expect([early.view.instances.size, late.view.instances.size]).toEqual([1, 2]);
  register(provider, 'c');
  await registry.settle(random);
  expect([early.view.instances.size, late.view.instances.size]).toEqual([3, 3]);
  expect(late.view.version).toBe(early.view.version);
});

test('[PU1] one that was shown a state inside a window is told when it is taken back', async () => {
  const { registry, provider } = await setUp();
  await subscribe(registry);
  register(provider, 'a');
  await deliver(registry);
  register(provider, 'b');
  await deliver(registry);
  const late = await subscribe(registry);
  expect(late.view.instances.size).toBe(2);
  provider.request('instance.deregister', { service: 'pay', id: 'b:1' });
  await registry.settle(random);
  expect([...late.view.instances.keys()]).toEqual(['a:1']);
});

test('[PU1] a client resumes from the version that it held, and is sent only what changed', async () => {
  const { registry, provider } = await setUp();
  register(provider, 'a');
  register(provider, 'b');
  const { client, view } = await subscribe(registry);
  await registry.settle(random);
  client.leave(false);
  register(provider, 'c');
  provider.request('instance.deregister', { service: 'pay', id: 'a:1' });
  await registry.settle(random);
  const back = new SimulatedClient(registry);
  const resumed = back.subscribe('pay', 'delta', view);
  await registry.settle(random);
  expect(back.requests.get(1)?.result).toMatchObject({ from: view.version, put: [{ id: 'c:1' }], remove: ['a:1'] });
  expect([...resumed.instances.keys()]).toEqual(['b:1', 'c:1']);
});

test.each([
  ['too old', (version: number) => version - 1_000_000],
  ['from the future', (version: number) => version + 1_000_000],
])('[PU1] a version %s is answered with a snapshot', async (_, change) => {
  const { registry, provider } = await setUp();
  register(provider, 'a');
  const { view } = await subscribe(registry);
  const client = new SimulatedClient(registry);
  const answer = client.request('service.subscribe', { service: 'pay', version: change(view.version) });
  await deliver(registry);
  expect(answer.result).toMatchObject({ instances: [{ id: 'a:1' }] });
  // PU5: nobody is told a version that is not above what it holds.
  const least = Math.max(view.version, change(view.version) + 1);
  expect((answer.result as { version: number }).version).toBeGreaterThanOrEqual(least);
});

test('[PU2] the first change after quiet is pushed at once; those inside the window are merged into one', async () => {
  const { registry, provider } = await setUp();
  const { client, view } = await subscribe(registry);
  register(provider, 'a');
  await deliver(registry);
  expect(client.notifications).toBe(1);
  for (const host of ['b', 'c', 'd', 'e']) {
    register(provider, host);
    await deliver(registry);
    registry.advance(3);
    await deliver(registry);
  }
  expect(client.notifications).toBe(1);
  registry.advance(20);
  await deliver(registry);
  expect(client.notifications).toBe(2);
  expect(view.instances.size).toBe(5);
});

test('[PU2] changes that cancel out within a window are not told', async () => {
  const { registry, provider } = await setUp();
  const { client } = await subscribe(registry);
  register(provider, 'a');
  await deliver(registry);
  register(provider, 'b');
  await deliver(registry);
  provider.request('instance.deregister', { service: 'pay', id: 'b:1' });
  await registry.settle(random);
  expect(client.notifications).toBe(1);
});

test('[PU3] a push is encoded once for each variant, whatever the number of subscribers', async () => {
  const { registry, provider } = await setUp();
  for (let count = 0; count < 40; count++) await subscribe(registry, count % 2 === 0 ? 'delta' : 'snapshot');
  await registry.settle(random);
  const encodedBefore = registry.core.framesEncoded;
  register(provider, 'a');
  await registry.settle(random);
  expect(registry.core.framesEncoded - encodedBefore).toBe(2);
});

function registerIn(client: SimulatedClient, host: string, zone: string): void {
  client.request('instance.register', { service: 'pay', instance: { host, port: 1, zone } });
}

test('[PU1] with a filter the list is what it lets through, and what it lets through no more is removed', async () => {
  const { registry, provider } = await setUp();
  registerIn(provider, 'a', 'z1');
  registerIn(provider, 'b', 'z2');
  await registry.settle(random);
  const client = new SimulatedClient(registry);
  const view = client.subscribe('pay', 'delta', undefined, { zone: 'z1' });
  await registry.settle(random);
  expect([...view.instances.keys()]).toEqual(['a:1']);
  registerIn(provider, 'a', 'z2');
  await registry.settle(random);
  expect([...view.instances.keys()]).toEqual([]);
  registerIn(provider, 'b', 'z1');
  await registry.settle(random);
  expect([...view.instances.keys()]).toEqual(['b:1']);
});

test('[PU1] nothing is pushed to those whose filter lets none of the changes through', async () => {
  const { registry, provider } = await setUp();
  const client = new SimulatedClient(registry);
  client.subscribe('pay', 'delta', undefined, { zone: 'z1' });
  client.subscribe('pay', 'snapshot', undefined, { zone: 'z1' });
  await registry.settle(random);
  registerIn(provider, 'a', 'z2');
  await registry.settle(random);
  expect(client.notifications).toBe(0);
});

test('[PU1] a session that subscribes again with another filter is answered with the whole list of that one, whatever version it names', async () => {
  const { registry, provider } = await setUp();
  registerIn(provider, 'a', 'z1');
  registerIn(provider, 'b', 'z2');
  await registry.settle(random);
  const client = new SimulatedClient(registry);
  const first = client.subscribe('pay', 'delta', undefined, { zone: 'z1' });
  await registry.settle(random);
  const again = client.request('service.subscribe', { service: 'pay', zone: 'z2', version: first.version });
  await registry.settle(random);
  expect(again.result).toMatchObject({ instances: [{ id: 'b:1' }] });
  const same = client.request('service.subscribe', { service: 'pay', zone: 'z2', version: first.version });
  await registry.settle(random);
  expect(same.result).toMatchObject({ from: first.version, put: [], remove: [] });
});

test('[PU1] so it is if the subscription with the other filter has not been answered yet, and only if it is to the same service', async () => {
  const { registry, provider } = await setUp();
  registerIn(provider, 'a', 'z1');
  registerIn(provider, 'b', 'z2');
  await registry.settle(random);
  const { view } = await subscribe(registry);
  const { version } = view;
  const ask = (client: SimulatedClient, service: string, zone?: string): Answered =>
    client.request('service.subscribe', { service, version, ...(zone === undefined ? {} : { zone }) });
  const whole = { instances: [{ id: 'b:1' }] };
  const resumed = { from: version, put: [], remove: [] };
  // While their slots are frozen, requests of one session about one service wait beside each other.
  const slots = [slotOf('public/DEFAULT/pay'), slotOf('public/DEFAULT/ship')];
  const { gate } = registry.router;
  gate.freeze(slots);
  const results = async (...answers: Answered[]): Promise<unknown[]> => {
    gate.thaw(slots);
    await registry.settle(random);
    gate.freeze(slots);
    return answers.map(({ result }) => result);
  };
  const [one, two, three] = Array.from({ length: 3 }, () => new SimulatedClient(registry)) as [
    SimulatedClient,
    SimulatedClient,
    SimulatedClient,
  ];
  expect(await results(ask(one, 'pay', 'z1'), ask(one, 'pay', 'z2'))).toMatchObject([resumed, whole]);
  expect(await results(ask(two, 'ship', 'z1'), ask(two, 'pay', 'z2'))).toMatchObject([{ instances: [] }, resumed]);
  expect(await results(ask(three, 'pay', 'z2'), ask(three, 'pay', 'z2'))).toMatchObject([resumed, resumed]);
  // What another service is subscribed with matters as little once it has begun.
  expect(await results(ask(two, 'pay', 'z2'), ask(three, 'ship'))).toMatchObject([resumed, { instances: [] }]);
});

test('[PU1] of subscriptions to one service that a session asks for at once, the last one holds', async () => {
  const { registry, provider } = await setUp();
  const client = new SimulatedClient(registry);
  client.subscribe('pay', 'delta', undefined, { zone: 'z1' });
  const view = client.subscribe('pay', 'snapshot', undefined, { zone: 'z2' });
  await registry.settle(random);
  registerIn(provider, 'a', 'z1');
  registerIn(provider, 'b', 'z2');
  await registry.settle(random);
  expect([...view.instances.keys()]).toEqual(['b:1']);
  expect(registry.core.watched(() => true).map(({ variant }) => variant)).toEqual(['snapshot{"zone":"z2"}']);
});

test('[PU3] those with one filter get one encoding, once they have been brought to one version', async () => {
  const { registry, provider } = await setUp();
  for (let count = 0; count < 20; count++) {
    new SimulatedClient(registry).subscribe('pay', 'delta', undefined, { zone: 'z1' });
    // They begin at different versions, since others than theirs change.
    registerIn(provider, `other${count}`, 'z2');
    await registry.settle(random);
  }
  const encodings = [];
  for (let round = 0; round < 2; round++) {
    const before = registry.core.framesEncoded;
    registerIn(provider, `own${round}`, 'z1');
    await registry.settle(random);
    encodings.push(registry.core.framesEncoded - before);
  }
  expect(encodings).toEqual([20, 1]);
});

function registerLarge(client: SimulatedClient, port: number): void {
  const metadata = { note: 'x'.repeat(8000) };
  client.request('instance.register', { service: 'large', instance: { host: 'h', port, metadata } });
}

/** A registry whose slices hold one list of the service `large`, and clients who note what they are sent in one list. */
async function setUpLarge(
  clients: number,
): Promise<{ registry: InProcessRegistry; provider: SimulatedClient; crowd: SimulatedClient[]; heard: string[] }> {
  const { registry, provider } = await setUp({
    partitions: 2,
    fanOutSliceBytes: 20_000,
    partitionTurnWorkMax: 1_000_000,
    answerCharactersInFlightMax: 1_000_000,
  });
  const heard: string[] = [];
  const crowd = Array.from({ length: clients }, () => {
    const client = new SimulatedClient(registry);
    client.listener = {
      onAnswer: ({ method }) => {
        heard.push(method);
      },
      onChange: (key) => {
        heard.push(key);
      },
      onGone: () => undefined,
    };
    return client;
  });
  for (let port = 1; port <= 3; port++) registerLarge(provider, port);
  await registry.settle(random);
  return { registry, provider, crowd, heard };
}

async function stepUntil(registry: InProcessRegistry, isSo: () => boolean): Promise<void> {
  for (let steps = 0; !isSo(); steps++) {
    if (steps > 10_000) throw new Error('it did not come to that');
    if (!registry.step(random)) await Promise.resolve();
  }
}

test('[PU3] while a large list is sent to its audience, others hear of their services', async () => {
  const { registry, provider, crowd, heard } = await setUpLarge(60);
  const [first, ...others] = crowd;
  first!.subscribe('pay');
  for (const client of others) client.subscribe('large', 'snapshot');
  await registry.settle(random);
  heard.splice(0);
  registerLarge(provider, 4);
  await stepUntil(registry, () => heard.length > 0);
  expect(heard).toEqual(['public/DEFAULT/large']);
  register(provider, 'a');
  await registry.settle(random);
  expect(heard).toHaveLength(60);
  expect(heard.indexOf('public/DEFAULT/pay')).toBeLessThan(30);
  expect(others.every(({ views }) => views.get('public/DEFAULT/large')?.instances.size === 4)).toBe(true);
});

test('[PU3, LI1] a slice of a fan-out ends after fanOutSliceMembers sends, and others hear of their services', async () => {
  const { registry, provider } = await setUp({ fanOutSliceMembers: 5 });
  const heard: string[] = [];
  const crowd = Array.from({ length: 200 }, () => new SimulatedClient(registry));
  for (const client of crowd) {
    client.subscribe(client === crowd[0] ? 'ship' : 'pay');
    client.listener = { onAnswer: () => undefined, onChange: (key) => heard.push(key), onGone: () => undefined };
  }
  await registry.settle(random);
  heard.splice(0);
  register(provider, 'a');
  await stepUntil(registry, () => heard.length > 0);
  expect(heard).toHaveLength(5);
  provider.request('instance.register', { service: 'ship', instance: { host: 'h', port: 1 } });
  await registry.settle(random);
  expect(heard).toHaveLength(200);
  expect(heard.indexOf('public/DEFAULT/ship')).toBeLessThan(150);
});

test('[PU3] while many are answered with a large list, others are answered; and a push does not overtake the answer that waits', async () => {
  const { registry, provider, crowd, heard } = await setUpLarge(60);
  const [first, ...others] = crowd;
  const views = others.map((client) => client.subscribe('large'));
  await stepUntil(registry, () => heard.length > 0);
  expect(heard).toEqual(['service.subscribe']);
  first!.request('service.query', { service: 'pay' });
  registerLarge(provider, 4);
  await registry.settle(random);
  expect(heard.indexOf('service.query')).toBeLessThan(30);
  // Views throw when what comes does not follow from what they hold.
  expect(views.every(({ instances }) => instances.size === 4)).toBe(true);
});

test('[PU4] an answer that waits for its turn and then does not fit closes the session', async () => {
  const { registry, provider, crowd, heard } = await setUpLarge(20);
  const slow = new SimulatedClient(registry, 1);
  slow.isReading = false;
  slow.request('service.query', { service: 'pay' });
  await registry.settle(random);
  for (const client of [...crowd, slow]) client.subscribe('large');
  await stepUntil(registry, () => heard.length > 0);
  expect(slow.closed).toBeUndefined();
  registerLarge(provider, 4);
  await registry.settle(random);
  expect(slow.closed).toBe('slow_consumer');
  expect(crowd.every(({ views }) => views.get('public/DEFAULT/large')?.instances.size === 4)).toBe(true);
});

test('[PU1] a snapshot subscriber gets the whole list with each change', async () => {
  const { registry, provider } = await setUp();
  register(provider, 'a');
  const { view } = await subscribe(registry, 'snapshot');
  register(provider, 'b');
  await registry.settle(random);
  expect([...view.instances.keys()]).toEqual(['a:1', 'b:1']);
  expect(view.pushes).toBe(1);
});

test('[PU4] one who does not read is dropped from, keeps to bounded memory, and has the latest state when it reads again', async () => {
  const { registry, provider } = await setUp();
  const slow = new SimulatedClient(registry, 3);
  const view = slow.subscribe('pay');
  await deliver(registry);
  const { client: healthy } = await subscribe(registry);
  slow.isReading = false;
  for (let round = 0; round < 20; round++) {
    register(provider, 'a', round);
    registry.advance(50);
    await deliver(registry);
  }
  expect(healthy.notifications).toBe(20);
  expect(registry.counters.snapshot()['push_dropped']).toBe(1);
  slow.resume();
  await registry.settle(random);
  expect(view.instances.get('a:1')?.weight).toBe(19);
  expect(slow.notifications).toBe(4);
});

test('[PU4] an answer that does not fit closes the session rather than getting lost', async () => {
  const { registry } = await setUp();
  const slow = new SimulatedClient(registry, 2);
  slow.isReading = false;
  for (let count = 0; count < 3; count++) slow.request('service.query', { service: 'pay' });
  await deliver(registry);
  expect(slow.closed).toBe('slow_consumer');
});

test('[PU4] one who has been sent too much gets no push until its pong, and a silent one is told why it is closed', async () => {
  const { registry, provider } = await setUp({ sessionUnconsumedBytesMax: 1024, slowConsumerTimeoutMs: 600_000 });
  const readers = await Promise.all([subscribe(registry), subscribe(registry)]);
  for (const { client } of readers) client.isReading = false;
  for (let round = 0; round < 20; round++) {
    register(provider, 'a', round);
    registry.advance(50);
    await deliver(registry);
  }
  expect(registry.counters.snapshot()).toMatchObject({ session_conflated: 2, push_dropped: 2 });
  const [{ client: back, view }, { client: silent }] = readers;
  back.resume();
  await registry.settle(random);
  expect(view.instances.get('a:1')?.weight).toBe(19);
  expect(back.notifications).toBeLessThan(10);
  for (let passed = 0; passed <= registry.config.heartbeatTimeoutMs; passed += 100) registry.advance(100);
  expect(silent.closed).toBe('slow_consumer');
  expect(back.closed).toBeUndefined();
});

test('[PU5] a registry that is stopping tells nobody that others have gone', async () => {
  const { registry, provider } = await setUp();
  register(provider, 'a');
  const { client, view } = await subscribe(registry);
  await registry.settle(random);
  registry.core.drain('stopping');
  provider.leave(true);
  await registry.settle(random);
  expect([...view.instances.keys()]).toEqual(['a:1']);
  expect(client.notifications).toBe(0);
});
