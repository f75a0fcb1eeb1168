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

/** A registration of the watched service, which would change it if it were carried out. */
function encodeRegister(instance: string): string {
  return encodeRequest('instance.register', `{"service":"known","instance":${instance}}`);
}

describe('[WP3, WP5] params', () => {
  const good = '"host":"10.0.0.1","port":80';
  const refusals: Omit<Refusal, 'code'>[] = [
    { name: 'as a list', frame: encodeRequest('service.query', '["known"]') },
    { name: 'as a string', frame: encodeRequest('service.query', '"known"') },
    { name: 'as a number', frame: encodeRequest('service.list', '1') },
    {
      name: 'absent where a field is required',
      frame: '{"jsonrpc":"2.0","id":7,"method":"service.query"}',
      field: '/service',
    },
    {
      name: 'with a missing field',
      frame: encodeRequest('instance.register', '{"service":"known"}'),
      field: '/instance',
    },
    {
      name: 'with an unknown field',
      frame: encodeRequest('service.query', '{"service":"known","color":"red"}'),
      field: '/color',
    },
    {
      name: 'with a service that is a number',
      frame: encodeRequest('service.query', '{"service":1}'),
      field: '/service',
    },
    {
      name: 'with a service that is null',
      frame: encodeRequest('service.query', '{"service":null}'),
      field: '/service',
    },
    {
      name: 'with a service that is a list',
      frame: encodeRequest('service.query', '{"service":["known"]}'),
      field: '/service',
    },
    {
      name: 'with duplicate keys, of which the last counts',
      frame: encodeRequest('service.query', '{"service":"known","service":2}'),
      field: '/service',
    },
    {
      name: 'with __proto__',
      frame: encodeRequest('service.query', '{"service":"known","__proto__":{"x":1}}'),
      field: '/__proto__',
    },
    {
      name: 'with constructor',
      frame: encodeRequest('service.query', '{"service":"known","constructor":{}}'),
      field: '/constructor',
    },
    {
      name: 'with the service only in __proto__',
      frame: encodeRequest('service.query', '{"__proto__":{"service":"known"}}'),
    },
    {
      name: 'with a namespace that holds a slash',
      frame: encodeRequest('service.query', '{"service":"known","namespace":"a/b"}'),
      field: '/namespace',
    },
    {
      name: 'with an empty namespace',
      frame: encodeRequest('service.query', '{"service":"known","namespace":""}'),
      field: '/namespace',
    },
    {
      name: 'with a group in another alphabet',
      frame: encodeRequest('service.query', '{"service":"known","group":"группа"}'),
      field: '/group',
    },
    { name: 'with an instance that is a string', frame: encodeRegister('"10.0.0.1:80"'), field: '/instance' },
    { name: 'with an instance that is null', frame: encodeRegister('null'), field: '/instance' },
    { name: 'with an instance 100,000 deep', frame: encodeRegister(nest(100_000)), field: '/instance' },
    {
      name: 'with an unknown field of an instance',
      frame: encodeRegister(`{${good},"speed":1}`),
      field: '/instance/speed',
    },
    {
      name: 'with __proto__ in an instance',
      frame: encodeRegister(`{${good},"__proto__":{"weight":1}}`),
      field: '/instance/__proto__',
    },
    {
      name: 'with constructor in an instance',
      frame: encodeRegister(`{${good},"constructor":{"prototype":{}}}`),
      field: '/instance/constructor',
    },
    { name: 'with a host only in __proto__', frame: encodeRegister('{"__proto__":{"host":"h","port":1}}') },
    { name: 'without a host', frame: encodeRegister('{"port":80}'), field: '/instance/host' },
    ...['""', '" "', '"a b"', '"a\\nb"', '"a\\u0000"', '"\\ud800"', '17', `"${'h'.repeat(256)}"`].map((host) => ({
      name: `with host ${host.slice(0, 20)}`,
      frame: encodeRegister(`{"host":${host},"port":80}`),
      field: '/instance/host',
    })),
    ...['0', '-1', '65536', '80.5', '"80"', 'null', 'true', '[80]', '1e400', '-0', '9007199254740993', '1e5'].map(
      (port) => ({
        name: `with port ${port}`,
        frame: encodeRegister(`{"host":"h","port":${port}}`),
        field: '/instance/port',
      }),
    ),
    ...['-1', '10001', '0.5', '"100"', 'null', '1e400', '9007199254740993', '-1e400'].map((weight) => ({
      name: `with weight ${weight}`,
      frame: encodeRegister(`{${good},"weight":${weight}}`),
      field: '/instance/weight',
    })),
    ...['1', '"true"', 'null'].map((enabled) => ({
      name: `with enabled ${enabled}`,
      frame: encodeRegister(`{${good},"enabled":${enabled}}`),
      field: '/instance/enabled',
    })),
    ...['""', '"a\\u0007"', '"\\udfff"', '{}', `"${'i'.repeat(513)}"`].map((id) => ({
      name: `with instance id ${id.slice(0, 20)}`,
      frame: encodeRegister(`{${good},"id":${id}}`),
      field: '/instance/id',
    })),
    ...[
      '[]',
      '"a=b"',
      'null',
      '{"a":1}',
      '{"a":null}',
      '{"a":{"b":"c"}}',
      '{"a":["b"]}',
      '{"":"x"}',
      '{"a\\u0000":"x"}',
      '{"a":"\\ud800"}',
      '{"\\ud800":"x"}',
      '{"__proto__":"x"}',
      '{"constructor":"x"}',
      '{"prototype":"x"}',
      '{"__proto__":{"polluted":"yes"}}',
      `{"a":"${'v'.repeat(8192)}"}`,
      `{"${'k'.repeat(129)}":"v"}`,
      `{${Array.from({ length: 65 }, (_, i) => `"k${i}":""`).join()}}`,
      `{${Array.from({ length: 10_000 }, (_, i) => `"k${i}":""`).join()}}`,
      `{"a":"${'v'.repeat(1_000_000)}"}`,
    ].map((metadata) => ({
      name: `with metadata ${metadata.slice(0, 40)}`,
      frame: encodeRegister(`{${good},"metadata":${metadata}}`),
    })),
    ...['-1', '1.5', '"1"', 'null', '9007199254740993', '1e400', '-1e400', 'true'].map((version) => ({
      name: `with version ${version}`,
      frame: encodeRequest('service.subscribe', `{"service":"known","version":${version}}`),
      field: '/version',
    })),
    ...[
      '[]',
      '"a=b"',
      'null',
      '1',
      '{"a":1}',
      '{"a":null}',
      '{"a":["b","c"]}',
      '{"a":{"$ne":"b"}}',
      '{"":"x"}',
      '{"a":"\\ud800"}',
      '{"__proto__":"x"}',
      '{"constructor":"x"}',
      `{"a":"${'v'.repeat(1024)}"}`,
      `{${Array.from({ length: 9 }, (_, i) => `"k${i}":""`).join()}}`,
      `{${Array.from({ length: 10_000 }, (_, i) => `"k${i}":""`).join()}}`,
    ].flatMap((selector) =>
      ['service.subscribe', 'service.query'].map((method) => ({
        name: `with selector ${selector.slice(0, 40)} of ${method}`,
        frame: encodeRequest(method, `{"service":"known","selector":${selector}}`),
      })),
    ),
    ...['""', '1', 'null', '["a"]', `"${'z'.repeat(129)}"`, '"a\\u0000"'].map((zone) => ({
      name: `with zone ${zone.slice(0, 20)} of a subscription`,
      frame: encodeRequest('service.subscribe', `{"service":"known","zone":${zone}}`),
      field: '/zone',
    })),
    ...['"true"', '1', 'null', '[]'].map((enabledOnly) => ({
      name: `with enabledOnly ${enabledOnly}`,
      frame: encodeRequest('service.query', `{"service":"known","enabledOnly":${enabledOnly}}`),
      field: '/enabledOnly',
    })),
    ...['"full"', '""', '1', 'null', '["delta"]'].map((mode) => ({
      name: `with mode ${mode}`,
      frame: encodeRequest('service.subscribe', `{"service":"known","mode":${mode}}`),
      field: '/mode',
    })),
    ...['0', '-1', '1001', '"10"', '1.5', '1e400'].map((limit) => ({
      name: `with limit ${limit}`,
      frame: encodeRequest('service.list', `{"limit":${limit}}`),
      field: '/limit',
    })),
    ...['""', '1', `"${'c'.repeat(2049)}"`].map((cursor) => ({
      name: `with cursor ${cursor.slice(0, 20)}`,
      frame: encodeRequest('service.list', `{"cursor":${cursor}}`),
      field: '/cursor',
    })),
    { name: 'of session.open without client', frame: encodeRequest('session.open', '{}'), field: '/client' },
    {
      name: 'of session.open with a client of 257 bytes',
      frame: encodeRequest('session.open', `{"client":"${'c'.repeat(257)}"}`),
      field: '/client',
    },
    {
      name: 'of session.open with a token of 1 MB',
      frame: encodeRequest('session.open', `{"client":"c","token":"${'t'.repeat(1_000_000)}"}`),
      field: '/token',
    },
    ...[
      '"claims"',
      '{}',
      '[1]',
      '[""]',
      '["Claims"]',
      `["${'c'.repeat(65)}"]`,
      JSON.stringify(Array(33).fill('c')),
    ].map((capabilities) => ({
      name: `of session.open with capabilities ${capabilities.slice(0, 20)}`,
      frame: encodeRequest('session.open', `{"client":"c","capabilities":${capabilities}}`),
    })),
    ...['-1', '1.5', '65536', '"1"', 'null', '1e400'].map((protocol) => ({
      name: `of session.open with protocol ${protocol}`,
      frame: encodeRequest('session.open', `{"client":"c","protocol":${protocol}}`),
      field: '/protocol',
    })),
    ...[
      ['instance.register', `"instance":{${good}}`],
      ['instance.deregister', '"id":"known.example:1"'],
      ['service.subscribe', '"mode":"delta"'],
      ['service.unsubscribe', '"namespace":"public"'],
      ['service.query', '"enabledOnly":true'],
    ].map(([method = '', field]) => ({
      name: `of ${method} with an unknown field`,
      frame: encodeRequest(method, `{"service":"known",${field},"later":null}`),
      field: '/later',
    })),
    ...['service.list', 'session.registrations'].map((method) => ({
      name: `of ${method} with an unknown field`,
      frame: encodeRequest(method, '{"limit":1,"later":{}}'),
      field: '/later',
    })),
    {
      name: 'of instance.deregister without id',
      frame: encodeRequest('instance.deregister', '{"service":"known"}'),
      field: '/id',
    },
    {
      name: 'of instance.deregister with an id that is a number',
      frame: encodeRequest('instance.deregister', '{"service":"known","id":1}'),
      field: '/id',
    },
    {
      name: 'of service.unsubscribe without service',
      frame: encodeRequest('service.unsubscribe', '{}'),
      field: '/service',
    },
  ];
  test.each(refusals)('$name', async (refusal) => {
    await expectRefusal(client, { ...refusal, code: 'invalid_params' });
  });

  test('[WP5] session.open passes over what it does not know, and what it knows must be right', async () => {
    const later = '"later":{"deep":[1]},"__proto__":{"client":1},"constructor":null,"capabilities":["later","claims"]';
    client.send(encodeRequest('session.open', `{"client":"c",${later},"app":""}`));
    expect(JSON.parse(await client.nextFrame())).toMatchObject({ error: { data: { field: '/app' } } });
    client.send(encodeRequest('session.open', `{${later}}`));
    expect(JSON.parse(await client.nextFrame())).toMatchObject({ error: { data: { field: '/client' } } });
    client.send(encodeRequest('session.open', `{"client":"c",${later}}`));
    expect(JSON.parse(await client.nextFrame())).toMatchObject({ result: { protocol: 1 } });
  });

  test('an unknown method of 100 kB is not echoed', async () => {
    client.send(encodeRequest('m'.repeat(100_000), '{}'));
    const answer = await client.nextFrame();
    expect(JSON.parse(answer)).toMatchObject({ error: { data: { code: 'unknown_method' } } });
    expect(answer.length).toBeLessThan(1000);
  });

  test('an unknown field of 100 kB is echoed only in part', async () => {
    client.send(encodeRequest('service.query', `{"service":"known","${'f'.repeat(100_000)}":1}`));
    const answer = await client.nextFrame();
    expect(JSON.parse(answer)).toMatchObject({ error: { data: { code: 'invalid_params' } } });
    expect(answer.length).toBeLessThan(1000);
  });

  test('nothing that was sent reached a prototype', () => {
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    expect(({} as Record<string, unknown>).admin).toBeUndefined();
  });
});
