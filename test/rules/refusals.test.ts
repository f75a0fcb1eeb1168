import { expect, test } from 'vitest';

import type { ServerConfig } from '../../src/config/config.ts';
import { RegistrationDigest } from '../../src/protocol/registration-digest.ts';
import type { SessionOpenResult } from '../../src/protocol/types.ts';
import { InProcessRegistry } from '../support/in-process-registry.ts';
import { Random } from '../support/random.ts';
import { SimulatedClient } from '../support/simulated-client.ts';
import type { Answered } from '../support/simulated-client.ts';

const random = new Random(1);
const key = 'public/DEFAULT/pay';

async function setUp(config: Partial<ServerConfig>): Promise<{ registry: InProcessRegistry; client: SimulatedClient }> {
  const registry = await InProcessRegistry.start({ disconnectGraceMs: 1000, ...config });
  const client = new SimulatedClient(registry);
  client.open();
  return { registry, client };
}

function register(client: SimulatedClient, id: string, note: string): Answered {
  const instance = { id, host: 'h', port: 1, metadata: { note } };
  return client.request('instance.register', { service: 'pay', instance });
}

function digestOf(list: Readonly<Record<string, string>>): string {
  const digest = new RegistrationDigest();
  for (const [id, note] of Object.entries(list)) {
    const instance = { id, host: 'h', port: 1, weight: 100, enabled: true, metadata: { note } };
    digest.add(key, JSON.stringify(instance));
  }
  return digest.toString();
}

/** What its session's log holds is what whoever comes back with its secret is told. */
async function expectHeld(
  registry: InProcessRegistry,
  client: SimulatedClient,
  list: Readonly<Record<string, string>>,
): Promise<SimulatedClient> {
  const next = new SimulatedClient(registry);
  const opened = next.open(client.session.secret);
  await registry.deliver(random);
  const { resumed } = opened.result as SessionOpenResult;
  expect(resumed).toEqual({ registrations: Object.keys(list).length, digest: digestOf(list) });
  return next;
}

function refusal({ error }: Answered): object | undefined {
  return error?.data;
}

test('[LI1] a session that has registrationsMax registrations may change those, and gets no other', async () => {
  const { registry, client } = await setUp({ registrationsMax: 2 });
  register(client, 'a', 'short');
  register(client, 'b', 'short');
  const third = register(client, 'c', 'short');
  const change = register(client, 'b', 'much longer than it was');
  await registry.deliver(random);
  expect(refusal(third)).toMatchObject({ code: 'limit_exceeded', limit: 'registrationsMax', max: 2 });
  expect(change.error).toBeUndefined();
  const next = await expectHeld(registry, client, { a: 'short', b: 'much longer than it was' });
  next.request('instance.deregister', { service: 'pay', id: 'a' });
  const instead = register(next, 'c', 'short');
  await registry.deliver(random);
  expect(instead.error).toBeUndefined();
});

test('[LI1] a thread whose bytes are used up takes no instance more, and changes only to what needs no more room', async () => {
  // As much as the first slab, which holds 60 instances of this size or some more.
  const room = 2 ** 18;
  const note = 'x'.repeat(4000);
  const { registry, client } = await setUp({ instanceBytesMax: room, registrationsMax: 100 });
  const answers = Array.from({ length: 70 }, (_, i) => register(client, `i${i}`, note));
  const [longer, shorter] = [register(client, 'i0', `${note}${'x'.repeat(4000)}`), register(client, 'i1', 'short')];
  const [same, other] = [register(client, 'i2', note.replace('x', 'y')), register(client, 'new', note)];
  await registry.deliver(random);
  const refused = { code: 'limit_exceeded', limit: 'instanceBytesMax', max: room };
  const held = answers.filter(({ error }) => error === undefined);
  expect(held.length).toBeGreaterThan(50);
  for (const answer of [...answers.slice(held.length), longer, other]) expect(refusal(answer)).toMatchObject(refused);
  expect([shorter.error, same.error]).toEqual([undefined, undefined]);
  const list = Object.fromEntries(held.map((_, i) => [`i${i}`, note]));
  await expectHeld(registry, client, { ...list, i1: 'short', i2: note.replace('x', 'y') });
});

test('[LI1] [SE5] what a partition refuses is in no log, and what stood before is, though the partition dies', async () => {
  const { registry, client } = await setUp({ instancesPerServiceMax: 2, serviceListBytesMax: 4096 });
  register(client, 'a', 'short');
  register(client, 'b', 'short');
  await registry.deliver(random);
  const third = register(client, 'c', 'short');
  const large = register(client, 'b', 'x'.repeat(5000));
  await registry.deliver(random);
  expect(refusal(third)).toMatchObject({ code: 'limit_exceeded', limit: 'instancesPerServiceMax' });
  expect(refusal(large)).toMatchObject({ code: 'limit_exceeded', limit: 'serviceListBytesMax' });
  const next = await expectHeld(registry, client, { a: 'short', b: 'short' });
  for (const partition of registry.partitions) partition.die();
  await registry.settle(random);
  const seen = next.request('service.query', { service: 'pay' });
  await registry.deliver(random);
  expect(seen.result).toMatchObject({
    instances: [
      { id: 'a', metadata: { note: 'short' } },
      { id: 'b', metadata: { note: 'short' } },
    ],
  });
});

test('[LI1] [SE7] whose claim is hidden and whose newer one is refused keeps the first, and is told how it stands', async () => {
  const { registry } = await setUp({ partitions: 1, serviceListBytesMax: 4096 });
  const [client, other] = [new SimulatedClient(registry), new SimulatedClient(registry)];
  client.request('session.open', { client: 'first', capabilities: ['claims'] });
  register(client, 'a', 'short');
  await registry.deliver(random);
  register(other, 'a', 'of another');
  await registry.deliver(random);
  const large = register(client, 'a', 'x'.repeat(5000));
  await registry.deliver(random);
  expect(refusal(large)).toMatchObject({ code: 'limit_exceeded', limit: 'serviceListBytesMax' });
  expect([...client.session.registrations.values()]).toMatchObject([{ id: 'a', isHidden: true }]);
  expect(client.claimNotices.map(({ shown }) => shown)).toEqual([false, false]);
  // What was refused does not hide what is said of the first meanwhile.
  const again = register(client, 'a', 'x'.repeat(5000));
  other.request('instance.deregister', { service: 'pay', id: 'a' });
  await registry.deliver(random);
  expect(refusal(again)).toMatchObject({ code: 'limit_exceeded', limit: 'serviceListBytesMax' });
  expect(client.claimNotices.at(-1)).toMatchObject({ id: 'a', shown: true });
  await expectHeld(registry, client, { a: 'short' });
});

test('[LI1] a refusal that comes late takes nothing away that the session has registered since', async () => {
  const { registry, client } = await setUp({ instancesPerServiceMax: 1, disconnectGraceMs: 0 });
  const other = new SimulatedClient(registry);
  register(other, 'full', 'short');
  await registry.deliver(random);
  // Both are on their way when there is room again.
  const refused = register(client, 'a', 'early');
  other.request('instance.deregister', { service: 'pay', id: 'full' });
  const taken = register(client, 'a', 'late');
  await registry.deliver(random);
  expect(refusal(refused)).toMatchObject({ limit: 'instancesPerServiceMax' });
  expect(taken.error).toBeUndefined();
  await expectHeld(registry, client, { a: 'late' });
});

test('[LI1] while a mailbox is more than half full, who has little under way is served, and who has much comes back later', async () => {
  const config = { partitions: 1, mailboxRequestsMax: 8, sessionShareRequests: 2 };
  const { registry, client } = await setUp(config);
  await registry.deliver(random);
  const answers = Array.from({ length: 8 }, (_, i) => register(client, `i${i}`, 'short'));
  const modest = new SimulatedClient(registry);
  const served = [register(modest, 'one', 'short'), register(modest, 'two', 'short')];
  const third = register(modest, 'three', 'short');
  const late = answers.filter(({ error }) => error !== undefined);
  // Four are half of it, and the one that makes it more than half is let in.
  expect(answers.length - late.length).toBe(5);
  for (const answer of [...late, third]) {
    expect(refusal(answer)).toMatchObject({ code: 'busy', limit: 'sessionShareRequests', max: 2 });
  }
  await registry.deliver(random);
  for (const answer of served) expect(answer.error).toBeUndefined();
  // It is not so full any more, and nobody has to share.
  const more = Array.from({ length: 4 }, (_, i) => register(client, `more${i}`, 'short'));
  await registry.deliver(random);
  for (const answer of more) expect(answer.error).toBeUndefined();
  expect(registry.counters.snapshot()).toMatchObject({ limit_sessionShareRequests: 4, refused_busy: 4 });
});
