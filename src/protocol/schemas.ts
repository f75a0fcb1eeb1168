import { protocolLimits as limits } from './limits.ts';
import type { MethodName, Notifications } from './types.ts';

/**
 * Protocol version 1 as JSON Schema (2020-12): what validates requests, encodes replies and makes the OpenRPC and OpenAPI
 * documents. Keywords of our own: `x-bytesMax` (UTF-8 bytes of a string), `x-totalBytesMax` (of a map's keys and values),
 * `x-valueBytesMax` (bytes that a key's value in base64 stands for) and `x-wellFormed` (no lone surrogates).
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

export const text = (what: string, bytesMax: number): JsonSchema => ({
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
/** The fields of a service's name. */
export const serviceNameSchemas: Readonly<Record<'namespace' | 'group' | 'service', JsonSchema>> = serviceFields;

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

export const metadata: JsonSchema = flatMap(
  'A flat map of strings',
  limits.metadataEntriesMax,
  limits.metadataBytesMax,
);

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
    description: `Share of traffic, relative to the others; by default what the service is declared with, or ${limits.weightDefault}.`,
  },
  enabled: { type: 'boolean', description: 'Whether it takes traffic; by default true.' },
  zone: text('Where it runs.', limits.zoneBytesMax),
  metadata,
};

const health: JsonSchema = {
  type: 'string',
  enum: ['passing', 'warning', 'critical'],
  description: 'How it is; by default `passing`. With `warning` it still takes traffic, with `critical` it should not.',
};

const checkPace: Record<string, JsonSchema> = {
  intervalMs: {
    type: 'integer',
    minimum: limits.checkIntervalMsMin,
    maximum: limits.checkIntervalMsMax,
    description: `Between two probes, in milliseconds; of \`ttl\`: within which a report must come. By default ${limits.checkIntervalMsDefault}.`,
  },
  timeoutMs: {
    type: 'integer',
    minimum: 10,
    maximum: limits.checkTimeoutMsMax,
    description: `After which a probe has failed, in milliseconds; by default ${limits.checkTimeoutMsDefault}, and never longer than the interval.`,
  },
  jitterPercent: {
    type: 'integer',
    minimum: 0,
    maximum: 50,
    description: `By how much intervals vary, in percent; by default ${limits.checkJitterPercentDefault}.`,
  },
  successes: {
    type: 'integer',
    minimum: 1,
    maximum: limits.checkStreakMax,
    description: 'Results in a row until it passes; by default 1.',
  },
  failures: {
    type: 'integer',
    minimum: 1,
    maximum: limits.checkStreakMax,
    description: `Results in a row until it no longer does; by default ${limits.checkFailuresDefault}.`,
  },
  initial: { ...health, description: 'What it counts as before the first result; by default `passing`.' },
  deregisterAfterMs: {
    type: 'integer',
    minimum: 1000,
    maximum: limits.switchMsMax,
    description: 'Deregisters the instance when it has been critical for so long, in milliseconds; without it never.',
  },
};
const checkPort: JsonSchema = {
  type: 'integer',
  minimum: 1,
  maximum: 65_535,
  description: "By default the instance's port.",
};
const checkKind = (kind: string, fields: Record<string, JsonSchema>, required: readonly string[] = []): JsonSchema =>
  object({ kind: { const: kind }, ...fields, ...checkPace }, ['kind', ...required]);
const httpCheck: Record<string, JsonSchema> = {
  port: checkPort,
  path: {
    type: 'string',
    pattern: '^/[!-~]*$',
    maxLength: limits.checkPathBytesMax,
    description: 'What is asked for, with its query; by default `/`.',
  },
  method: { type: 'string', enum: ['GET', 'HEAD', 'POST'], description: 'By default `GET`.' },
  headers: {
    type: 'object',
    maxProperties: limits.checkHeadersMax,
    propertyNames: { type: 'string', pattern: '^[A-Za-z0-9-]{1,64}$' },
    additionalProperties: { type: 'string', pattern: '^[ -~]*$' },
    'x-totalBytesMax': limits.checkHeadersBytesMax,
    description: 'Headers of the request.',
  },
  status: {
    type: 'string',
    pattern: '^[1-5]([0-9]{2}|xx)(,[1-5]([0-9]{2}|xx)){0,15}$',
    description: 'Which statuses pass, such as `2xx,304`; by default `2xx`.',
  },
  body: {
    type: 'string',
    minLength: 1,
    maxLength: limits.checkBodyBytesMax,
    'x-wellFormed': true,
    'x-regularExpression': true,
    description: 'A regular expression of ECMAScript that the beginning of the body must match.',
  },
};
const check: JsonSchema = {
  type: 'object',
  // Which of them it is to be: what is wrong with a check is said by its schema alone.
  discriminator: { propertyName: 'kind' },
  oneOf: [
    checkKind('http', httpCheck),
    checkKind('https', {
      ...httpCheck,
      anyCertificate: { type: 'boolean', description: 'Any certificate will do; by default false.' },
    }),
    checkKind('tcp', { port: checkPort }),
    checkKind('grpc', {
      port: checkPort,
      service: { type: 'string', pattern: '^[!-~]*$', maxLength: 256, description: 'By default the whole server.' },
    }),
    checkKind('ttl', {}),
    checkKind('script', { script: name('One that the server defines.', 64) }, ['script']),
  ],
  description: 'How the registry finds out how it is. Only whoever registered it is shown this.',
};

const filterFields = {
  zone: text('Only instances of this zone.', limits.zoneBytesMax),
  enabledOnly: { type: 'boolean', description: 'Only instances with `enabled` true.' },
  healthyOnly: {
    type: 'boolean',
    description: 'Only instances that are not critical, or are protected by the `healthThreshold` of their service.',
  },
  selector: flatMap(
    'Only instances whose metadata has these keys with exactly these values',
    limits.selectorEntriesMax,
    limits.selectorBytesMax,
  ),
};

export const instanceInputSchema: JsonSchema = object(
  { ...instanceProperties, health, check },
  ['host', 'port'],
  'An instance to register; the server fills in defaults.',
);

export const instanceSchema: JsonSchema = object(
  {
    ...instanceProperties,
    persistent: { const: true, description: 'It lives until it is deregistered, and not with a session.' },
    health: { type: 'string', enum: ['warning', 'critical'], description: 'How it is; omitted when it is passing.' },
    protected: {
      const: true,
      description:
        'It is critical, and counts as well: fewer instances of its service are well than its `healthThreshold` asks for.',
    },
  },
  ['id', 'host', 'port', 'weight', 'enabled'],
  'An instance as subscribers see it. `zone` and `metadata` are omitted when empty, `persistent` when it is not, `health` when it is passing, `protected` when it is not.',
);

/** An instance as it is stored, which says how it is checked. */
export const declaredInstanceSchema: JsonSchema = {
  ...instanceSchema,
  properties: { ...(instanceSchema['properties'] as object), check },
};

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

const closed: JsonSchema = {
  const: true,
  description: 'An operator has switched the service off: that is why the list is empty, whatever is registered.',
};

export const snapshotSchema: JsonSchema = object(
  { version: version("The service's version."), instances, warming, closed },
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
    closed,
  },
  ['from', 'version', 'put', 'remove'],
  'What has changed since the version that was requested.',
);

const serviceSummarySchema: JsonSchema = object(
  {
    ...nameProperties,
    instances: {
      type: 'integer',
      minimum: 0,
      description:
        'The number of its instances that show; 0: an operator has switched off the service, or those who registered them.',
    },
  },
  [...nameRequired, 'instances'],
);

export const listSchema: JsonSchema = object(
  {
    services: array(serviceSummarySchema, 'Services that have instances, ordered by key.'),
    cursor: { type: 'string', description: 'Present if there are more: send it to get the next page.' },
  },
  ['services'],
);

export const listLimit = (what: string): JsonSchema => ({
  type: 'integer',
  minimum: 1,
  maximum: limits.listLimitMax,
  description: `${what} per page; by default ${limits.listLimitDefault}.`,
});
export const listCursor: JsonSchema = {
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

const key = text('The key.', limits.keyBytesMax);
const keyPrefix: JsonSchema = {
  type: 'string',
  pattern: `^[^${controls}]*$`,
  'x-wellFormed': true,
  'x-bytesMax': limits.keyBytesMax,
  description: 'What the keys begin with; empty: every key.',
};
const keyValue: JsonSchema = {
  type: 'string',
  pattern: '^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$',
  'x-valueBytesMax': limits.keyValueBytesMax,
  description: `The value in base64, at most ${limits.keyValueBytesMax} bytes before that; empty by default.`,
};
const keyFlags: JsonSchema = {
  type: 'string',
  pattern: '^[0-9]{1,20}$',
  description: 'An unsigned number of 64 bits, in decimal: a text, since many are beyond what a JSON number can hold.',
};
const keyMeta = {
  key,
  flags: keyFlags,
  createVersion: version('The commit that created the key.'),
  modifyVersion: version('The commit that changed the key last.'),
  lockIndex: { type: 'integer', minimum: 0, description: 'How often the key has been acquired.' },
  holder: { type: 'string', description: 'Names the session that holds the key; absent if none does.' },
  fence: positive('The fencing number: rises with each holder of the key. Absent if nobody holds it.'),
} satisfies Record<string, JsonSchema>;
const keyMetaRequired = ['key', 'flags', 'createVersion', 'modifyVersion', 'lockIndex'];
const keyEntrySchema: JsonSchema = object({ ...keyMeta, value: keyValue }, [...keyMetaRequired, 'value'], 'A key.');
const keyMetaSchema: JsonSchema = object(keyMeta, keyMetaRequired, 'A key, without its value.');
const keyCas = version("Only if this is the key's version; 0: only if there is no such key.");
const keyPutProperties: Record<string, JsonSchema> = {
  key,
  value: keyValue,
  flags: keyFlags,
  cas: keyCas,
  acquire: { type: 'boolean', description: 'Only if the session holds the key afterwards.' },
  release: { type: 'boolean', description: 'Only if the session holds the key, which it no longer does afterwards.' },
  onEnd: {
    type: 'string',
    enum: ['release', 'delete'],
    description: 'With `acquire`: what becomes of the key when the session ends; by default `release`.',
  },
  lockDelayMs: {
    type: 'integer',
    minimum: 0,
    maximum: limits.lockDelayMsMax,
    description: `With \`acquire\`: for how long nobody acquires the key once the session has ended, in milliseconds; by default ${limits.lockDelayMsDefault}.`,
  },
  ephemeral: {
    type: 'boolean',
    description: 'The key lives by the session: `acquire` with `onEnd: "delete"` and no lock delay.',
  },
};
const keyVersion = version('No commit that this shows is above it.');
const keyReadVersion = version(
  'All commits through this one are taken into account: watch from here, or wait for what comes after it.',
);
const watchedKey = text('One key.', limits.keyBytesMax);
const watchedPrefix: JsonSchema = { ...keyPrefix, description: 'All keys that begin with this; empty: every key.' };
const keyChanges = array(
  {
    oneOf: [
      keyEntrySchema,
      object(
        { key, deleted: { const: true }, modifyVersion: version('The commit that deleted the key.') },
        ['key', 'deleted', 'modifyVersion'],
        'A key that was deleted.',
      ),
    ],
  },
  'Keys as changes left them, in the order of commits.',
);
const resync: JsonSchema = {
  const: true,
  description: 'What changed is not known any more: what is watched must be read.',
};
const keyReason: JsonSchema = {
  type: 'string',
  enum: ['version', 'held', 'delayed', 'not_held'],
  description:
    'Why nothing was done: the key has another version; another session holds it; its lock delay is not over; this session does not hold it.',
};
const applied: JsonSchema = { const: true };
const keyUnmet: JsonSchema = object(
  { applied: { const: false }, version: keyVersion, reason: keyReason },
  ['applied', 'version', 'reason'],
  'A condition did not hold, and nothing was done.',
);
export const keyPutResult: JsonSchema = {
  oneOf: [
    object({ applied, version: keyVersion, entry: keyMetaSchema }, ['applied', 'version', 'entry'], 'It was done.'),
    keyUnmet,
  ],
};
export const keyDeleteResult: JsonSchema = {
  oneOf: [
    object(
      {
        applied,
        version: keyVersion,
        deleted: { type: 'integer', minimum: 0, description: 'With `prefix`: how many keys were deleted.' },
      },
      ['applied', 'version'],
      'It was done; it is not an error if there was nothing to delete.',
    ),
    keyUnmet,
  ],
};
const operation = (name: string, properties: Record<string, JsonSchema>): JsonSchema =>
  object({ op: { const: name }, ...properties }, ['op', 'key']);
const held: JsonSchema = { type: 'boolean', description: 'The session must hold the key.' };
export const keyListParamsSchema: JsonSchema = object(
  {
    prefix: keyPrefix,
    keysOnly: { type: 'boolean', description: 'Only the names of the keys.' },
    separator: {
      type: 'string',
      minLength: 1,
      maxLength: 16,
      ...plainText,
      description:
        'Keys are cut after the first of these behind the prefix, and what is left is listed once, under `keys`.',
    },
    limit: listLimit('Keys'),
    cursor: listCursor,
  },
  [],
);
export const keyListResult: JsonSchema = object(
  {
    version: keyReadVersion,
    entries: array(keyEntrySchema, 'The keys, ordered by their bytes; absent with `keysOnly`.'),
    keys: array(
      { type: 'string' },
      'With `keysOnly` the names of the keys, and with `separator` what is left of those that are cut.',
    ),
    cursor: { type: 'string', description: 'Present if there may be more: send it to get the next page.' },
  },
  ['version'],
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
          description:
            'The secret by which the client is known, if it has not shown one in the header `Authorization` of the handshake.',
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
        graceMs: {
          type: 'integer',
          minimum: 0,
          description: 'For how long the session of a broken connection is kept.',
        },
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
      ['session', 'heartbeatMs', 'graceMs', 'limits', 'registry', 'warming', 'protocol', 'capabilities'],
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
    summary:
      'Registers an instance, or replaces the one with the same id. It lives as long as the session or, if it is persistent, until it is deregistered.',
    params: object(
      {
        ...serviceFields,
        instance: instanceInputSchema,
        persistent: { type: 'boolean', description: 'Whether it outlives the session; by default false.' },
      },
      ['service', 'instance'],
    ),
    result: object(
      {
        version: version("The service's version."),
        id: instanceId,
        weight: {
          type: 'integer',
          description: 'The weight that the service is declared with, if the instance was registered without one.',
        },
        closed: {
          const: true,
          description: 'An operator has switched the client off: what it registers does not show.',
        },
      },
      ['version', 'id'],
    ),
  },
  'instance.deregister': {
    summary: 'Removes an instance that this session registered, or one that is persistent.',
    params: object(
      {
        ...serviceFields,
        id: instanceId,
        persistent: { type: 'boolean', description: 'Whether the persistent instance is meant; by default false.' },
      },
      ['service', 'id'],
    ),
    result: object({ version: version("The service's version.") }, ['version']),
  },
  'instance.health': {
    summary: 'Reports the health of an instance that this session has registered.',
    params: object({ ...serviceFields, id: instanceId, health }, ['service', 'id', 'health']),
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
  'kv.get': {
    summary: 'Returns a key.',
    params: object({ key }, ['key']),
    result: object(
      { version: keyReadVersion, entry: { ...keyEntrySchema, description: 'The key; absent if there is none.' } },
      ['version'],
    ),
  },
  'kv.put': {
    summary:
      'Creates or changes a key, answered once that is on disk. A condition that does not hold is a result, not an error.',
    params: object(keyPutProperties, ['key']),
    result: keyPutResult,
  },
  'kv.delete': {
    summary: 'Deletes a key, or all keys with a prefix, in commits of a limited number of keys each.',
    params: object(
      { key, cas: version("Only if this is the key's version."), prefix: keyPrefix },
      [],
      'Either `key` or `prefix`.',
    ),
    result: keyDeleteResult,
  },
  'kv.list': {
    summary: 'Lists the keys with a prefix, page by page.',
    params: keyListParamsSchema,
    result: keyListResult,
  },
  'kv.transact': {
    summary: 'Carries out all operations or none, in one commit, whichever partitions own the keys.',
    params: object(
      {
        operations: {
          type: 'array',
          minItems: 1,
          maxItems: limits.keyTransactionOperationsMax,
          items: {
            type: 'object',
            // Which of them it is to be: what is wrong with an operation is said by its schema alone.
            discriminator: { propertyName: 'op' },
            oneOf: [
              operation('get', { key }),
              operation('put', keyPutProperties),
              operation('delete', { key, cas: version("Only if this is the key's version.") }),
              operation('check', {
                key,
                version: version("The key's version; 0: there must be no such key."),
                held,
              }),
            ],
          },
          description: 'Each sees what those before it do.',
        },
      },
      ['operations'],
    ),
    result: {
      oneOf: [
        object(
          {
            applied,
            version: keyVersion,
            entries: array(
              { oneOf: [keyEntrySchema, keyMetaSchema, { type: 'null' }] },
              'Of each operation the key afterwards, with its value for a `get`; null if there is none.',
            ),
          },
          ['applied', 'version', 'entries'],
          'It was done.',
        ),
        object(
          {
            applied: { const: false },
            version: keyVersion,
            failures: array(
              object({ index: { type: 'integer', minimum: 0, description: 'Which operation.' }, reason: keyReason }, [
                'index',
                'reason',
              ]),
              'Every condition that did not hold.',
            ),
          },
          ['applied', 'version', 'failures'],
          'Nothing was done.',
        ),
      ],
    },
  },
  'kv.watch': {
    summary: 'Watches a key, or all with a prefix: every change is notified once, in the order of commits.',
    params: object(
      {
        key: watchedKey,
        prefix: watchedPrefix,
        version: version('To resume: changes after this one. By default those from now on.'),
      },
      [],
      'Either `key` or `prefix`.',
    ),
    result: object({ version: version('Changes after this one are notified.'), changes: keyChanges, resync }, [
      'version',
    ]),
  },
  'kv.unwatch': {
    summary: 'Ends a watch. Not having one is not an error.',
    params: object({ key: watchedKey, prefix: watchedPrefix }, [], 'Either `key` or `prefix`.'),
    result: object({}, []),
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
            closed,
          },
          [...nameRequired, 'count', 'from', 'to', 'put', 'remove'],
          'A delta: apply it only if `from` is the version of your list.',
        ),
        object(
          { ...nameProperties, count, snapshot: { const: true }, to: version('Its version.'), instances, closed },
          [...nameRequired, 'count', 'snapshot', 'to', 'instances'],
          'A snapshot: it replaces your list.',
        ),
      ],
    },
  },
  'kv.changed': {
    summary: 'What is watched of keys has changed.',
    params: object(
      {
        key: watchedKey,
        prefix: watchedPrefix,
        version: version('All changes through this one have been told.'),
        changes: keyChanges,
        resync,
      },
      ['version'],
      'With `key` or `prefix`, as it was watched, and with `changes` or `resync`.',
    ),
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
