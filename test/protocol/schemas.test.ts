import { Ajv2020 } from 'ajv/dist/2020.js';
import { expect, test } from 'vitest';

import { settings } from '../../src/config/config.ts';
import { httpOperations } from '../../src/protocol/http-operations.ts';
import { methodSchemas, notificationSchemas } from '../../src/protocol/schemas.ts';
import type { JsonSchema } from '../../src/protocol/schemas.ts';

const ajv = new Ajv2020({ allErrors: true });

/** All that validators are compiled from, and that documents are made of. */
const schemas: readonly (readonly [name: string, schema: JsonSchema])[] = [
  ...Object.entries(methodSchemas).flatMap(([method, { params, result }]) => [
    [`${method}: params`, params] as const,
    [`${method}: result`, result] as const,
  ]),
  ...Object.entries(notificationSchemas).map(([method, { params }]) => [method, params] as const),
  ...Object.entries(httpOperations).flatMap(([id, { query, body, result, headers }]) =>
    [query, body, result, ...Object.values(headers ?? {})].flatMap((schema, index) =>
      schema === undefined ? [] : [[`${id}: ${index}`, schema] as const],
    ),
  ),
  ...Object.entries(settings).map(([name, { schema }]) => [name, schema] as const),
];

test.each(schemas)('%s is a valid schema of its draft', (_, schema) => {
  void ajv.validateSchema(schema);
  expect(ajv.errors ?? []).toEqual([]);
});

test('a schema that is not valid is found', () => {
  void ajv.validateSchema({ type: 'integer', minimum: 'one' });
  expect(ajv.errors ?? []).not.toEqual([]);
});
