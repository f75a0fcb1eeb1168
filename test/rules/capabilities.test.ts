import { expect, test } from 'vitest';

import { capabilityNames } from '../../src/protocol/capabilities.ts';
import { protocolLimits, protocolVersion } from '../../src/protocol/limits.ts';
import type { SessionOpenParams, SessionOpenResult } from '../../src/protocol/types.ts';
import { InProcessRegistry } from '../support/in-process-registry.ts';
import { Random } from '../support/random.ts';
import { SimulatedClient } from '../support/simulated-client.ts';

const random = new Random(1);

/** Opens a session, and keeps every frame that comes on it. */
function open(
  registry: InProcessRegistry,
  params: Partial<SessionOpenParams>,
): { client: SimulatedClient; frames: string[] } {
  const client = new SimulatedClient(registry);
  const frames: string[] = [];
  const send = client.send.bind(client);
  client.send = (frame) => {
    frames.push(typeof frame === 'string' ? frame : Buffer.from(frame).toString());
    return send(frame);
  };
  client.request('session.open', { client: 'test', ...params });
  return { client, frames };
}

/** What of the capabilities a client is sent in a life in which there is something of each. */
async function hear(params: Partial<SessionOpenParams>): Promise<string[]> {
  const registry = await InProcessRegistry.start({ warmUpMs: 1000 });
  const { client, frames } = open(registry, params);
  const instance = { id: 'i', host: 'h', port: 1 };
  client.request('instance.register', { service: 'pay', instance });
  client.request('service.query', { service: 'pay' });
  client.request('service.subscribe', { service: 'pay' });
  client.request('service.subscribe', { service: 'stock', version: 5 });
  await registry.deliver(random);
  const rival = new SimulatedClient(registry);
  rival.request('instance.register', { service: 'pay', instance });
  await registry.deliver(random);
  await registry.core.requestReconnect('asked', 1, 0);
  await registry.settle(random);
  const text = frames.join('\n');
  return [
    ...(text.includes('"instance.claim"') ? ['claims'] : []),
    ...(text.includes('"session.goaway"') ? ['goaway'] : []),
    ...(text.includes('"secret"') ? ['resume'] : []),
    // At the end it stands in lists; in the answer to session.open other fields follow.
    ...(text.includes('"warming":true}') ? ['warming'] : []),
  ];
}

const cases: [what: string, params: Partial<SessionOpenParams>, heard: string[]][] = [
  ['nothing, as the first clients', {}, ['goaway', 'resume', 'warming']],
  ['a list from before there was more in it', { capabilities: ['claims'] }, ['claims', 'goaway', 'resume', 'warming']],
  ['its version alone', { protocol: 1 }, ['goaway', 'resume', 'warming']],
  ['that it has none', { protocol: 1, capabilities: [] }, []],
  ['only what no server knows', { protocol: 1, capabilities: ['telepathy'] }, []],
  ['all', { protocol: 1, capabilities: ['telepathy', ...capabilityNames] }, ['claims', 'goaway', 'resume', 'warming']],
  ...capabilityNames.map((name): (typeof cases)[number] => [name, { protocol: 1, capabilities: [name] }, [name]]),
];

test.each(cases)('[WP6] a client that names %s is sent just what belongs to it', async (_, params, heard) => {
  expect(await hear(params)).toEqual(heard);
});

test('[WP6] who is not asked to go is not counted among those who are', async () => {
  const registry = await InProcessRegistry.start({});
  open(registry, { protocol: 1, capabilities: [] });
  open(registry, {});
  expect(await registry.core.requestReconnect('asked', 1, 0)).toBe(1);
});

test('[WP6] the server says what it offers, and the highest version that both sides speak', async () => {
  const registry = await InProcessRegistry.start({});
  for (const [params, protocol] of [
    [{}, 1],
    [{ protocol: protocolVersion }, protocolVersion],
    [{ protocol: protocolLimits.protocolVersionMax }, protocolVersion],
  ] as const) {
    const { client } = open(registry, params);
    const { capabilities, protocol: spoken } = client.requests.get(1)!.result as SessionOpenResult;
    expect({ capabilities, spoken }).toEqual({
      capabilities: ['claims', 'goaway', 'resume', 'warming'],
      spoken: protocol,
    });
  }
});

test('[WP6] a version below the least is refused, nothing is taken over for it, and another may be said', async () => {
  const registry = await InProcessRegistry.start({});
  const first = open(registry, {});
  const { secret } = first.client.requests.get(1)!.result as Required<SessionOpenResult>;
  const { client } = open(registry, { protocol: 0, resume: secret });
  expect(client.requests.get(1)!.error).toMatchObject({
    code: -32_007,
    message: 'the client speaks version 0 of the protocol; this server speaks 1 to 1',
    data: { code: 'unsupported_version', field: '/protocol' },
  });
  await registry.settle(random);
  expect(first.client.closed).toBeUndefined();
  const again = client.request('session.open', { client: 'test', protocol: 1 });
  expect(again.result).toMatchObject({ protocol: 1 });
});

test('[WP5] what a client said in session.open beyond what this version knows is not kept', async () => {
  const registry = await InProcessRegistry.start({});
  const later = { token: 'x'.repeat(1000), later: { deep: ['x'.repeat(1000)] }, capabilities: ['claims', 'later'] };
  const { client } = open(registry, { app: 'shop', protocol: 1, ...later });
  expect(client.session.opened).toEqual({ client: 'test', app: 'shop', protocol: 1, capabilities: ['claims'] });
});
