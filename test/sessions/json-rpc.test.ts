import fc from 'fast-check';
import { expect, test } from 'vitest';

import { errorCodes } from '../../src/protocol/errors.ts';
import type { ErrorCode, Failure } from '../../src/protocol/errors.ts';
import type { Result } from '../../src/sessions/answers.ts';
import { encodeResult, jsonRpc } from '../../src/sessions/json-rpc.ts';

const text = fc.string({ unit: 'binary' });
const failure: fc.Arbitrary<Failure> = fc.record(
  {
    code: fc.constantFrom(...(Object.keys(errorCodes) as ErrorCode[])),
    message: text,
    field: text,
    limit: text,
    max: fc.nat(),
    retryAfterMs: fc.nat(),
  },
  { requiredKeys: ['code', 'message'] },
);

test('[WP2] an error is encoded with its number, its name and all its details, whatever text they hold', () => {
  fc.assert(
    fc.property(failure, (given) => {
      const { code, message, ...details } = given;
      expect(JSON.parse(jsonRpc.encodeRefusal('id', given))).toEqual({
        jsonrpc: '2.0',
        id: 'id',
        error: { code: errorCodes[code].number, message, data: { code, ...details } },
      });
    }),
  );
});

test.each([1, -0.5, 1e300, 'a"b', null])('the id %j comes back as it was', (id) => {
  expect(JSON.parse(jsonRpc.encodeAnswer(id, { kind: 'done' }))).toEqual({ jsonrpc: '2.0', id, result: {} });
});

test('a page of services is encoded whole, whatever their names', () => {
  const summary = fc.record({ namespace: text, group: text, service: text, instances: fc.nat() });
  fc.assert(
    fc.property(fc.array(summary), fc.option(text, { nil: undefined }), (services, cursor) => {
      const page = cursor === undefined ? { services } : { services, cursor };
      expect(JSON.parse(encodeResult({ kind: 'listed', page }))).toEqual(page);
    }),
  );
});

const results: readonly [Result, unknown][] = [
  [
    { kind: 'registered', version: 7, id: 'a"b' },
    { version: 7, id: 'a"b' },
  ],
  [{ kind: 'deregistered', version: 7 }, { version: 7 }],
  [
    { kind: 'state', version: 7, count: 1, list: '"instances":[{"id":"a"}]', isWarming: false },
    { version: 7, instances: [{ id: 'a' }] },
  ],
  [
    { kind: 'state', version: 7, count: 0, list: '"instances":[]', isWarming: true },
    { version: 7, instances: [], warming: true },
  ],
  [
    { kind: 'resumed', from: 5, version: 7, difference: '"put":[],"remove":["a"]', isWarming: true },
    { from: 5, version: 7, put: [], remove: ['a'], warming: true },
  ],
];

test.each(results)('a result without its envelope: %j', (result, expected) => {
  expect(JSON.parse(encodeResult(result))).toEqual(expected);
});

test('what a session is told unasked is a notification of the protocol', () => {
  const key = 'public/DEFAULT/a"b';
  const name = { namespace: 'public', group: 'DEFAULT', service: 'a"b' };
  const told = [
    jsonRpc.encodeNotice({ kind: 'goaway', reason: 'stop', reconnectAfterMs: 5 }),
    jsonRpc.encodeNotice({ kind: 'claim', key, id: 'i', isShown: false }),
    jsonRpc.encodePush({ kind: 'delta', key, count: 2, from: 5, to: 7, difference: '"put":[],"remove":["i"]' }),
    jsonRpc.encodePush({ kind: 'snapshot', key, count: 0, to: 7, list: '"instances":[]' }),
  ].map((frame) => JSON.parse(frame) as unknown);
  const count = { count: 2, from: 5, to: 7, put: [], remove: ['i'] };
  expect(told).toEqual([
    { jsonrpc: '2.0', method: 'session.goaway', params: { reason: 'stop', reconnectAfterMs: 5 } },
    { jsonrpc: '2.0', method: 'instance.claim', params: { ...name, id: 'i', shown: false } },
    { jsonrpc: '2.0', method: 'service.changed', params: { ...name, ...count } },
    {
      jsonrpc: '2.0',
      method: 'service.changed',
      params: { ...name, count: 0, snapshot: true, to: 7, instances: [] },
    },
  ]);
});
