import fc from 'fast-check';
import { expect, test } from 'vitest';

import { errorCodes } from '../../src/protocol/errors.ts';
import type { ErrorCode, Failure } from '../../src/protocol/errors.ts';
import { BatchAnswers, wordError, wordResult, wordResults } from '../../src/sessions/answers.ts';

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

test('[WP2] an error is worded with its number, its name and all its details, whatever text they hold', () => {
  fc.assert(
    fc.property(failure, (given) => {
      const { code, message, ...details } = given;
      expect(JSON.parse(wordError('id', given))).toEqual({
        jsonrpc: '2.0',
        id: 'id',
        error: { code: errorCodes[code].number, message, data: { code, ...details } },
      });
    }),
  );
});

test.each([1, -0.5, 1e300, 'a"b', null])('the id %j comes back as it was', (id) => {
  expect(JSON.parse(wordResult(id, '{}'))).toEqual({ jsonrpc: '2.0', id, result: {} });
});

test('a page of services is worded whole, whatever their names', () => {
  const summary = fc.record({ namespace: text, group: text, service: text, instances: fc.nat() });
  fc.assert(
    fc.property(fc.array(summary), fc.option(text, { nil: undefined }), (services, cursor) => {
      const result = cursor === undefined ? { services } : { services, cursor };
      expect(JSON.parse(wordResults.listed(result))).toEqual(result);
    }),
  );
});

test('a batch is answered once, in the order of its requests, when all answers are there', () => {
  const sent: string[] = [];
  const answers = new BatchAnswers(1000, (frame) => sent.push(frame));
  const [first, second] = [answers.reserve(), answers.reserve()];
  answers.fill(second, '2');
  answers.close();
  expect(sent).toEqual([]);
  answers.defer(() => sent.push('after'));
  answers.fill(first, '1');
  expect(sent).toEqual(['[1,2]', 'after']);
});

test('a batch of nothing but notifications is not answered', () => {
  const sent: string[] = [];
  new BatchAnswers(1000, (frame) => sent.push(frame)).close();
  expect(sent).toEqual([]);
});
