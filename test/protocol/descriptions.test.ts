import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { Validator } from '@seriousme/openapi-schema-validator';
import { startServer } from 'slotcast';
import type { Server } from 'slotcast';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { httpOperations } from '../../src/protocol/http-operations.ts';
import { describeOpenapi } from '../../src/protocol/openapi.ts';
import { describeOpenrpc } from '../../src/protocol/openrpc.ts';
import { instanceInputSchema, methodSchemas, notificationSchemas } from '../../src/protocol/schemas.ts';
import type { JsonSchema } from '../../src/protocol/schemas.ts';
import { createValidator } from '../../src/sessions/validation.ts';

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

/** Of all strings in the descriptions. */
function listPatterns(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, entry]) =>
    key === 'pattern' && typeof entry === 'string' ? [entry] : listPatterns(entry),
  );
}

test('patterns use only what the engines of other languages have, too', () => {
  const patterns = new Set([...listPatterns(openapi), ...listPatterns(openrpc)]);
  expect(patterns.size).toBeGreaterThan(4);
  for (const pattern of patterns) {
    // No categories, no look-around, nothing that is not in the basic plane; escapes of four digits.
    expect(pattern).toMatch(/^(?:[ -[\]-~]|\\u[0-9a-c][0-9a-f]{3})+$/);
    expect(pattern).not.toContain('(?');
  }
});

test('names are of all characters but controls and lone surrogates; hosts hold no white space either', () => {
  const { service = {} } = methodSchemas['service.unsubscribe'].params.properties as Record<string, JsonSchema>;
  const { host = {}, metadata = {} } = (instanceInputSchema as { properties: Record<string, JsonSchema> }).properties;
  const cases = [
    [service, /^[^\p{Cc}\p{Cs}]$/u],
    [host, /^[^\p{Cc}\p{Cs}\p{Z}]$/u],
    [metadata.additionalProperties as JsonSchema, /^\P{Cs}$/u],
  ] as const;
  for (const [schema, expected] of cases) {
    const validate = createValidator<string>(schema);
    const wrong: string[] = [];
    for (let code = 0; code < 0x1_10_00; code++) {
      const character = String.fromCodePoint(code);
      if (validate(character).ok !== expected.test(character)) wrong.push(code.toString(16));
    }
    expect(wrong).toEqual([]);
  }
});

test('openapi.json names for every operation whatever it may be refused with, and links to operations that there are', () => {
  const { paths } = openapi as {
    paths: Record<
      string,
      Record<string, { requestBody?: object; responses: Record<string, { links?: object; headers?: object }> }>
    >;
  };
  for (const { requestBody, responses } of Object.values(paths).flatMap((methods) => Object.values(methods))) {
    for (const status of [400, 403, 503, ...(requestBody === undefined ? [] : [413, 415])]) {
      expect(responses).toHaveProperty(String(status));
    }
    expect(responses['503']?.headers).toHaveProperty('Retry-After');
    for (const id of Object.keys(responses['200']?.links ?? {})) expect(httpOperations).toHaveProperty(id);
  }
});
