import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';

import type { RawClient } from '../support/raw-client.ts';
import { Witness } from '../support/witness.ts';

let witness: Witness;
let client: RawClient;
let watcher: RawClient;

beforeAll(async () => {
  witness = await Witness.start();
});
afterAll(async () => {
  await witness.stop();
});
afterEach(async () => {
  for (const one of [client, watcher]) {
    one.close();
    await one.closed;
  }
  await witness.expectUnharmed();
});

async function openBoth(): Promise<void> {
  client = await witness.openClient();
  watcher = await witness.openClient();
}

const composed = 'caf\u00e9';
const decomposed = 'cafe\u0301';

/** Legal, however odd: each must work like any other name. */
const legalNames: readonly (readonly [string, string])[] = [
  ['one character', 'x'],
  ['__proto__', '__proto__'],
  ['constructor', 'constructor'],
  ['prototype', 'prototype'],
  ['toString', 'toString'],
  ['hasOwnProperty', 'hasOwnProperty'],
  ['then', 'then'],
  ['a star', '*'],
  ['a hash sign', '#'],
  ['a plus sign', '+'],
  ['a greater-than sign', '>'],
  ['a path upwards', '../../etc/passwd'],
  ['slashes', '//a//b/'],
  ["Dubbo's", 'providers:com.example.UserService:1.0.0:'],
  ["SOFA's", 'com.example.Facade:1.0@DEFAULT#@#SOFA'],
  ['a hash tag', '{tag}:a'],
  ['open braces', '{'],
  ['empty braces', '{}x'],
  ['spaces', ' a  b '],
  ['only a space', ' '],
  ['JSON', '{"jsonrpc":"2.0"}'],
  ['quotes and backslashes', '"\\u0041\\'],
  ['percent signs', '%2e%2e%00%zz'],
  ['query signs', 'a&service=known?x#y=z+'],
  ['an emoji', '\u{1f600}\u{1f468}\u200d\u{1f469}\u200d\u{1f467}'],
  ['right to left', 'خدمة שירות'],
  ['an override of direction', 'a\u202egpj.exe'],
  ['line separators of Unicode', 'a\u2028b\u2029c'],
  ['a byte order mark', '\ufeffx'],
  ['a replacement character', '\ufffd'],
  ['a composed letter', composed],
  ['a decomposed letter', decomposed],
  ['a Cyrillic look-alike of known', 'knоwn'],
  ['known in capitals', 'KNOWN'],
  ['known with a space', 'known '],
  ['512 bytes', 'n'.repeat(512)],
  ['512 bytes in 128 characters', '\u{1f600}'.repeat(128)],
];

describe('[WP3] a legal name works from end to end, however odd it is', () => {
  test.each(legalNames)('%s', async (_, service) => {
    await openBoth();
    const empty = await watcher.request<{ version: number }>('service.subscribe', { service });
    expect(empty).toMatchObject({ instances: [] });
    const instance = { id: service, host: 'h', port: 1, metadata: { note: service } };
    const { version, id } = await client.request('instance.register', { service, instance });
    expect(id).toBe(service);

    const stored = { ...instance, weight: 100, enabled: true };
    const name = { namespace: 'public', group: 'DEFAULT', service };
    const { params } = await watcher.nextNotification();
    expect(params).toEqual({ ...name, count: 1, from: empty.version, to: version, put: [stored], remove: [] });
    expect(await client.request('service.query', { service })).toEqual({ version, instances: [stored] });
    expect(await client.request('service.list', { prefix: service, limit: 1000 })).toMatchObject({
      services: expect.arrayContaining([{ ...name, instances: 1 }]),
    });
    const url = `${witness.httpUrl}/v1/instances?service=${encodeURIComponent(service)}`;
    expect(await (await fetch(url)).json()).toEqual({ version, instances: [stored] });

    const gone = await client.request<{ version: number }>('instance.deregister', { service, id: service });
    expect((await watcher.nextNotification()).params).toMatchObject({ count: 0, to: gone.version, remove: [service] });
  });

  test('[SL1] NFC and NFD of one word, and look-alikes, are services of their own', async () => {
    await openBoth();
    for (const [index, service] of [composed, decomposed].entries()) {
      await client.request('instance.register', { service, instance: { host: 'h', port: index + 1 } });
    }
    expect(await watcher.request('service.query', { service: composed })).toMatchObject({ instances: [{ port: 1 }] });
    expect(await watcher.request('service.query', { service: decomposed })).toMatchObject({ instances: [{ port: 2 }] });
  });

  test('a slash in a name does not lead into another group', async () => {
    await openBoth();
    const service = 'b/known';
    await client.request('instance.register', {
      namespace: 'x',
      group: 'a',
      service,
      instance: { host: 'h', port: 1 },
    });
    expect(await watcher.request('service.query', { namespace: 'x', group: 'b', service: 'known' })).toMatchObject({
      instances: [],
    });
    expect(await watcher.request('service.list', { namespace: 'x' })).toEqual({
      services: [{ namespace: 'x', group: 'a', service, instances: 1 }],
    });
  });
});

const unlawfulNames: readonly (readonly [string, string])[] = [
  ['empty', ''],
  ['a NUL', 'a\u0000b'],
  ['a line feed', 'a\nb'],
  ['a carriage return', 'a\r\nERROR forged'],
  ['a tab', 'a\tb'],
  ['an escape', '\u001b[2J'],
  ['a delete', 'a\u007f'],
  ['a control character of Latin-1', 'a\u0085b'],
  ['a high surrogate alone', 'a\ud800'],
  ['a low surrogate alone', '\udc00a'],
  ['surrogates the wrong way round', '\udc00\ud800'],
  ['513 bytes', 'n'.repeat(513)],
  ['513 bytes in 171 characters', '\u20ac'.repeat(171)],
  ['10 kB', 'n'.repeat(10_000)],
  ['64 kB', 'n'.repeat(65_536)],
];

describe('[WP3] an unlawful name is refused by every method that takes one', () => {
  test.each(unlawfulNames)('%s', async (_, service) => {
    await openBoth();
    const refusal = { code: -32602, data: { code: 'invalid_params', field: '/service' } };
    const instance = { host: 'h', port: 1 };
    await expect(client.request('service.query', { service })).rejects.toMatchObject(refusal);
    await expect(client.request('service.subscribe', { service })).rejects.toMatchObject(refusal);
    await expect(client.request('service.unsubscribe', { service })).rejects.toMatchObject(refusal);
    await expect(client.request('instance.register', { service, instance })).rejects.toMatchObject(refusal);
    await expect(client.request('instance.deregister', { service, id: 'a' })).rejects.toMatchObject(refusal);
    const named = { service: 'known', instance: { ...instance, id: service } };
    await expect(client.request('instance.register', named)).rejects.toMatchObject({
      data: { code: 'invalid_params', field: '/instance/id' },
    });
  });
});

/** Each bound of the protocol: the longest that is accepted, and one more. */
const bounds: readonly (readonly [string, (size: number) => object, number])[] = [
  ['serviceBytesMax', (size) => ({ service: 's'.repeat(size), instance: { host: 'h', port: 1 } }), 512],
  [
    'namespaceCharsMax',
    (size) => ({ namespace: 'n'.repeat(size), service: 's', instance: { host: 'h', port: 1 } }),
    128,
  ],
  ['groupCharsMax', (size) => ({ group: 'g'.repeat(size), service: 's', instance: { host: 'h', port: 1 } }), 128],
  ['hostCharsMax', (size) => ({ service: 's', instance: { host: 'h'.repeat(size), port: 1 } }), 255],
  ['instanceIdBytesMax', (size) => ({ service: 's', instance: { id: 'i'.repeat(size), host: 'h', port: 1 } }), 512],
  ['zoneBytesMax', (size) => ({ service: 's', instance: { host: 'h', port: 1, zone: 'z'.repeat(size) } }), 128],
  ['weightMax', (size) => ({ service: 's', instance: { host: 'h', port: 1, weight: size } }), 10_000],
  [
    'metadataEntriesMax',
    (size) => ({
      service: 's',
      instance: {
        host: 'h',
        port: 1,
        metadata: Object.fromEntries(Array.from({ length: size }, (_, i) => [`k${i}`, ''])),
      },
    }),
    64,
  ],
  [
    'metadataKeyBytesMax',
    (size) => ({ service: 's', instance: { host: 'h', port: 1, metadata: { ['k'.repeat(size)]: '' } } }),
    128,
  ],
  [
    'metadataBytesMax',
    (size) => ({ service: 's', instance: { host: 'h', port: 1, metadata: { k: 'v'.repeat(size - 1) } } }),
    8192,
  ],
];

/** Those of a filter. */
const filterBounds: readonly (readonly [string, (size: number) => object, number])[] = [
  ['zoneBytesMax', (size) => ({ service: 's', zone: 'z'.repeat(size) }), 128],
  [
    'selectorEntriesMax',
    (size) => ({
      service: 's',
      selector: Object.fromEntries(Array.from({ length: size }, (_, i) => [`k${i}`, ''])),
    }),
    8,
  ],
  ['metadataKeyBytesMax', (size) => ({ service: 's', selector: { ['k'.repeat(size)]: '' } }), 128],
  ['selectorBytesMax', (size) => ({ service: 's', selector: { k: 'v'.repeat(size - 1) } }), 1024],
];

test.each(filterBounds)('[LI1] %s of a filter is accepted, and one more is refused', async (_, build, max) => {
  await openBoth();
  for (const method of ['service.query', 'service.subscribe']) {
    expect(await client.request(method, build(max))).toMatchObject({ version: expect.any(Number), instances: [] });
    await expect(client.request(method, build(max + 1))).rejects.toMatchObject({ data: { code: 'invalid_params' } });
  }
});

test.each(bounds)('[LI1] %s is accepted, and one more is refused', async (_, build, max) => {
  await openBoth();
  expect(await client.request('instance.register', build(max))).toMatchObject({ version: expect.any(Number) });
  await expect(client.request('instance.register', build(max + 1))).rejects.toMatchObject({
    data: { code: 'invalid_params' },
  });
});
