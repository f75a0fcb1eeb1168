import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';

import { RawClient } from '../support/raw-client.ts';
import { expectRefusal, nest, encodeRequest } from '../support/refusal.ts';
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

describe('[WP3] what is not JSON', () => {
  test.each([
    ['nothing', ''],
    ['white space', '  \n '],
    ['a word', 'hello'],
    ['half an object', '{"jsonrpc":"2.0","id":1,'],
    ['NaN', encodeRequest('service.query', '{"service":NaN}')],
    ['single quotes', "{'jsonrpc':'2.0'}"],
    ['a trailing comma', '{"jsonrpc":"2.0",}'],
    ['a raw control character in a string', '{"jsonrpc":"2.0\u0001"}'],
    ['two requests in one frame', `${encodeRequest('service.list', '{}')}${encodeRequest('service.list', '{}')}`],
    ['a byte order mark', `\ufeff${encodeRequest('service.list', '{}')}`],
    ['10,000 open brackets', '['.repeat(10_000)],
    ['100,000 open braces', '{"a":'.repeat(100_000)],
  ])('%s', async (name, frame) => {
    await expectRefusal(client, { name, frame, code: 'parse_error', id: null });
  });
});

describe('[WP3] JSON that is no request', () => {
  const refusals: Omit<Refusal, 'code'>[] = [
    { name: 'null', frame: 'null', id: null },
    { name: 'a number', frame: '1', id: null },
    { name: 'a string', frame: '"service.list"', id: null },
    { name: 'an empty object', frame: '{}', id: null },
    { name: 'an empty batch', frame: '[]', id: null },
    { name: 'no jsonrpc', frame: '{"id":7,"method":"service.list"}' },
    { name: 'jsonrpc 1.0', frame: '{"jsonrpc":"1.0","id":7,"method":"service.list"}' },
    { name: 'jsonrpc as a number', frame: '{"jsonrpc":2.0,"id":7,"method":"service.list"}' },
    { name: 'no method', frame: '{"jsonrpc":"2.0","id":7}' },
    { name: 'method null', frame: '{"jsonrpc":"2.0","id":7,"method":null}' },
    { name: 'method as a list', frame: '{"jsonrpc":"2.0","id":7,"method":["service.list"]}' },
    { name: 'an extra field', frame: encodeRequest('service.list', '{}', ',"more":1') },
    { name: 'an answer nobody asked for', frame: '{"jsonrpc":"2.0","id":7,"result":{}}' },
    { name: '__proto__ in the envelope', frame: encodeRequest('service.list', '{}', ',"__proto__":{"admin":true}') },
    {
      name: 'constructor in the envelope',
      frame: encodeRequest('service.list', '{}', ',"constructor":{"prototype":{}}'),
    },
    { name: 'a method only in __proto__', frame: '{"jsonrpc":"2.0","id":7,"__proto__":{"method":"service.list"}}' },
    { name: 'id true', frame: '{"jsonrpc":"2.0","id":true,"method":"service.list"}', id: null },
    { name: 'id as an object', frame: '{"jsonrpc":"2.0","id":{},"method":"service.list"}', id: null },
    { name: 'id as a list', frame: '{"jsonrpc":"2.0","id":[7],"method":"service.list"}', id: null },
    { name: 'id 1e400', frame: '{"jsonrpc":"2.0","id":1e400,"method":"service.list"}', id: null },
    {
      name: 'an id of 129 characters',
      frame: `{"jsonrpc":"2.0","id":"${'x'.repeat(129)}","method":"service.list"}`,
      id: null,
    },
    {
      name: 'an id of 10 kB',
      frame: `{"jsonrpc":"2.0","id":"${'x'.repeat(10_000)}","method":"service.list"}`,
      id: null,
    },
    {
      name: 'an id 10,000 deep',
      frame: `{"jsonrpc":"2.0","id":${nest(10_000)},"method":"service.list"}`,
      id: null,
    },
    { name: 'an object 10,000 deep', frame: `${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`, id: null },
    {
      name: 'an object of 50,000 keys',
      frame: `{${Array.from({ length: 50_000 }, (_, i) => `"k${i}":0`).join()}}`,
      id: null,
    },
  ];
  test.each(refusals)('$name', async (refusal) => {
    await expectRefusal(client, { ...refusal, code: 'invalid_request' });
  });

  test('10,000 and 100,000 nested lists are batches of one entry that is no request', async () => {
    for (const depth of [10_000, 100_000]) {
      client.send(nest(depth));
      const answer = JSON.parse(await client.nextFrame()) as unknown;
      expect(answer).toMatchObject([{ id: null, error: { data: { code: 'invalid_request' } } }]);
    }
  });
});

describe('[WP3] unknown methods', () => {
  test.each([
    '',
    'service',
    'service.Query',
    'service.query ',
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    'rpc.discover',
  ])('%j', async (name) => {
    await expectRefusal(client, { name, frame: encodeRequest(name, '{}'), code: 'unknown_method' });
  });
});

describe('[WP3] ids', () => {
  test.each([
    '0',
    '-1',
    '1.5',
    '""',
    '"seven"',
    'null',
    '9007199254740991',
    '"\\u2028"',
    '"\\ud83d\\ude00"',
    `"${'x'.repeat(128)}"`,
  ])('the id %s comes back as it went', async (id) => {
    client.send(`{"jsonrpc":"2.0","id":${id},"method":"service.query","params":{"service":"nobody"}}`);
    expect(JSON.parse(await client.nextFrame())).toMatchObject({
      id: JSON.parse(id) as unknown,
      result: { instances: [] },
    });
  });

  test('requests with the same id are each answered', async () => {
    const frame = encodeRequest('service.query', '{"service":"nobody"}');
    client.send(frame);
    client.send(frame);
    client.send(`[${frame},${frame}]`);
    expect(JSON.parse(await client.nextFrame())).toMatchObject({ id: 7 });
    expect(JSON.parse(await client.nextFrame())).toMatchObject({ id: 7 });
    expect(JSON.parse(await client.nextFrame())).toMatchObject([{ id: 7 }, { id: 7 }]);
  });

  test('a notification is never answered, not even when it is wrong', async () => {
    client.notify('service.query', { service: 'known' });
    client.notify('service.query', { service: 5 });
    client.notify('no.such.method');
    client.send('[{"jsonrpc":"2.0","method":"service.list"}]');
    client.send(encodeRequest('service.query', '{"service":"nobody"}'));
    expect(JSON.parse(await client.nextFrame())).toMatchObject({ id: 7, result: { instances: [] } });
  });
});

describe('[WP3] batches', () => {
  test('10,000 entries are refused as a whole', async () => {
    const entry =
      '{"jsonrpc":"2.0","method":"instance.register","params":{"service":"known","instance":{"host":"b","port":1}}}';
    client.send(`[${Array.from({ length: 9000 }, () => entry).join()}]`);
    expect(JSON.parse(await client.nextFrame())).toMatchObject({
      id: null,
      error: { data: { code: 'limit_exceeded', limit: 'batchEntriesMax', max: 1000 } },
    });
    const short = '{"jsonrpc":"2.0","method":"service.list"}';
    client.send(`[${Array.from({ length: 10_000 }, () => short).join()}]`);
    expect(JSON.parse(await client.nextFrame())).toMatchObject({
      id: null,
      error: { data: { code: 'limit_exceeded', limit: 'batchEntriesMax', max: 1000 } },
    });
  });

  test('a batch of garbage is answered entry by entry, in order, and what is right among it is carried out', async () => {
    client.send(
      `[1,null,"x",[],{},${encodeRequest('service.query', '{"service":"nobody"}')},${encodeRequest('nope', '{}')},[[${encodeRequest('service.list', '{}')}]]]`,
    );
    const answers = JSON.parse(await client.nextFrame()) as { id: unknown }[];
    const invalid = { id: null, error: { data: { code: 'invalid_request' } } };
    expect(answers).toMatchObject([
      invalid,
      invalid,
      invalid,
      invalid,
      invalid,
      { id: 7, result: { instances: [] } },
      { id: 7, error: { data: { code: 'unknown_method' } } },
      invalid,
    ]);
  });

  test('session.open twice is refused, in one batch and after', async () => {
    const open = encodeRequest('session.open', '{"client":"twice"}');
    client.send(`[${open},${open}]`);
    expect(JSON.parse(await client.nextFrame())).toMatchObject([
      { result: { session: expect.any(String) } },
      { error: { data: { code: 'invalid_request' } } },
    ]);
    client.send(open);
    expect(JSON.parse(await client.nextFrame())).toMatchObject({ error: { data: { code: 'invalid_request' } } });
  });
});
