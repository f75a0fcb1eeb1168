import { expect, test } from 'vitest';

import type { LeaseAnswer, LeaseCall } from '../../src/sessions/leases.ts';
import { InProcessRegistry } from '../support/in-process-registry.ts';
import { Random } from '../support/random.ts';
import { SimulatedClient } from '../support/simulated-client.ts';

const random = new Random(1);
const ttlMs = 600_000;

function start(): Promise<InProcessRegistry> {
  return InProcessRegistry.start({ partitions: 1, leaseTtlDefaultMs: ttlMs }, 2, { edges: 1 });
}

async function carryOut(registry: InProcessRegistry, call: LeaseCall): Promise<LeaseAnswer> {
  const answer = registry.edges[0]!.host.carryOutLease(call);
  await registry.deliver(random);
  return answer;
}

async function register(registry: InProcessRegistry, service: string, port: number, lease?: string): Promise<string> {
  const body = { service, instance: { host: 'h', port }, ...(lease === undefined ? {} : { lease }) };
  const answer = await carryOut(registry, { kind: 'register', body, address: '10.0.0.2' });
  if ('code' in answer || answer.kind !== 'registered') throw new Error(JSON.stringify(answer));
  return answer.lease.lease;
}

test('[RE4] a lease has all its time anew when its host is back, and ends when that is over', async () => {
  const registry = await start();
  const client = new SimulatedClient(registry);
  const view = client.subscribe('pay');
  const lease = await register(registry, 'pay', 1);
  for (let waitedMs = 0; waitedMs < ttlMs - 10_000; waitedMs += 200) registry.advance(200);
  registry.edges[0]!.kill('killed');
  await registry.settle(random);
  for (let waitedMs = 0; waitedMs < ttlMs - 10_000; waitedMs += 200) registry.advance(200);
  await registry.settle(random);
  expect([...view.instances.keys()]).toEqual(['h:1']);
  expect(await carryOut(registry, { kind: 'renew', lease })).toEqual({ kind: 'renewed', lease: { lease, ttlMs } });
  for (let waitedMs = 0; waitedMs < ttlMs + 1000; waitedMs += 200) registry.advance(200);
  await registry.settle(random);
  expect([...view.instances.keys()]).toEqual([]);
});

test('[RE4] where a partition dies together with the host, what only the two knew is gone, subscribers are told, and renewing says so', async () => {
  const registry = await start();
  const client = new SimulatedClient(registry);
  const view = client.subscribe('pay');
  client.request('instance.register', { service: 'pay', instance: { host: 'h', port: 2 } });
  const lease = await register(registry, 'pay', 1);
  await registry.settle(random);
  expect([...view.instances.keys()].sort()).toEqual(['h:1', 'h:2']);
  registry.partitions[0]!.die();
  registry.edges[0]!.kill('killed');
  await registry.settle(random);
  expect([...view.instances.keys()]).toEqual(['h:2']);
  expect(await carryOut(registry, { kind: 'renew', lease })).toMatchObject({ code: 'not_found' });
});

test('[RE4] a lease that was granted for a registration which never came holds nothing, and is none', async () => {
  const registry = await start();
  const body = { service: 'pay', instance: { host: 'h', port: 1 } };
  void registry.edges[0]!.host.carryOutLease({ kind: 'register', body, address: '10.0.0.2' });
  registry.edges[0]!.kill('killed');
  await registry.settle(random);
  expect(registry.edges[0]!.host.core.sessions.leaseCount).toBeLessThanOrEqual(1);
  const held = [...registry.edges[0]!.host.core.sessions.all()];
  for (const { registrations } of held) expect(registrations.size).toBe(1);
});

test('[RE4] [RE2] what the host had changed and was not yet pushed is pushed before it is back: its partition may die right then', async () => {
  const registry = await InProcessRegistry.start(
    { partitions: 1, coalesceWindowMinMs: 2000, coalesceWindowMaxMs: 2000, partitionRestartBackoffMs: 0 },
    2,
    { edges: 1 },
  );
  const client = new SimulatedClient(registry);
  const view = client.subscribe('pay');
  await registry.deliver(random);
  const lease = await register(registry, 'pay', 1);
  await register(registry, 'pay', 2, lease);
  expect([...view.instances.keys()]).toEqual(['h:1']);
  registry.edges[0]!.kill('killed');
  for (let waitedMs = 0; !registry.edges[0]!.isWhole; waitedMs += 5) {
    expect(waitedMs).toBeLessThan(10_000);
    await registry.deliver(random);
    registry.advance(5);
  }
  registry.partitions[0]!.die();
  await registry.settle(random);
  expect([...view.instances.keys()].sort()).toEqual(['h:1', 'h:2']);
});

/** Long enough for a restart; what was told to stop listening is not whole again. */
async function goOn(registry: InProcessRegistry): Promise<void> {
  for (let waitedMs = 0; waitedMs < 2000; waitedMs += 50) {
    await registry.deliver(random);
    registry.advance(50);
  }
}

test('[RE4] what is told to stop listening while it begins to does not listen, in no life that follows either', async () => {
  const begun: (() => void)[] = [];
  let isFirst = true;
  const registry = await InProcessRegistry.start({ partitions: 1, partitionRestartBackoffMs: 0 }, 2, {
    edges: 1,
    beforeListening: () => {
      if (!isFirst) return new Promise((resolve) => begun.push(resolve));
      isFirst = false;
      return Promise.resolve();
    },
  });
  const [first] = registry.edges;
  expect(first!.isListening).toBe(true);
  first!.kill('killed');
  await goOn(registry);
  expect(begun).toHaveLength(1);
  registry.stopListening();
  begun[0]!();
  await goOn(registry);
  const [second] = registry.edges;
  expect([second!.isAlive, second!.isListening]).toEqual([true, false]);
  second!.kill('killed');
  await goOn(registry);
  expect(registry.edges[0]).not.toBe(second);
  expect([begun.length, registry.edges[0]!.isListening]).toEqual([1, false]);
});

test('[RE4] a port that one was given as it was told to stop is not asked for again', async () => {
  const begun: (() => void)[] = [];
  let lives = 0;
  const registry = await InProcessRegistry.start({ partitions: 1, partitionRestartBackoffMs: 0 }, 2, {
    edges: 1,
    beforeListening: () => {
      lives += 1;
      return lives === 1 ? Promise.resolve() : new Promise((resolve) => begun.push(resolve));
    },
  });
  registry.edges[0]!.kill('killed');
  await goOn(registry);
  // It listens, and the main thread is about to hear of it.
  begun[0]!();
  await Promise.resolve();
  registry.stopListening();
  await goOn(registry);
  expect(registry.edges[0]!.isListening).toBe(false);
  registry.edges[0]!.kill('killed');
  await goOn(registry);
  expect([lives, registry.edges[0]!.isListening]).toEqual([2, false]);
});
