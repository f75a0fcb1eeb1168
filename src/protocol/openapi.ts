import { errorCodes } from './errors.ts';
import type { ErrorCode } from './errors.ts';
import { commonErrors, httpOperations, pathParameters } from './http-operations.ts';
import type { HttpOperation, OperationId } from './http-operations.ts';
import type { JsonSchema } from './schemas.ts';

const errorSchema: JsonSchema = {
  type: 'object',
  properties: {
    error: {
      type: 'object',
      properties: {
        code: { type: 'string', enum: Object.keys(errorCodes) },
        message: { type: 'string' },
        field: { type: 'string' },
        limit: { type: 'string' },
        max: { type: 'integer' },
        retryAfterMs: { type: 'integer' },
        httpPort: { type: 'integer' },
      },
      required: ['code', 'message'],
    },
  },
  required: ['error'],
};
const errorContent: JsonSchema = { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } };
const etag: JsonSchema = {
  description: 'The tag of this list, for `If-None-Match`.',
  required: true,
  schema: { type: 'string' },
};
const retryAfter: JsonSchema = {
  description: 'When to retry, in seconds.',
  required: true,
  schema: { type: 'integer', minimum: 1 },
};
const ifNoneMatch: JsonSchema = {
  type: 'string',
  description: "The `ETag` of the caller's list: 304 if it is still current.",
};

/** The OpenAPI 3.1 description of {@link httpOperations}. */
export function describeOpenapi(productVersion: string): JsonSchema {
  const paths: Record<string, Record<string, JsonSchema>> = {};
  for (const [operationId, operation] of Object.entries(httpOperations) as [OperationId, HttpOperation][]) {
    (paths[operation.path] ??= {})[operation.method.toLowerCase()] = describeOperation(operationId, operation);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'slotcast',
      version: productVersion,
      description:
        'The HTTP side of the registry: reading, waiting for changes, registering with leases, administration, metrics, health. Changes are also pushed over the WebSocket.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    paths,
    components: { schemas: { Error: errorSchema } },
  };
}

function describeOperation(operationId: OperationId, operation: HttpOperation): JsonSchema {
  const { summary, path, query, body, headers, isRaw, isTagged, isLocal, audit } = operation;
  const read = { ...headers, ...(isTagged === true ? { 'If-None-Match': ifNoneMatch } : {}) };
  return {
    operationId,
    summary,
    ...(isLocal === true ? { description: 'Loopback callers only; behind a proxy, the caller is the proxy.' } : {}),
    ...(audit === 'none' ? {} : { 'x-audit': audit }),
    parameters: [
      ...Object.entries(pathParameters)
        .filter(([name]) => path.includes(`{${name}}`))
        .map(([name, schema]) => ({ name, in: 'path', required: true, schema: addLengths(schema) })),
      ...describeQuery(query),
      ...Object.entries(read).map(([name, schema]) => ({ name, in: 'header', required: false, schema })),
    ],
    ...(isRaw === true
      ? { requestBody: { required: false, content: { 'application/octet-stream': { schema: {} } } } }
      : {}),
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: { 'application/json': { schema: addLengths(body) } } } }),
    responses: { ...describeSuccess(operation), ...describeFailures(operation) },
  };
}

function describeSuccess({ result, resultType, isTagged, links = {} }: HttpOperation): Record<string, JsonSchema> {
  const headers = isTagged === true ? { headers: { ETag: etag } } : {};
  const described = Object.entries(links).map(([operationId, parameters]) => [
    operationId,
    { operationId, parameters },
  ]);
  return {
    200: {
      description: 'Done.',
      ...headers,
      content: { [resultType ?? 'application/json']: { schema: addLengths(result) } },
      ...(described.length === 0 ? {} : { links: Object.fromEntries(described) as Record<string, JsonSchema> }),
    },
    ...(isTagged === true ? { 304: { description: "The caller's list is current.", ...headers } } : {}),
  };
}

/** By status: one may stand for several codes. */
function describeFailures({ body, isRaw, result, isCheck, errors }: HttpOperation): Record<string, JsonSchema> {
  const statuses = new Map<number, ErrorCode[]>();
  // A body may be too large.
  for (const code of new Set([
    ...commonErrors,
    ...(body === undefined && isRaw !== true ? [] : (['limit_exceeded'] as const)),
    ...errors,
  ])) {
    const { status } = errorCodes[code];
    statuses.set(status, [...(statuses.get(status) ?? []), code]);
  }
  const failures = Object.fromEntries(
    [...statuses].map(([status, codes]): [number, JsonSchema] => [
      status,
      {
        description: codes.join(', '),
        ...(status === 503 ? { headers: { 'Retry-After': retryAfter } } : {}),
        content: errorContent,
      },
    ]),
  );
  if (isCheck === true) {
    const schema = { anyOf: [result, { $ref: '#/components/schemas/Error' }] };
    failures[503] = {
      description: 'No. Or: busy',
      headers: { 'Retry-After': { ...retryAfter, required: false } },
      content: { 'application/json': { schema } },
    };
  }
  if (body !== undefined || isRaw === true) failures[415] = { description: 'invalid_request', content: errorContent };
  return failures;
}

function describeQuery(query: JsonSchema | undefined): JsonSchema[] {
  if (query === undefined) return [];
  const { properties, required } = query as { properties: Record<string, JsonSchema>; required: readonly string[] };
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: 'query',
    required: required.includes(name),
    schema: addLengths(schema),
    // As `selector[lane]=blue`.
    ...(schema.type === 'object' ? { style: 'deepObject', explode: true } : {}),
  }));
}

/** What our own keywords imply for tools that do not know them: a text of at most this many bytes has no more characters than that, and as many bytes in base64 a third more. */
function addLengths(schema: JsonSchema): JsonSchema {
  const entries = Object.entries(schema).map(([keyword, value]): [string, unknown] => [
    keyword,
    addLengthsWithin(value),
  ]);
  const { 'x-bytesMax': bytesMax, 'x-valueBytesMax': valueBytesMax } = schema;
  if (typeof bytesMax === 'number') entries.push(['maxLength', bytesMax]);
  if (typeof valueBytesMax === 'number') entries.push(['maxLength', Math.ceil(valueBytesMax / 3) * 4]);
  return Object.fromEntries(entries);
}

function addLengthsWithin(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(addLengthsWithin);
  return typeof value === 'object' && value !== null ? addLengths(value as JsonSchema) : value;
}
