import { expect, test } from 'vitest';

import { protocolLimits } from '../../src/protocol/limits.ts';
import type { KeyChangeResult, KeyListResult, KeyTransactResult } from '../../src/protocol/types.ts';
import { nextTurn } from '../../src/runtime/timing.ts';
import { slotOf } from '../../src/slots/slot.ts';
import { InProcessRegistry } from '../support/in-process-registry.ts';
import { encode } from '../support/key-bench.ts';
import { Random } from '../support/random.ts';
import { SimulatedClient } from '../support/simulated-client.ts';
import type { Answered } from '../support/simulated-client.ts';

const random = new Random(1);

/** A value of so many bytes. */
function valueOf(bytes: number): string {
  return Buffer.alloc(bytes).toString('base64');
}

/** A key that a partition owns. */
function keyOf(registry: InProcessRegistry, partition: number, prefix = 'k'): string {
  for (let i = 0; ; i++) {
    const key = `${prefix}${i}`;
    if (registry.router.table.ownerOf(slotOf(key)) === partition) return key;
  }
}

async function ask(registry: InProcessRegistry, answered: Answered): Promise<unknown> {
  await registry.deliver(random);
  if (answered.error !== undefined) throw new Error(JSON.stringify(answered.error));
  return answered.result;
}

test('[KV1] [KV2] keys are put, read, listed and deleted, whichever partitions own them', async () => {
  const registry = await InProcessRegistry.start();
  const client = new SimulatedClient(registry);
  const keys = [keyOf(registry, 0), keyOf(registry, 1)];
  for (const key of keys) {
    const put = await ask(registry, client.request('kv.put', { key, value: encode(key), flags: '7' }));
    expect(put).toMatchObject({ applied: true, entry: { key, flags: '7', lockIndex: 0 } });
  }
  expect(await ask(registry, client.request('kv.get', { key: keys[1]! }))).toMatchObject({
    entry: { key: keys[1], value: encode(keys[1]!), flags: '7' },
  });
  expect(await ask(registry, client.request('kv.get', { key: 'none' }))).not.toHaveProperty('entry');
  const first = (await ask(registry, client.request('kv.list', { prefix: 'k', limit: 1 }))) as KeyListResult;
  const second = (await ask(
    registry,
    client.request('kv.list', { prefix: 'k', limit: 1, cursor: first.cursor! }),
  )) as KeyListResult;
  expect([first, second].flatMap(({ entries = [] }) => entries.map(({ key }) => key))).toEqual(keys.toSorted());
  expect(second.cursor).toBeUndefined();
  expect(await ask(registry, client.request('kv.list', { prefix: 'k', keysOnly: true }))).toMatchObject({
    keys: keys.toSorted(),
  });
  expect(await ask(registry, client.request('kv.delete', { prefix: 'k' }))).toMatchObject({
    applied: true,
    deleted: 2,
  });
  expect(await ask(registry, client.request('kv.list', {}))).toMatchObject({ entries: [] });
});

test('[KV2] [KV3] conditions that do not hold are results, and wrong parameters are errors', async () => {
  const registry = await InProcessRegistry.start();
  const client = new SimulatedClient(registry);
  expect(await ask(registry, client.request('kv.put', { key: 'a', cas: 5 }))).toMatchObject({
    applied: false,
    reason: 'version',
  });
  expect(await ask(registry, client.request('kv.delete', { key: 'a', cas: 5 }))).toMatchObject({ applied: true });
  for (const params of [
    { key: 'a', flags: '18446744073709551616' },
    { key: 'a', acquire: true, release: true },
    { key: 'a', onEnd: 'delete' as const },
    { key: 'a', ephemeral: true, lockDelayMs: 5 },
  ]) {
    const refused = client.request('kv.put', params);
    await registry.deliver(random);
    expect(refused.error?.data.code).toBe('invalid_params');
  }
});

test('[KV1] the bytes of a value are limited, however many characters of base64 they are', async () => {
  const registry = await InProcessRegistry.start();
  const client = new SimulatedClient(registry);
  const max = protocolLimits.keyValueBytesMax;
  expect(valueOf(max + 1)).toHaveLength(valueOf(max).length);
  expect(await ask(registry, client.request('kv.put', { key: 'a', value: valueOf(max) }))).toMatchObject({
    applied: true,
  });
  for (const bytes of [max + 1, max + 4]) {
    const value = valueOf(bytes);
    const refused = [
      client.request('kv.put', { key: 'a', value }),
      client.request('kv.transact', {
        operations: [
          { op: 'get', key: 'a' },
          { op: 'put', key: 'a', value },
        ],
      }),
    ];
    await registry.deliver(random);
    for (const { error } of refused) {
      expect(error?.data).toMatchObject({ code: 'limit_exceeded', limit: 'keyValueBytesMax', max });
    }
  }
});

test.each([
  ['/operations/1/cas', 'operations.1.cas must be >= 0', { op: 'put', key: 'b', cas: -1 }],
  ['/operations/1/value', 'operations.1 has an unknown field "value"', { op: 'get', key: 'b', value: '' }],
  ['/operations/1/key', 'operations.1 lacks the field key', { op: 'check', held: true }],
  ['/operations/1/op', 'operations.1 lacks the field op', { key: 'b' }],
  ['/operations/1/op', 'operations.1.op must be string', { op: 1, key: 'b' }],
  ['/operations/1/op', 'operations.1.op must not be "cas": there is no such op', { op: 'cas', key: 'b' }],
  ['/operations/1', 'operations.1 must be object', 'get'],
])('[KV3] what is wrong with an operation of a transaction is said: %s, %s', async (field, message, operation) => {
  const registry = await InProcessRegistry.start();
  const client = new SimulatedClient(registry);
  const operations = [{ op: 'get', key: 'a' }, operation] as never;
  const refused = client.request('kv.transact', { operations });
  await registry.deliver(random);
  expect(refused.error).toMatchObject({ message, data: { code: 'invalid_params', field } });
});

test('[KV3] a transaction over several partitions is carried out as a whole, with one version', async () => {
  const registry = await InProcessRegistry.start();
  const client = new SimulatedClient(registry);
  const [a, b] = [keyOf(registry, 0), keyOf(registry, 1)];
  const done = (await ask(
    registry,
    client.request('kv.transact', {
      operations: [
        { op: 'put', key: a, value: encode('1') },
        { op: 'put', key: b, value: encode('2') },
        { op: 'get', key: a },
      ],
    }),
  )) as Extract<KeyTransactResult, { applied: true }>;
  const version = done.version;
  expect(done).toMatchObject({
    applied: true,
    entries: [{ modifyVersion: version }, { modifyVersion: version }, { value: encode('1') }],
  });
  expect(done.entries[0]).not.toHaveProperty('value');
  const undone = await ask(
    registry,
    client.request('kv.transact', {
      operations: [
        { op: 'put', key: a, value: encode('3') },
        { op: 'check', key: b, version: 1_000_000 },
      ],
    }),
  );
  expect(undone).toMatchObject({ applied: false, failures: [{ index: 1, reason: 'version' }] });
  expect(await ask(registry, client.request('kv.get', { key: a }))).toMatchObject({ entry: { value: encode('1') } });
});

test('[KV3] what a transaction reads is limited, whichever partitions own the keys, and one that reads more does nothing', async () => {
  const registry = await InProcessRegistry.start();
  const client = new SimulatedClient(registry);
  const { keyPageBytesMax: max, keyValueBytesMax } = protocolLimits;
  const [a, b, c] = [keyOf(registry, 0, 'a'), keyOf(registry, 1, 'b'), keyOf(registry, 1, 'c')];
  for (const key of [a, b, c]) await ask(registry, client.request('kv.put', { key, value: valueOf(keyValueBytesMax) }));
  const tooMuch = { code: 'limit_exceeded', limit: 'keyPageBytesMax', max };
  for (const keys of [
    [a, b, c],
    [b, c, b],
  ]) {
    const gets = keys.map((key) => ({ op: 'get', key }) as const);
    const refused = client.request('kv.transact', { operations: [{ op: 'put', key: 'new' }, ...gets] });
    await registry.deliver(random);
    expect(refused.error?.data).toMatchObject(tooMuch);
    expect(await ask(registry, client.request('kv.get', { key: 'new' }))).not.toHaveProperty('entry');
    const all = await ask(registry, client.request('kv.transact', { operations: gets.slice(0, 2) }));
    expect(all).toMatchObject({ applied: true });
  }
});

test('[KV5] [KV6] a lock outlives the break of its connection, goes with the session, and is given on after its delay', async () => {
  const registry = await InProcessRegistry.start({ disconnectGraceMs: 1000 });
  const [holder, other] = [new SimulatedClient(registry), new SimulatedClient(registry)];
  const first = (await ask(
    registry,
    holder.request('kv.put', { key: 'lock', acquire: true, lockDelayMs: 5000 }),
  )) as Extract<KeyChangeResult, { applied: true }>;
  await ask(registry, holder.request('kv.put', { key: 'mine', ephemeral: true }));
  const acquire = async (): Promise<unknown> => ask(registry, other.request('kv.put', { key: 'lock', acquire: true }));
  expect(await acquire()).toMatchObject({ applied: false, reason: 'held' });
  registry.core.disconnected(holder.session, false);
  registry.advance(500);
  expect(await acquire()).toMatchObject({ applied: false, reason: 'held' });
  await registry.settle(random);
  expect(await acquire()).toMatchObject({ applied: false, reason: 'delayed' });
  expect(await ask(registry, other.request('kv.get', { key: 'mine' }))).not.toHaveProperty('entry');
  for (let waitedMs = 0; waitedMs < 5000; waitedMs += 50) registry.advance(50);
  const second = (await acquire()) as Extract<KeyChangeResult, { applied: true }>;
  expect(second).toMatchObject({ applied: true, entry: { lockIndex: 2 } });
  expect(second.entry!.fence).toBeGreaterThan(first.entry!.fence!);
});

test('[KV7] keys and locks survive the death of their partition and of the store, and the move of their slots', async () => {
  const registry = await InProcessRegistry.start();
  const client = new SimulatedClient(registry);
  const keys = [keyOf(registry, 0), keyOf(registry, 1)];
  for (const key of keys) await ask(registry, client.request('kv.put', { key, value: encode(key), acquire: true }));
  const expectHeld = async (): Promise<void> => {
    for (const key of keys) {
      const { entry } = (await ask(registry, client.request('kv.get', { key }))) as { entry?: { holder?: string } };
      expect(entry).toMatchObject({ value: encode(key), holder: client.session.identity.holder });
    }
  };
  registry.partitions[0]!.die();
  await registry.settle(random);
  await expectHeld();
  const resized = registry.migrator.resize(3);
  await registry.settle(random);
  await resized;
  await expectHeld();
  registry.store.die();
  const refused = client.request('kv.put', { key: keys[0]!, value: '' });
  await registry.deliver(random);
  expect(refused.error?.data.code).toBe('storage_unavailable');
  registry.store.revive();
  await registry.settle(random);
  await expectHeld();
  registry.core.disconnected(client.session, true);
  await registry.settle(random);
  const other = new SimulatedClient(registry);
  for (const key of keys) {
    expect(await ask(registry, other.request('kv.get', { key }))).not.toHaveProperty('entry.holder');
  }
});

test.each([
  ['that wait behind reads', []],
  ['that read, too, and wait behind reads', [{ op: 'get', key: 'lock' }]],
] as const)(
  '[KV6] transactions %s are carried out when their connection is closed in order, as other changes are',
  async (_, reads) => {
    const registry = await InProcessRegistry.start();
    const [holder, other] = [new SimulatedClient(registry), new SimulatedClient(registry)];
    const lock = { key: 'lock', acquire: true, onEnd: 'delete', lockDelayMs: 60_000 } as const;
    await ask(registry, holder.request('kv.put', lock));
    // Of these one is in flight at a time; the client of the SDK releases a key that is deleted with its session by such a transaction.
    holder.request('kv.list', {});
    holder.request('kv.list', {});
    const operations = [...reads, { op: 'check', key: 'lock', held: true }, { op: 'delete', key: 'lock' }] as const;
    holder.request('kv.transact', { operations });
    registry.core.disconnected(holder.session, true);
    await registry.settle(random);
    expect(await ask(registry, other.request('kv.put', lock))).toMatchObject({ applied: true });
  },
);

test.each([
  ['put', 'while its partition is being rebuilt', false],
  ['put', 'if its partition dies meanwhile', true],
  ['transact', 'if its partition dies meanwhile', true],
] as const)(
  '[KV6] a key that is released by kv.%s right before its connection is closed in order is free at once, also %s',
  async (method, _, isSentBefore) => {
    const registry = await InProcessRegistry.start();
    const [holder, other] = [new SimulatedClient(registry), new SimulatedClient(registry)];
    const key = keyOf(registry, 0);
    await ask(registry, holder.request('kv.put', { key, acquire: true, lockDelayMs: 60_000 }));
    const release = (): void => {
      if (method === 'put') holder.request('kv.put', { key, release: true });
      else {
        const operations = [
          { op: 'check', key, held: true },
          { op: 'delete', key },
        ] as const;
        holder.request('kv.transact', { operations });
      }
    };
    if (isSentBefore) release();
    registry.partitions[0]!.die();
    if (!isSentBefore) release();
    registry.core.disconnected(holder.session, true);
    await registry.settle(random);
    expect(await ask(registry, other.request('kv.put', { key, acquire: true }))).toMatchObject({ applied: true });
  },
);

test('[KV6] the same is true of keys of several partitions, and of keys whose slots are moving', async () => {
  for (let steps = 0; steps < 120; steps += 10) {
    const registry = await InProcessRegistry.start({ moveSlots: 4096 });
    const [holder, other] = [new SimulatedClient(registry), new SimulatedClient(registry)];
    const keys = Array.from({ length: 8 }, (_, i) => keyOf(registry, i % 2, `${i}.`));
    for (const key of keys) await ask(registry, holder.request('kv.put', { key, acquire: true, lockDelayMs: 60_000 }));
    const resized = registry.migrator.resize(5);
    for (let step = 0; step < steps; step += 1) {
      if (!registry.step(random)) registry.advance(10);
      await nextTurn();
    }
    holder.request('kv.transact', { operations: keys.map((key) => ({ op: 'put', key, release: true }) as const) });
    for (let step = random.below(4); step > 0; step -= 1) registry.step(random);
    registry.core.disconnected(holder.session, true);
    await registry.settle(random);
    await resized;
    for (const key of keys) {
      expect(await ask(registry, other.request('kv.put', { key, acquire: true }))).toMatchObject({ applied: true });
    }
  }
});

test('[KV6] what is asked for in many frames, or large ones, is carried out before its connection is closed in order', async () => {
  const registry = await InProcessRegistry.start({ frameSliceBytes: 1024 });
  const [holder, other] = [new SimulatedClient(registry), new SimulatedClient(registry)];
  await ask(registry, holder.request('kv.put', { key: 'lock', acquire: true, lockDelayMs: 60_000 }));
  for (let i = 0; i < 20; i++) holder.request('kv.put', { key: `k${i}`, value: valueOf(2000) });
  holder.request('kv.put', { key: 'lock', release: true });
  holder.closed = 'client';
  registry.core.disconnected(holder.session, true);
  await registry.settle(random);
  const { keys } = (await ask(registry, other.request('kv.list', { keysOnly: true, prefix: 'k' }))) as KeyListResult;
  expect(keys).toHaveLength(20);
  expect(await ask(registry, other.request('kv.put', { key: 'lock', acquire: true }))).toMatchObject({ applied: true });
  expect(registry.core.sessions.connectedCount).toBe(1);
});
