import { describe, expect, test } from 'vitest';

import { encodeRegister } from '../../src/sessions/requests.ts';
import type { SessionCore } from '../../src/sessions/session-core.ts';
import { InProcessRegistry } from '../support/in-process-registry.ts';
import { ioThreads } from '../support/io-threads.ts';
import { Random } from '../support/random.ts';
import { SimulatedClient } from '../support/simulated-client.ts';

const random = new Random(1);

/** Threads that hold sessions: one, and as many as make a difference. What follows is the same for all. */
const threadCounts = ioThreads > 0 ? [ioThreads, 3] : [0, 3];

interface Cast {
  readonly registry: InProcessRegistry;
  readonly watcher: SimulatedClient;
  /** Each holds one instance of `pay`. */
  readonly providers: SimulatedClient[];
}

async function setUp(
  threads: number,
  count: number,
  config: Parameters<typeof InProcessRegistry.start>[0] = {},
): Promise<Cast> {
  const registry = await InProcessRegistry.start(
    {
      disconnectGraceMs: 1000,
      lossSessionsMin: 10,
      lossServicePercent: 101,
      ...config,
    },
    threads + 1,
  );
  const watcher = new SimulatedClient(registry);
  watcher.subscribe('pay');
  await registry.deliver(random);
  const providers = Array.from({ length: count }, (_, i) => provide(registry, i));
  await registry.settle(random);
  return { registry, watcher, providers };
}

/** Threads take turns; the main thread has no connections where there are others. */
function chooseHost({ hosts }: InProcessRegistry, turn: number): SessionCore {
  return hosts.length === 1 ? hosts[0]!.core : hosts[1 + (turn % (hosts.length - 1))]!.core;
}

/** `turn`: of its host; who comes back is seldom where it was before. */
function provide(registry: InProcessRegistry, i: number, turn: number = i): SimulatedClient {
  const client = new SimulatedClient(registry, undefined, chooseHost(registry, turn));
  client.request('instance.register', { service: 'pay', instance: { host: `h${i}`, port: 1 } });
  return client;
}

function comeBack(registry: InProcessRegistry, i: number): SimulatedClient {
  return provide(registry, i, i + 1);
}

function countSeen(watcher: SimulatedClient): number {
  return watcher.views.get('public/DEFAULT/pay')!.instances.size;
}

async function wait(registry: InProcessRegistry, ms: number): Promise<void> {
  for (let waited = 0; waited < ms; waited += 50) {
    registry.advance(50);
    await registry.deliver(random);
  }
}

describe.each(threadCounts)('with %i threads for sockets', (threads) => {
  test('[SE2] [PU5] when a large part of all sessions breaks at once, nobody is shown that they are gone', async () => {
    const { registry, watcher, providers } = await setUp(threads, 20);
    for (const provider of providers.slice(0, 12)) provider.leave(false);
    await wait(registry, 5000);
    expect(countSeen(watcher)).toBe(20);
    expect(registry.guardEvents).toMatchObject([{ kind: 'tripped', key: undefined, missing: 12, total: 20 }]);
    expect(await registry.describeGuard(random)).toMatchObject({ isHolding: true, missingSessions: 12, sessions: 20 });
    expect(registry.counters.snapshot()).toMatchObject({ loss_guard_tripped: 1, loss_held: 12 });
  });

  test('[SE3] [PU5] a cut that only the heartbeat finds trips the guard, too, though it comes to light over seconds', async () => {
    const { registry, watcher, providers } = await setUp(threads, 0, { heartbeatTimeoutMs: 6000 });
    for (let i = 0; i < 60; i++) {
      providers.push(provide(registry, i));
      await wait(registry, 50);
    }
    await wait(registry, 2000);
    for (const provider of providers.slice(0, 50)) provider.isReading = false;
    let fewest = 60;
    for (let waited = 0; waited < 20_000; waited += 50) {
      await wait(registry, 50);
      fewest = Math.min(fewest, countSeen(watcher));
    }
    expect(registry.guardEvents.map(({ kind, key }) => [kind, key])).toEqual([['tripped', undefined]]);
    // Gone are those whose grace was over before so many had fallen silent.
    const { heldSessions, heldInstances } = await registry.describeGuard(random);
    expect(heldSessions).toBeGreaterThan(25);
    expect(heldInstances).toBe(heldSessions);
    expect(fewest).toBe(10 + heldSessions);
  });

  test('[SE7] [PU5] what is held back goes with those who register it anew, but not if it shows again before that is known', async () => {
    const { registry, watcher, providers } = await setUp(threads, 20);
    for (const provider of providers.slice(0, 12)) provider.leave(false);
    await wait(registry, 2000);
    const other = new SimulatedClient(registry, undefined, chooseHost(registry, 1));
    for (const host of ['h0', 'h1'])
      other.request('instance.register', { service: 'pay', instance: { host, port: 1 } });
    other.request('instance.deregister', { service: 'pay', id: 'h0:1' });
    await wait(registry, 500);
    expect(countSeen(watcher)).toBe(20);
    expect(await registry.describeGuard(random)).toMatchObject({
      isHolding: true,
      heldSessions: 11,
      heldInstances: 11,
    });
    other.request('instance.deregister', { service: 'pay', id: 'h1:1' });
    await wait(registry, 500);
    expect(countSeen(watcher)).toBe(19);
  });

  test('[SE7] [PU5] a session that is judged while another hides what it has gives that up, and keeps it if it shows again', async () => {
    const { registry, watcher, providers } = await setUp(threads, 20);
    const other = new SimulatedClient(registry, undefined, chooseHost(registry, 1));
    for (const host of ['h0', 'h1'])
      other.request('instance.register', { service: 'pay', instance: { host, port: 1 } });
    await registry.deliver(random);
    for (const provider of providers.slice(0, 12)) provider.leave(false);
    while ((await registry.describeGuard(random)).missingSessions === 0) registry.advance(50);
    // Its host hears of it after it has judged.
    for (let waited = 0; waited < 1000; waited += 50) registry.advance(50);
    other.request('instance.deregister', { service: 'pay', id: 'h0:1' });
    await wait(registry, 1000);
    expect(countSeen(watcher)).toBe(20);
    expect(await registry.describeGuard(random)).toMatchObject({ isHolding: true, heldInstances: 11 });
  });

  test('[SE2] a few that break are removed after the grace', async () => {
    const { registry, watcher, providers } = await setUp(threads, 20);
    for (const provider of providers.slice(0, 5)) provider.leave(false);
    await wait(registry, 1200);
    expect(countSeen(watcher)).toBe(15);
    expect(registry.guardEvents).toEqual([]);
  });

  test('[SE2] many that break one after another, further apart than the window, are removed', async () => {
    const { registry, watcher, providers } = await setUp(threads, 20, { lossWindowMs: 1000 });
    for (const provider of providers.slice(0, 12)) {
      provider.leave(false);
      await wait(registry, 1500);
    }
    expect(countSeen(watcher)).toBe(8);
    expect(registry.guardEvents).toEqual([]);
  });

  test('[SE2] who leaves cleanly is never held back, the last instances of a service included', async () => {
    const { registry, watcher, providers } = await setUp(threads, 20, { lossServicePercent: 50 });
    for (const provider of providers) provider.leave(true);
    await wait(registry, 100);
    expect(countSeen(watcher)).toBe(0);
    expect(registry.guardEvents).toEqual([]);
  });

  test('[SE2] those that come back leave the guard, and it lets the rest go once they are few', async () => {
    const { registry, watcher, providers } = await setUp(threads, 20);
    for (const provider of providers.slice(0, 12)) provider.leave(false);
    await wait(registry, 2000);
    const told = watcher.notifications;
    for (let i = 0; i < 9; i++) comeBack(registry, i);
    await wait(registry, 2000);
    expect(registry.guardEvents.map(({ kind }) => kind)).toEqual(['tripped', 'cleared']);
    expect(countSeen(watcher)).toBe(17);
    // Of those that came back nothing was told.
    expect(watcher.notifications - told).toBeLessThanOrEqual(3);
  });

  test('[SE1] a session of which everything was taken over is held no more', async () => {
    const { registry, providers } = await setUp(threads, 20);
    for (const provider of providers.slice(0, 12)) provider.leave(false);
    await wait(registry, 2000);
    expect(await registry.describeGuard(random)).toMatchObject({ heldSessions: 12, heldInstances: 12 });
    comeBack(registry, 0);
    await wait(registry, 50);
    expect(await registry.describeGuard(random)).toMatchObject({
      heldSessions: 11,
      heldInstances: 11,
      missingSessions: 11,
    });
    expect(chooseHost(registry, 0).sessions.find(providers[0]!.session.number)).toBeUndefined();
  });

  test('[SE4] a lease that is not renewed ends, whatever guards hold back', async () => {
    const { registry, watcher, providers } = await setUp(threads, 20);
    const { core } = registry.hosts[0]!;
    const lease = core.sessions.grantLease(1000, '10.0.0.1')!;
    const call = encodeRegister({ service: 'pay', instance: { host: 'leased', port: 1 } });
    core.execute(lease, call, { succeed: () => undefined, fail: () => undefined });
    await wait(registry, 500);
    expect(countSeen(watcher)).toBe(21);
    for (const provider of providers.slice(0, 12)) provider.leave(false);
    await wait(registry, 3000);
    expect(countSeen(watcher)).toBe(20);
    expect(await registry.describeGuard(random)).toMatchObject({ isHolding: true, sessions: 20 });
  });

  test('[PU5] a registry that stops tells nobody that those are gone whom it held back', async () => {
    const { registry, watcher, providers } = await setUp(threads, 20);
    for (const provider of providers.slice(0, 12)) provider.leave(false);
    await wait(registry, 2000);
    const told = watcher.notifications;
    for (const host of registry.hosts) host.drain('stopping');
    await registry.releaseGuard(random);
    await wait(registry, 2000);
    expect([countSeen(watcher), watcher.notifications]).toEqual([20, told]);
  });

  test('[SE2] an operator lets go what is held, and a guard holds back for so long at most', async () => {
    for (const how of ['release', 'time'] as const) {
      const { registry, watcher, providers } = await setUp(threads, 20, { lossHoldMaxMs: 20_000 });
      for (const provider of providers.slice(0, 12)) provider.leave(false);
      await wait(registry, 5000);
      expect(countSeen(watcher)).toBe(20);
      if (how === 'release') await registry.releaseGuard(random);
      await wait(registry, how === 'release' ? 1000 : 18_000);
      expect([how, countSeen(watcher)]).toEqual([how, 8]);
      expect(await registry.describeGuard(random)).toMatchObject({ isHolding: false, missingSessions: 0, sessions: 8 });
    }
  });

  test('[SE2] [PU5] a service of which most is lost is guarded by itself; others are not', async () => {
    const { registry, watcher, providers } = await setUp(threads, 10, {
      lossSessionsPercent: 101,
      lossServicePercent: 50,
    });
    for (const provider of providers)
      provider.request('instance.register', {
        service: `own-${providers.indexOf(provider)}`,
        instance: { host: 'h', port: 1 },
      });
    await registry.settle(random);
    for (const provider of providers.slice(0, 6)) provider.leave(false);
    await wait(registry, 3000);
    expect(countSeen(watcher)).toBe(10);
    expect(await registry.describeGuard(random)).toMatchObject({
      isHolding: false,
      services: [{ key: 'public/DEFAULT/pay', missing: 6, total: 10 }],
    });
    const query = watcher.request('service.query', { service: 'own-0' });
    await registry.deliver(random);
    expect(query.result).toMatchObject({ instances: [] });
    await registry.releaseGuard(random, 'public/DEFAULT/pay');
    await wait(registry, 1000);
    expect(countSeen(watcher)).toBe(4);
  });

  test('[RE1] [PU5] what is held back survives the death of its partition', async () => {
    const { registry, watcher, providers } = await setUp(threads, 20);
    for (const provider of providers.slice(0, 12)) provider.leave(false);
    await wait(registry, 2000);
    for (const partition of registry.partitions) partition.die();
    await registry.settle(random);
    expect(countSeen(watcher)).toBe(20);
    const query = watcher.request('service.query', { service: 'pay' });
    await registry.deliver(random);
    expect((query.result as { instances: unknown[] }).instances).toHaveLength(20);
  });
});
