import { protocolLimits as limits } from './limits.ts';
import type { MethodName, Notifications } from './types.ts';

/**
 * Protocol version 1 as JSON Schema (2020-12): what validates requests, encodes replies and makes the OpenRPC and OpenAPI
 * documents. Keywords of our own: `x-bytesMax` (UTF-8 bytes of a string), `x-totalBytesMax` (of a map's keys and values) and `x-wellFormed` (no lone surrogates).
 */
export interface JsonSchema {
  readonly [keyword: string]: unknown;
}

/*
 * What names must not hold, as ranges of characters: JSON Schema asks for patterns that every engine reads, and not all know Unicode's categories. Lone surrogates, which
 * no text in UTF-8 can hold, engines of other languages cannot even name.
 */
const controls = String.raw`\u0000-\u001f\u007f-\u009f`;
const separators = String.raw`\u0020\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000`;

/** No control characters, no lone surrogates: such names would not survive logs, terminals or UTF-8. */
const plainText: JsonSchema = { pattern: `^[^${controls}]+$`, 'x-wellFormed': true };

const name = (what: string, charsMax: number): JsonSchema => ({
  type: 'string',
  minLength: 1,
  maxLength: charsMax,
  pattern: '^[A-Za-z0-9_.-]+$',
  description: what,
});

const text = (what: string, bytesMax: number): JsonSchema => ({
  type: 'string',
  minLength: 1,
  ...plainText,
  'x-bytesMax': bytesMax,
  description: `${what} 1 to ${bytesMax} bytes of UTF-8 without control characters.`,
});

const version = (what: string): JsonSchema => ({
  type: 'integer',
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
  description: what,
});

const object = (
  properties: Record<string, JsonSchema>,
  required: readonly string[],
  description?: string,
): JsonSchema => ({
  type: 'object',
  properties,
  required,
  additionalProperties: false,
  ...(description === undefined ? {} : { description }),
});

/** What is read by who cannot know yet whom it talks to: what they do not know in it is passed over. */
const openObject = (properties: Record<string, JsonSchema>, required: readonly string[]): JsonSchema => ({
  ...object(properties, required),
  additionalProperties: true,
});

const array = (items: JsonSchema, description: string): JsonSchema => ({ type: 'array', items, description });

const namespace = name('The namespace; by default `public`.', limits.namespaceCharsMax);
const group = name('The group; by default `DEFAULT`.', limits.groupCharsMax);
const service = text("The service's name.", limits.serviceBytesMax);
const instanceId = text(
  "The instance's id, unique within its service; by default `host:port`.",
  limits.instanceIdBytesMax,
);
const serviceFields = { namespace, group, service };

const flatMap = (what: string, entriesMax: number, bytesMax: number): JsonSchema => ({
  type: 'object',
  maxProperties: entriesMax,
  propertyNames: {
    type: 'string',
    minLength: 1,
    ...plainText,
    'x-bytesMax': limits.metadataKeyBytesMax,
    not: { enum: ['__proto__', 'constructor', 'prototype'] },
  },
  additionalProperties: { type: 'string', 'x-wellFormed': true },
  'x-totalBytesMax': bytesMax,
  description: `${what}: at most ${entriesMax} entries and ${bytesMax} bytes of keys and values. The keys \`__proto__\`, \`constructor\` and \`prototype\` are refused.`,
});

const metadata = flatMap('A flat map of strings', limits.metadataEntriesMax, limits.metadataBytesMax);

const instanceProperties: Record<string, JsonSchema> = {
  id: instanceId,
  host: {
    type: 'string',
    minLength: 1,
    maxLength: limits.hostCharsMax,
    pattern: `^[^${controls}${separators}]+$`,
    'x-wellFormed': true,
    description: 'Host name or address, without white space.',
  },
  port: { type: 'integer', minimum: 1, maximum: 65_535, description: 'The port.' },
  weight: {
    type: 'integer',
    minimum: 0,
    maximum: limits.weightMax,
    description: `Share of traffic, relative to the others; by default ${limits.weightDefault}.`,
  },
  enabled: { type: 'boolean', description: 'Whether it takes traffic; by default true.' },
  zone: text('Where it runs.', limits.zoneBytesMax),
  metadata,
};

const filterFields = {
  zone: text('Only instances of this zone.', limits.zoneBytesMax),
  enabledOnly: { type: 'boolean', description: 'Only instances with `enabled` true.' },
  selector: flatMap(
    'Only instances whose metadata has these keys with exactly these values',
    limits.selectorEntriesMax,
    limits.selectorBytesMax,
  ),
};

export const instanceInputSchema: JsonSchema = object(
  instanceProperties,
  ['host', 'port'],
  'An instance to register; the server fills in defaults.',
);

const instanceSchema: JsonSchema = object(
  instanceProperties,
  ['id', 'host', 'port', 'weight', 'enabled'],
  'An instance as subscribers see it. `zone` and `metadata` are omitted when empty.',
);

const instances = array(instanceSchema, 'All instances of the service that match the filter.');
const put = array(instanceSchema, 'Instances that were added or changed, in full.');
const remove = array(
  instanceId,
  'Ids of instances that are gone or no longer match the filter. They need not be in the list.',
);
const nameProperties = { namespace, group, service };
const nameRequired = ['namespace', 'group', 'service'];
const count: JsonSchema = {
  type: 'integer',
  minimum: 0,
  description: 'The number of instances in the list after this change.',
};
const positive = (what: string): JsonSchema => ({ type: 'integer', minimum: 1, description: what });

const warming: JsonSchema = {
  const: true,
  description: 'The registry has just started, and not all clients from before are back: instances may be missing.',
};

export const snapshotSchema: JsonSchema = object(
  { version: version("The service's version."), instances, warming },
  ['version', 'instances'],
  'The whole list.',
);

const resumeSchema: JsonSchema = object(
  {
    from: version('The version that was requested.'),
    version: version("The service's current version."),
    put,
    remove,
    warming,
  },
  ['from', 'version', 'put', 'remove'],
  'What has changed since the version that was requested.',
);

const serviceSummarySchema: JsonSchema = object(
  { ...nameProperties, instances: { type: 'integer', minimum: 1, description: 'The number of its instances.' } },
  [...nameRequired, 'instances'],
);

export const listSchema: JsonSchema = object(
  {
    services: array(serviceSummarySchema, 'Services that have instances, ordered by key.'),
    cursor: { type: 'string', description: 'Present if there are more: send it to get the next page.' },
  },
  ['services'],
);

const listLimit = (what: string): JsonSchema => ({
  type: 'integer',
  minimum: 1,
  maximum: limits.listLimitMax,
  description: `${what} per page; by default ${limits.listLimitDefault}.`,
});
const listCursor: JsonSchema = {
  type: 'string',
  pattern: '^[A-Za-z0-9_-]+$',
  maxLength: limits.cursorCharsMax,
  description: 'The `cursor` of the previous page.',
};

export const listParamsSchema: JsonSchema = object(
  {
    namespace: name('Without it, services of every namespace.', limits.namespaceCharsMax),
    prefix: text('Only services whose name begins with this.', limits.serviceBytesMax),
    limit: listLimit('Services'),
    cursor: listCursor,
  },
  [],
);

export interface MethodSchema {
  readonly summary: string;
  readonly params: JsonSchema;
  readonly result: JsonSchema;
}

export const methodSchemas: Readonly<Record<MethodName, MethodSchema>> = {
  'session.open': {
    summary:
      'Introduces the client and returns the limits. Optional, unless the server requires it; at most once per connection.',
    params: openObject(
      {
        client: text("The client library's name and version.", limits.clientBytesMax),
        app: text('The application.', limits.clientBytesMax),
        zone: text('Where the caller runs.', limits.zoneBytesMax),
        token: {
          type: 'string',
          minLength: 1,
          'x-bytesMax': limits.tokenBytesMax,
          description: 'Credentials; unused in this version.',
        },
        resume: {
          type: 'string',
          minLength: 1,
          maxLength: limits.secretCharsMax,
          pattern: '^[A-Za-z0-9_-]+$',
          description: 'The `secret` of an earlier session, to take it over.',
        },
        capabilities: {
          type: 'array',
          maxItems: limits.capabilitiesMax,
          items: { type: 'string', pattern: '^[a-z][a-z0-9-]*$', maxLength: limits.capabilityCharsMax },
          description: 'The capabilities that the client understands; the server ignores those that it does not know.',
        },
        protocol: {
          type: 'integer',
          minimum: 0,
          maximum: limits.protocolVersionMax,
          description: 'The highest version of the protocol that the client speaks; by default 1.',
        },
      },
      ['client'],
    ),
    result: object(
      {
        session: { type: 'string', description: "The session's id, for logs." },
        heartbeatMs: positive('A client silent for this long is pinged.'),
        limits: object(
          {
            frameBytesMax: positive('Bytes of one frame.'),
            batchEntriesMax: positive('Requests in one batch.'),
            requestsInFlightMax: positive('Unanswered requests of one session.'),
            registrationsMax: positive('Instances registered by one session.'),
            subscriptionsMax: positive('Services that one session has subscribed to.'),
          },
          ['frameBytesMax', 'batchEntriesMax', 'requestsInFlightMax', 'registrationsMax', 'subscriptionsMax'],
        ),
        secret: {
          type: 'string',
          description:
            'Lets another connection take this session over; keep it secret. Absent for clients without the capability `resume`.',
        },
        registry: {
          type: 'string',
          description:
            'Identifies this registry and its history: versions and sessions of a different one are meaningless to it.',
        },
        warming: {
          type: 'boolean',
          description: 'The registry has just started, and not all clients from before are back.',
        },
        protocol: positive('The version of the protocol spoken on this connection.'),
        capabilities: array({ type: 'string' }, 'The capabilities that the server offers.'),
        resumed: object(
          {
            registrations: {
              type: 'integer',
              minimum: 0,
              description: 'The number of instances that it has registered.',
            },
            digest: { type: 'string', description: 'The digest of its registrations.' },
          },
          ['registrations', 'digest'],
          'Present if the session of `resume` has been taken over; absent if it no longer exists.',
        ),
      },
      ['session', 'heartbeatMs', 'limits', 'registry', 'warming', 'protocol', 'capabilities'],
    ),
  },
  'session.registrations': {
    summary: 'Lists what this session has registered, with hashes, page by page, ordered by key and id.',
    params: object({ limit: listLimit('Registrations'), cursor: listCursor }, []),
    result: object(
      {
        registrations: array(
          object(
            {
              ...nameProperties,
              id: instanceId,
              hash: { type: 'string', description: 'The hash of the registration.' },
            },
            [...nameRequired, 'id', 'hash'],
          ),
          'Registrations, ordered by key and id.',
        ),
        cursor: { type: 'string', description: 'Present if there are more: send it to get the next page.' },
      },
      ['registrations'],
    ),
  },
  'instance.register': {
    summary: 'Registers an instance, or replaces the one with the same id. It lives as long as the session.',
    params: object({ ...serviceFields, instance: instanceInputSchema }, ['service', 'instance']),
    result: object({ version: version("The service's version."), id: instanceId }, ['version', 'id']),
  },
  'instance.deregister': {
    summary: 'Removes an instance that this session registered.',
    params: object({ ...serviceFields, id: instanceId }, ['service', 'id']),
    result: object({ version: version("The service's version.") }, ['version']),
  },
  'service.subscribe': {
    summary: 'Subscribes to changes; returns the current list, or what has changed since `version`.',
    params: object(
      {
        ...serviceFields,
        ...filterFields,
        mode: {
          type: 'string',
          enum: ['delta', 'snapshot'],
          description: 'What later notifications contain: only what changed (the default), or the whole list.',
        },
        version: version("To resume: the version of the client's list, with the same filter."),
        count: {
          type: 'integer',
          minimum: 0,
          maximum: Number.MAX_SAFE_INTEGER,
          description:
            "To resume: the number of instances in the client's list; a registry that has just started waits until as many are back.",
        },
      },
      ['service'],
    ),
    result: { oneOf: [snapshotSchema, resumeSchema] },
  },
  'service.unsubscribe': {
    summary: 'Ends a subscription. Not having one is not an error.',
    params: object(serviceFields, ['service']),
    result: object({}, []),
  },
  'service.query': {
    summary: 'Returns the list once.',
    params: object({ ...serviceFields, ...filterFields }, ['service']),
    result: snapshotSchema,
  },
  'service.list': {
    summary: 'Lists the services that have instances, page by page.',
    params: listParamsSchema,
    result: listSchema,
  },
};

export const notificationSchemas: Readonly<
  Record<keyof Notifications, { readonly summary: string; readonly params: JsonSchema }>
> = {
  'service.changed': {
    summary: 'A subscribed service has changed.',
    params: {
      oneOf: [
        object(
          {
            ...nameProperties,
            count,
            from: version('The version it applies to.'),
            to: version('The version after it.'),
            put,
            remove,
          },
          [...nameRequired, 'count', 'from', 'to', 'put', 'remove'],
          'A delta: apply it only if `from` is the version of your list.',
        ),
        object(
          { ...nameProperties, count, snapshot: { const: true }, to: version('Its version.'), instances },
          [...nameRequired, 'count', 'snapshot', 'to', 'instances'],
          'A snapshot: it replaces your list.',
        ),
      ],
    },
  },
  'session.goaway': {
    summary: 'The client should reconnect: the server is stopping, or an operator wants sessions to move.',
    params: object(
      {
        reason: { type: 'string', description: 'Why, in a word.' },
        reconnectAfterMs: { type: 'integer', minimum: 0, description: 'How long to wait before reconnecting.' },
      },
      ['reason', 'reconnectAfterMs'],
    ),
  },
  'instance.claim': {
    summary:
      'Another session has registered an instance that this one has registered as well, or no longer does. Sent to clients with the capability `claims`.',
    params: object(
      {
        ...nameProperties,
        id: instanceId,
        shown: { type: 'boolean', description: "Whether subscribers see this session's registration." },
      },
      [...nameRequired, 'id', 'shown'],
    ),
  },
};
