import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { Validator } from '@seriousme/openapi-schema-validator';
import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { describeOpenapi, httpOperations } from '../../src/protocol/http-operations.ts';
import { describeOpenrpc } from '../../src/protocol/openrpc.ts';
import { methodSchemas, notificationSchemas } from '../../src/protocol/schemas.ts';

function readJson(path: string): Record<string, unknown> {
  const file = fileURLToPath(new URL(`../../${path}`, import.meta.url));
  return JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
}

const version = String(readJson('package.json').version);
/** As it comes back from JSON: without what is undefined. */
const openrpc: unknown = JSON.parse(JSON.stringify(describeOpenrpc(version)));
const openapi: unknown = JSON.parse(JSON.stringify(describeOpenapi(version)));

test('docs/openrpc.json and docs/openapi.json are what `npm run docs` writes', () => {
  expect(readJson('docs/openrpc.json')).toEqual(openrpc);
  expect(readJson('docs/openapi.json')).toEqual(openapi);
});

describe('a running server', () => {
  let server: Server;
  beforeAll(async () => {
    server = await startServer({ port: 0, partitions: 1, logLevel: 'silent', drainTimeoutMs: 0 });
  });
  afterAll(async () => {
    await server.stop();
  });

  test.each([
    ['/openrpc.json', openrpc],
    ['/openapi.json', openapi],
  ])('serves %s', async (path, expected) => {
    const response = await fetch(`${server.address.httpUrl}${path}`);
    expect(response.headers.get('content-type')).toBe('application/json');
    expect(await response.json()).toEqual(expected);
  });
});

test('openapi.json is valid OpenAPI 3.1', async () => {
  const validator = new Validator();
  const outcome = await validator.validate(structuredClone(openapi) as Record<string, unknown>);
  expect(outcome).toEqual({ valid: true });
  expect(validator.version).toBe('3.1');
});

test('openrpc.json has every method with its params, result and errors, and every notification', () => {
  const { methods, components } = openrpc as {
    methods: { name: string; params: { name: string }[]; result: { schema: unknown }; errors: { $ref: string }[] }[];
    components: { errors: Record<string, unknown> };
  };
  expect(methods.map(({ name }) => name)).toEqual(Object.keys(methodSchemas));
  for (const { name, params, result, errors } of methods) {
    const schema = methodSchemas[name as keyof typeof methodSchemas];
    expect(params.map((param) => param.name)).toEqual(Object.keys(schema.params.properties as object));
    expect(result.schema).toEqual(schema.result);
    for (const { $ref } of errors) expect(components.errors).toHaveProperty($ref.replace('#/components/errors/', ''));
  }
  const { 'x-notifications': notifications } = openrpc as { 'x-notifications': { name: string }[] };
  expect(notifications.map(({ name }) => name)).toEqual(Object.keys(notificationSchemas));
});

test('openapi.json has every operation', () => {
  const { paths } = openapi as { paths: Record<string, Record<string, { operationId: string }>> };
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { operationId }]) => `${operationId} ${method.toUpperCase()} ${path}`),
  );
  expect(operations.sort()).toEqual(
    Object.entries(httpOperations)
      .map(([id, { method, path }]) => `${id} ${method} ${path}`)
      .sort(),
  );
});
