import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';

import { protocolLimits } from '../../src/protocol/limits.ts';
import { RawClient } from '../support/raw-client.ts';
import { expectRefusal, encodeRequest } from '../support/refusal.ts';
import type { Refusal } from '../support/refusal.ts';
import { Witness } from '../support/witness.ts';

let witness: Witness;
let client: RawClient;

beforeAll(async () => {
  witness = await Witness.start();
  client = await RawClient.open(witness.url);
});
afterAll(async () => {
  client.terminate();
  await witness.stop();
});
afterEach(async () => {
  client.terminate();
  await client.closed;
  await witness.expectUnharmed();
  client = await RawClient.open(witness.url);
});

describe("[WP3, SE1] what is another's, or nobody's", () => {
  const refusals: Refusal[] = [
    {
      name: "deregistering another's instance",
      frame: encodeRequest('instance.deregister', '{"service":"known","id":"known.example:1"}'),
      code: 'not_owner',
    },
    {
      name: 'deregistering an unknown instance',
      frame: encodeRequest('instance.deregister', '{"service":"known","id":"nobody:1"}'),
      code: 'not_found',
    },
    {
      name: 'deregistering from an unknown service',
      frame: encodeRequest('instance.deregister', '{"service":"unknown","id":"known.example:1"}'),
      code: 'not_found',
    },
    {
      name: 'deregistering from the same service in another group',
      frame: encodeRequest('instance.deregister', '{"service":"known","group":"other","id":"known.example:1"}'),
      code: 'not_found',
    },
    {
      name: 'deregistering __proto__',
      frame: encodeRequest('instance.deregister', '{"service":"known","id":"__proto__"}'),
      code: 'not_found',
    },
  ];
  test.each(refusals)('$name', async (refusal) => {
    await expectRefusal(client, refusal);
  });

  test("[SE5] [SE7] registering another's instance with the same content is unseen, and so is giving it up", async () => {
    const instance = { host: 'known.example', port: 1 };
    const before = await client.request<{ version: number }>('service.query', { service: 'known' });
    expect(await client.request('instance.register', { service: 'known', instance })).toEqual({
      id: 'known.example:1',
      version: before.version,
    });
    // Its own claim alone is what it gives up.
    expect(await client.request('instance.deregister', { service: 'known', id: 'known.example:1' })).toEqual({
      version: before.version,
    });
    await expect(
      client.request('instance.deregister', { service: 'known', id: 'known.example:1' }),
    ).rejects.toMatchObject({ data: { code: 'not_owner' } });
    expect(await witness.provider.request('instance.register', { service: 'known', instance })).toEqual({
      id: 'known.example:1',
      version: before.version,
    });
  });
});

describe('[PU1] subscribing from a version that the client cannot have gives a snapshot', () => {
  test.each([
    ['zero', () => 0],
    ['one', () => 1],
    ['the largest', () => Number.MAX_SAFE_INTEGER],
    ['one from the future', (now: number) => now + 1],
    ['one of ours from a year ahead', (now: number) => now + 365 * 86_400 * 1_000_000],
    ['one that lies between two of ours', (now: number) => now - 1],
  ])('%s', async (name, choose) => {
    // A service of its own: a version that is ahead of it raises the service's (PU5), and its watchers must not hear of that.
    const service = `versions-${name}`;
    const instance = { host: 'h', port: 1 };
    const { version } = await client.request<{ version: number }>('instance.register', { service, instance });
    const asked = choose(version);
    const state = await client.request('service.subscribe', { service, version: asked });
    expect(state).toEqual({ version: expect.any(Number), instances: [expect.anything()] });
    const answered = (state as { version: number }).version;
    if (asked < version || asked > protocolLimits.heldVersionMax) expect(answered).toBe(version);
    else expect(answered).toBeGreaterThan(asked);
    await client.request('service.unsubscribe', { service });
    await client.request('instance.deregister', { service, id: 'h:1' });
  });

  test('[PU1] -0 is 0', async () => {
    client.send(encodeRequest('service.subscribe', '{"service":"known","version":-0}'));
    expect(JSON.parse(await client.nextFrame())).toMatchObject({ id: 7, result: { instances: [{}, {}] } });
  });
});

describe('[WP3] a server with openRequired', () => {
  let strict: Witness;
  beforeAll(async () => {
    strict = await Witness.start({ openRequired: true });
  });
  afterAll(async () => {
    await strict.stop();
  });

  test.each([
    ['instance.register', { service: 'known', instance: { host: 'early', port: 1 } }],
    ['instance.deregister', { service: 'known', id: 'known.example:1' }],
    ['service.subscribe', { service: 'known' }],
    ['service.unsubscribe', { service: 'known' }],
    ['service.query', { service: 'known' }],
    ['service.list', {}],
  ])('refuses %s before session.open and takes it afterwards', async (method, params) => {
    const early = await RawClient.open(strict.url);
    await expect(early.request(method, params)).rejects.toMatchObject({ code: -32004, data: { code: 'not_open' } });
    // Wrong params do not open the session.
    await expect(early.request('session.open', {})).rejects.toMatchObject({ data: { code: 'invalid_params' } });
    await expect(early.request('service.list', {})).rejects.toMatchObject({ data: { code: 'not_open' } });
    await early.request('session.open', { client: 'test' });
    expect(await early.request('service.query', { service: 'known' })).toMatchObject({ instances: [{}, {}] });
    early.close();
    await strict.expectUnharmed();
  });

  test('carries out nothing of a notification before session.open', async () => {
    const early = await RawClient.open(strict.url);
    early.notify('instance.register', { service: 'known', instance: { host: 'early', port: 1 } });
    early.close();
    expect((await early.closed).code).toBe(1000);
    await strict.expectUnharmed();
  });
});

describe('[WP3] floods', () => {
  test('[PU1] subscribing to one service three thousand times at once makes one subscription', async () => {
    const asked = Array.from({ length: 3000 }, () => client.request('service.subscribe', { service: 'flooded' }));
    await Promise.all(asked);
    const instance = { host: 'h', port: 1 };
    const { version } = await client.request('instance.register', { service: 'flooded', instance });
    expect((await client.nextNotification()).params).toMatchObject({ to: version, count: 1 });
    await client.request('instance.deregister', { service: 'flooded', id: 'h:1' });
    expect((await client.nextNotification()).params).toMatchObject({ from: version, count: 0 });
    expect(client.pendingNotifications).toEqual([]);
  });

  test('[PU1] an instance that comes and goes a thousand times leaves its subscriber with the last state, by deltas that chain', async () => {
    let held = (await client.request<{ version: number }>('service.subscribe', { service: 'flapping' })).version;
    const provider = await RawClient.open(witness.url);
    const name = { service: 'flapping' };
    const answers = Array.from({ length: 1000 }, (_, round) =>
      round % 2 === 0
        ? provider.request<{ version: number }>('instance.register', { ...name, instance: { host: 'h', port: 1 } })
        : provider.request<{ version: number }>('instance.deregister', { ...name, id: 'h:1' }),
    );
    answers.push(provider.request('instance.register', { ...name, instance: { host: 'h', port: 2 } }));
    const last = (await Promise.all(answers)).at(-1)!.version;
    while (held < last) {
      const { params } = await client.nextNotification();
      expect(params.from).toBe(held);
      held = Number(params.to);
    }
    expect(held).toBe(last);
    provider.close();
  });
});
