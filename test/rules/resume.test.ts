import { describe, expect, test } from 'vitest';

import { RegistrationDigest } from '../../src/protocol/registration-digest.ts';
import type { RegistrationsResult, SessionOpenResult } from '../../src/protocol/types.ts';
import { InProcessRegistry, runPromises } from '../support/in-process-registry.ts';
import { Random } from '../support/random.ts';
import { SimulatedClient } from '../support/simulated-client.ts';
import type { Answered } from '../support/simulated-client.ts';

const random = new Random(1);
const graceMs = 1000;

interface Stage {
  readonly registry: InProcessRegistry;
  /** Subscribes to `pay`. */
  readonly watcher: SimulatedClient;
  /** Has registered `pay` a and b, and `ship` a. */
  readonly first: SimulatedClient;
  readonly secret: string;
  /** A client that comes back. */
  readonly come: () => SimulatedClient;
}

interface Place {
  readonly name: string;
  readonly hosts: number;
  /** By number, where the client was, and where it comes back. */
  readonly from: number;
  readonly to: number;
}

const places: readonly Place[] = [
  { name: 'on the same host', hosts: 1, from: 0, to: 0 },
  { name: 'from the main thread to another', hosts: 2, from: 0, to: 1 },
  { name: 'from another thread to the main one', hosts: 2, from: 1, to: 0 },
  { name: 'between two other threads', hosts: 3, from: 1, to: 2 },
];

function word(service: string, id: string, weight = 100): object {
  return { service, instance: { id, host: 'h', port: 1, weight } };
}

function register(client: SimulatedClient, service: string, id: string, weight?: number): Answered {
  return client.request('instance.register', word(service, id, weight) as never);
}

/** The canonical JSON that `word` comes to. */
function encodeFragment(id: string, weight = 100): string {
  return JSON.stringify({ id, host: 'h', port: 1, weight, enabled: true });
}

function digestOf(list: readonly (readonly [service: string, id: string])[]): string {
  const digest = new RegistrationDigest();
  for (const [service, id] of list) digest.add(`public/DEFAULT/${service}`, encodeFragment(id));
  return digest.toString();
}

/** What partitions have of a session. */
function heldBy({ partitions }: InProcessRegistry, { session }: SimulatedClient): string[] {
  const held = partitions.flatMap(({ core }) => core?.describeInstances() ?? []);
  return held.filter((text) => text.split(' ')[3] === String(session.number));
}

/** What a host says to partitions is on its way until what this returns is called. */
function stopMailboxes({ partitions }: InProcessRegistry, host: number): () => void {
  const stopped = partitions.flatMap(({ mailboxes }) => mailboxes.filter((mailbox) => mailbox.host === host));
  const batches = stopped.map((mailbox) => mailbox.inbox.splice(0));
  stopped.forEach((mailbox, i) => {
    mailbox.postMessage = (batch) => {
      batches[i]!.push(structuredClone(batch));
    };
  });
  return () => {
    stopped.forEach((mailbox, i) => {
      mailbox.inbox.push(...batches[i]!);
      Reflect.deleteProperty(mailbox, 'postMessage');
    });
  };
}

async function setUp(
  { hosts, from, to }: Omit<Place, 'name'>,
  config: Parameters<typeof InProcessRegistry.start>[0] = {},
): Promise<Stage> {
  const registry = await InProcessRegistry.start({ disconnectGraceMs: graceMs, ...config }, hosts);
  const watcher = new SimulatedClient(registry);
  watcher.subscribe('pay');
  await registry.deliver(random);
  const first = new SimulatedClient(registry, undefined, registry.hosts[from]!.core);
  const opened = first.open();
  register(first, 'pay', 'a');
  register(first, 'pay', 'b');
  register(first, 'ship', 'a');
  await registry.settle(random);
  const { secret } = opened.result as Required<SessionOpenResult>;
  const come = (): SimulatedClient => new SimulatedClient(registry, undefined, registry.hosts[to]!.core);
  return { registry, watcher, first, secret, come };
}

const held = [
  ['pay', 'a'],
  ['pay', 'b'],
  ['ship', 'a'],
] as const;

function readHeld(watcher: SimulatedClient): string[] {
  return [...watcher.views.get('public/DEFAULT/pay')!.instances.keys()].sort();
}

function resumedOf({ result }: Answered): SessionOpenResult['resumed'] {
  return (result as SessionOpenResult | undefined)?.resumed;
}

async function pass(registry: InProcessRegistry, ms: number): Promise<void> {
  for (let waited = 0; waited < ms; waited += 50) {
    registry.advance(50);
    await registry.deliver(random);
  }
}

describe.each(places)('$name', (place) => {
  test('[SE8] who comes back with the secret has all that it registered, and nobody else hears of it', async () => {
    const { registry, watcher, first, secret, come } = await setUp(place);
    const told = watcher.notifications;
    const requests = registry.nextRequest(0);
    first.leave(false);
    const second = come();
    const opened = second.open(secret);
    await registry.deliver(random);
    expect(resumedOf(opened)).toEqual({ registrations: 3, digest: digestOf(held) });
    expect((opened.result as SessionOpenResult).secret).toBe(secret);
    // Partitions are asked nothing.
    expect(registry.nextRequest(0)).toBe(requests + 1);
    await pass(registry, 3 * graceMs);
    expect(readHeld(watcher)).toEqual(['a', 'b']);
    expect(watcher.notifications).toBe(told);
  });

  test('[SE8] it is the same session: what it registered it may change, take away, and leave with', async () => {
    const { registry, watcher, first, secret, come } = await setUp(place);
    first.leave(false);
    const second = come();
    second.open(secret);
    register(second, 'pay', 'a', 7);
    const gone = second.request('instance.deregister', { service: 'pay', id: 'b' });
    await registry.settle(random);
    expect(gone.error).toBeUndefined();
    expect([...watcher.views.get('public/DEFAULT/pay')!.instances].map(([id, { weight }]) => [id, weight])).toEqual([
      ['a', 7],
    ]);
    second.leave(true);
    await registry.deliver(random);
    await pass(registry, 400);
    expect(readHeld(watcher)).toEqual([]);
    expect(registry.partitions.reduce((sum, { core }) => sum + (core?.instanceCount ?? 0), 0)).toBe(0);
    expect(registry.transfers.travelledCount).toBe(0);
  });

  test('[SE8] the old connection is cut off though it has not been noticed that it is dead, and nothing that it sends counts', async () => {
    const { registry, watcher, first, secret, come } = await setUp(place);
    first.subscribe('ship');
    await registry.settle(random);
    const second = come();
    const opened = second.open(secret);
    await registry.deliver(random);
    expect(first.closed).toBe('resumed_elsewhere');
    expect(resumedOf(opened)).toEqual({ registrations: 3, digest: digestOf(held) });
    register(first, 'pay', 'c');
    first.request('instance.deregister', { service: 'pay', id: 'a' });
    registry.hosts[place.from]!.core.disconnected(first.session, true);
    await registry.settle(random);
    expect(readHeld(watcher)).toEqual(['a', 'b']);
    await pass(registry, 3 * graceMs);
    expect(readHeld(watcher)).toEqual(['a', 'b']);
    expect(registry.hosts.reduce((sum, { core }) => sum + core.subscriptionCounts.delta, 0)).toBe(1);
    expect(registry.hosts.reduce((sum, { core }) => sum + core.sessions.connectedCount, 0)).toBe(2);
  });

  test('[SE8] what the old connection had asked for is carried out, and the answer says what came of it', async () => {
    const { registry, watcher, first, secret, come } = await setUp(place, { instancesPerServiceMax: 3 });
    register(first, 'pay', 'c');
    const refused = register(first, 'pay', 'd');
    const gone = first.request('instance.deregister', { service: 'ship', id: 'a' });
    const second = come();
    const opened = second.open(secret);
    await registry.deliver(random);
    const now = [
      ['pay', 'a'],
      ['pay', 'b'],
      ['pay', 'c'],
    ] as const;
    expect(resumedOf(opened)).toEqual({ registrations: 3, digest: digestOf(now) });
    expect([refused.result, second.requests.size]).toEqual([undefined, 1]);
    if (place.hosts === 1) expect([refused.error, gone.result]).toEqual([undefined, undefined]);
    await registry.settle(random);
    expect(readHeld(watcher)).toEqual(['a', 'b', 'c']);
  });

  test('[SE8] what waited for its slot when the session was taken over is not done any more', async () => {
    const { registry, watcher, first, secret, come } = await setUp(place);
    const slots = Array.from({ length: 16_384 }, (_, slot) => slot);
    for (const { router } of registry.hosts) router.gate.freeze(slots);
    register(first, 'pay', 'c');
    first.request('instance.deregister', { service: 'pay', id: 'a' });
    const second = come();
    const opened = second.open(secret);
    await registry.deliver(random);
    for (const { router } of registry.hosts) router.gate.thaw(slots);
    await registry.settle(random);
    expect(resumedOf(opened)).toEqual({ registrations: 3, digest: digestOf(held) });
    expect(readHeld(watcher)).toEqual(['a', 'b']);
  });

  test('[SE8] what the new connection asks together with session.open is about the session that it takes over', async () => {
    const { registry, first, secret, come } = await setUp(place);
    first.leave(false);
    const second = come();
    const opened = second.open(secret);
    const listed = second.request('session.registrations', {});
    const gone = second.request('instance.deregister', { service: 'pay', id: 'a' });
    await registry.deliver(random);
    expect(resumedOf(opened)?.registrations).toBe(3);
    expect((listed.result as RegistrationsResult).registrations.map(({ service, id }) => [service, id])).toEqual(held);
    expect(gone.result).toBeDefined();
  });

  test('[SE8] of two that take it over at once the last has it', async () => {
    const { registry, watcher, secret, come } = await setUp(place);
    const comers = [come(), come(), new SimulatedClient(registry, undefined, registry.hosts[place.from]!.core), come()];
    const opened = comers.map((comer) => comer.open(secret));
    await registry.deliver(random);
    expect(comers.filter(({ closed }) => closed === undefined)).toHaveLength(1);
    for (const [i, { closed }] of comers.entries()) {
      if (closed === undefined) expect(resumedOf(opened[i]!)).toEqual({ registrations: 3, digest: digestOf(held) });
      else expect(closed).toBe('resumed_elsewhere');
    }
    await pass(registry, 3 * graceMs);
    expect(readHeld(watcher)).toEqual(['a', 'b']);
  });

  test('[SE8] it can be taken over again and again, back and forth', async () => {
    const { registry, watcher, secret } = await setUp(place);
    const told = watcher.notifications;
    for (let round = 0; round < 12; round++) {
      const { core } = registry.hosts[round % registry.hosts.length]!;
      const opened = new SimulatedClient(registry, undefined, core).open(secret);
      await registry.deliver(random);
      expect(resumedOf(opened), `round ${round}`).toEqual({ registrations: 3, digest: digestOf(held) });
    }
    expect(registry.hosts.reduce((sum, { core }) => sum + core.sessions.connectedCount, 0)).toBe(2);
    await pass(registry, 3 * graceMs);
    expect(watcher.notifications).toBe(told);
  });

  test('[SE8] [SE1] whose instance another session registers meanwhile keeps a claim to it', async () => {
    const { registry, watcher, first, secret, come } = await setUp(place);
    first.leave(false);
    const second = come();
    const opened = second.open(secret);
    const other = new SimulatedClient(registry);
    // Told to the host where the session began, whether it is still there or not.
    register(other, 'pay', 'a', 9);
    await registry.settle(random);
    expect(resumedOf(opened)).toBeDefined();
    // What it had when it was broken is the other's; what it had when it was back is hidden.
    expect([2, 3]).toContain(second.session.registrations.size);
    expect(other.session.registrations.size).toBe(1);
    second.leave(true);
    await registry.settle(random);
    expect(readHeld(watcher)).toEqual(['a']);
  });

  test('[SE8] [RE1] a partition that dies while the session is on its way loses nothing', async () => {
    for (let seed = 1; seed <= 24; seed++) {
      const order = new Random(seed);
      const { registry, watcher, first, secret, come } = await setUp(place, {
        partitions: 1,
        restoreSliceRegistrations: 1,
      });
      const told = watcher.notifications;
      if (seed % 2 === 0) first.leave(false);
      const comesAfter = order.below(40);
      const diesAfter = Math.max(0, comesAfter - 20 + order.below(30));
      let opened: Answered | undefined;
      for (let step = 0; step < 80; step++) {
        if (step === comesAfter) opened = come().open(secret);
        if (step === diesAfter) registry.partitions[0]!.die();
        if (step % 8 === 0) registry.advance(10);
        registry.step(order);
        await runPromises();
      }
      await registry.settle(order);
      expect(resumedOf(opened!), `seed ${seed}`).toEqual({ registrations: 3, digest: digestOf(held) });
      expect(readHeld(watcher), `seed ${seed}`).toEqual(['a', 'b']);
      expect(watcher.notifications, `seed ${seed}`).toBe(told);
      const query = watcher.request('service.query', { service: 'ship' });
      await registry.deliver(order);
      expect(query.result, `seed ${seed}`).toMatchObject({ instances: [{ id: 'a' }] });
      expect(registry.partitions[0]!.core!.instanceCount, `seed ${seed}`).toBe(3);
    }
  });

  test('[SE8] [SE2] a guard that holds a session back counts it as back, and what its client takes away goes at once', async () => {
    const config = { lossSessionsMin: 1, lossSessionsPercent: 1 };
    const { registry, watcher, first, secret, come } = await setUp(place, config);
    first.leave(false);
    await pass(registry, 2 * graceMs);
    const { core } = registry.hosts[place.from]!;
    expect(registry.guard.describe()).toMatchObject({ isHolding: true, missingSessions: 1 });
    expect(core.sessions.heldCount).toBe(1);
    const second = come();
    const opened = second.open(secret);
    await registry.deliver(random);
    expect(resumedOf(opened)).toEqual({ registrations: 3, digest: digestOf(held) });
    expect(core.sessions.heldCount).toBe(0);
    await pass(registry, 100);
    expect(registry.guard.describe()).toMatchObject({ isHolding: false, missingSessions: 0 });
    second.request('instance.deregister', { service: 'pay', id: 'a' });
    await registry.deliver(random);
    await pass(registry, 400);
    expect(readHeld(watcher)).toEqual(['b']);
  });

  test('[SE8] [SE1] what was withdrawn of it before is not taken from what its client registers anew', async () => {
    const guard = { lossSessionsPercent: 101, lossServiceInstancesMin: 3, lossServicePercent: 60 };
    const { registry, first, secret, come } = await setUp(place, guard);
    const others = [1, 2].map(() => new SimulatedClient(registry));
    others.forEach((other, i) => register(other, 'pay', `other ${i}`));
    await registry.settle(random);
    for (const client of [first, ...others]) client.leave(false);
    const letThrough = stopMailboxes(registry, place.from);
    // `pay` is held back, and `ship` goes.
    const { sessions } = registry.hosts[place.from]!.core;
    while (sessions.find(first.session.number)?.state.kind !== 'held') await pass(registry, 50);
    const next = come();
    const opened = next.open(secret);
    register(next, 'ship', 'a');
    await registry.deliver(random);
    letThrough();
    await registry.settle(random);
    expect(opened.result).toMatchObject({ resumed: { registrations: 2 } });
    expect(heldBy(registry, next)).toHaveLength(3);
  });

  test('[SE8] a connection that reads nothing is taken over as any other', async () => {
    const { registry, watcher, first, secret } = await setUp(place);
    const full = new SimulatedClient(registry, 2, registry.hosts[place.from]!.core);
    full.open(secret);
    await registry.deliver(random);
    expect(first.closed).toBe('resumed_elsewhere');
    full.subscribe('pay');
    await registry.deliver(random);
    full.isReading = false;
    const other = new SimulatedClient(registry);
    for (let weight = 1; weight < 9; weight++) {
      register(other, 'pay', 'z', weight);
      await pass(registry, 250);
    }
    expect(registry.counters.snapshot()['push_dropped']).toBeGreaterThan(0);
    const opened = new SimulatedClient(registry, undefined, registry.hosts[place.to]!.core).open(secret);
    await registry.settle(random);
    expect(full.closed).toBe('resumed_elsewhere');
    expect(resumedOf(opened)).toEqual({ registrations: 3, digest: digestOf(held) });
    expect(readHeld(watcher)).toEqual(['a', 'b', 'z']);
  });
});

describe.each([places[0]!, places[1]!, places[3]!])('nothing to take over, $name', (place) => {
  test.each([
    { what: 'a secret that nobody has', change: (secret: string) => `${secret.slice(0, -1)}x` },
    { what: 'one that names no session', change: () => 'nobody' },
    { what: 'one that names no host', change: () => 'zzzzzzzzzz-1' },
  ])('[SE8] with $what a session is opened as any other', async ({ change }) => {
    const { registry, first, secret, come } = await setUp(place);
    const second = come();
    const opened = second.open(change(secret));
    const registered = register(second, 'other', 'x');
    await registry.deliver(random);
    expect(opened.result).toBeDefined();
    expect(resumedOf(opened)).toBeUndefined();
    expect(registered.result).toBeDefined();
    expect(first.closed).toBeUndefined();
  });

  test('[SE8] a session that is over cannot be taken over', async () => {
    const { registry, first, secret, come } = await setUp(place);
    first.leave(true);
    const opened = come().open(secret);
    await registry.deliver(random);
    expect(opened.result).toBeDefined();
    expect(resumedOf(opened)).toBeUndefined();
  });

  test('[SE8] a lease has no secret that anybody could use', async () => {
    const { registry, come } = await setUp(place);
    const lease = registry.hosts[0]!.core.sessions.grantLease(10_000, '10.0.0.1')!;
    const opened = come().open(lease.secret);
    await registry.deliver(random);
    expect(resumedOf(opened)).toBeUndefined();
    expect(lease.state.kind).toBe('leased');
  });

  test('[SE8] only the first request of a connection takes a session over', async () => {
    const { registry, watcher, first, secret, come } = await setUp(place);
    const second = come();
    register(second, 'pay', 'x');
    await registry.settle(random);
    const late = second.open(secret);
    await registry.deliver(random);
    expect(late.error?.data.code).toBe('invalid_request');
    expect(first.closed).toBeUndefined();
    expect(second.open().result).toBeDefined();
    expect(second.open(secret).error?.data.code).toBe('invalid_request');
    expect(readHeld(watcher)).toEqual(['a', 'b', 'x']);
  });
});

describe.each([places[0]!, places[1]!])('in time, $name', (place) => {
  test('[SE8] [LI1] what does not come to an end is not waited for, and the secret is as good as before', async () => {
    const backoffMs = 1800;
    const config = { slotWaitTimeoutMs: graceMs, partitionRestartBackoffMs: backoffMs };
    const { registry, watcher, first, secret, come } = await setUp(place, config);
    register(first, 'pay', 'c');
    for (const partition of registry.partitions) partition.die();
    const second = come();
    const opened = second.open(secret);
    const heldBack = register(second, 'pay', 'd');
    await pass(registry, graceMs - 50);
    expect([opened.error, opened.result]).toEqual([undefined, undefined]);
    await pass(registry, 200);
    expect(opened.error?.data).toMatchObject({ code: 'busy', limit: 'slotWaitTimeoutMs' });
    expect(heldBack.error?.data.code).toBe('busy');
    second.leave(false);
    const again = come().open(secret);
    await pass(registry, backoffMs - graceMs);
    // What was under way was told to the partition's next life.
    expect(resumedOf(again)?.registrations).toBe(4);
    await registry.settle(random);
    expect(readHeld(watcher)).toEqual(['a', 'b', 'c']);
  });

  test('[SE8] a registry that stops lets nobody take over anything', async () => {
    const { registry, watcher, first, secret, come } = await setUp(place);
    first.leave(false);
    for (const { core } of registry.hosts) core.drain('stopping');
    const opened = come().open(secret);
    await registry.settle(random);
    expect(opened.error?.data.code).toBe('draining');
    expect(readHeld(watcher)).toEqual(['a', 'b']);
  });
});

test('[SE8] a storm of sessions that come back on whatever host: none is lost, and nobody hears of it', async () => {
  const registry = await InProcessRegistry.start({ disconnectGraceMs: graceMs, fanOutSliceBytes: 1024 }, 3);
  const watcher = new SimulatedClient(registry);
  watcher.subscribe('pay');
  const hostOf = (n: number): SimulatedClient =>
    new SimulatedClient(registry, undefined, registry.hosts[n % registry.hosts.length]!.core);
  const sessions = Array.from({ length: 60 }, (_, n) => ({ client: hostOf(n), secret: '' }));
  for (const [n, session] of sessions.entries()) {
    const opened = session.client.open();
    for (let i = 0; i < 5; i++) register(session.client, 'pay', `${n}-${i}`);
    await registry.deliver(random);
    session.secret = (opened.result as Required<SessionOpenResult>).secret;
  }
  await registry.settle(random);
  const told = watcher.notifications;
  const order = new Random(7);
  const opened = sessions.map(({ client, secret }) => {
    if (order.below(2) === 0) client.leave(false);
    const answered = hostOf(order.below(3)).open(secret);
    for (let steps = order.below(4); steps > 0; steps--) registry.step(order);
    return answered;
  });
  await registry.deliver(order);
  expect(opened.map((answered) => resumedOf(answered)?.registrations)).toEqual(sessions.map(() => 5));
  await pass(registry, 3 * graceMs);
  expect(watcher.views.get('public/DEFAULT/pay')!.instances.size).toBe(300);
  expect(watcher.notifications).toBe(told);
});
