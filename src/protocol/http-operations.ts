import {
  newTokenSchema,
  policiesSchema,
  policyQuerySchema,
  policySchema,
  tokenCreateBodySchema,
  tokenQuerySchema,
  tokenRotateBodySchema,
  tokenSchema,
  tokensSchema,
  whoAmISchema,
} from './access.ts';
import type { AuditAct } from './audit-acts.ts';
import { checksQuerySchema, checksSchema } from './checks.ts';
import type { ErrorCode } from './errors.ts';
import {
  endpointsResult,
  guardResult,
  partitionsResult,
  removalResult,
  serviceInspection,
  sessionInspection,
  sessionsCursor,
  sessionsResult,
  slotsResult,
  statsResult,
} from './http-results.ts';
import { protocolLimits } from './limits.ts';
import {
  instanceInputSchema,
  keyDeleteResult,
  keyListParamsSchema,
  keyListResult,
  keyPutResult,
  listParamsSchema,
  listSchema,
  methodSchemas,
  serviceNameSchemas,
  snapshotSchema,
} from './schemas.ts';
import type { JsonSchema } from './schemas.ts';
import {
  declarationBodySchema,
  declarationListQuerySchema,
  declarationListSchema,
  declarationQuerySchema,
  declarationSchema,
} from './service-declaration.ts';
import { switchBodySchema, switchesSchema, switchQuerySchema, switchSchema } from './switches.ts';
import { amount } from './typed-schema.ts';
import type {
  HealthParams,
  InstanceInput,
  KeyListParams,
  KeyPutParams,
  KeyTransactParams,
  QueryParams,
  ServiceFields,
  SubscribeMode,
} from './types.ts';

/** The HTTP side of the protocol: what is asked without holding a connection. The server's routes and the OpenAPI document (`openapi.ts`) are made from this. */
export interface HttpOperation {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  /** `{lease}` and `{service}` stand for one path segment, `{key}` for all that follows, slashes included. */
  readonly path: string;
  readonly summary: string;
  /** Headers that it reads, and which nobody needs to send. */
  readonly headers?: Readonly<Record<string, JsonSchema>>;
  readonly query?: JsonSchema;
  readonly body?: JsonSchema;
  /** The body is a value as it is, of any type; what else is needed comes in the query. */
  readonly isRaw?: true;
  readonly result: JsonSchema;
  /** Of the result, when it is not JSON. Of `text/event-stream` the result describes each event. */
  readonly resultType?: string;
  /** The result has an `ETag`, and is not sent again to callers that send that in `If-None-Match`. */
  readonly isTagged?: true;
  /** The same result comes with 503 where the answer is no. */
  readonly isCheck?: true;
  /** What the audit log says of it, if it changes what outlives the process, or is an act of an operator. */
  readonly audit: AuditAct | 'none';
  /** Beside those of every operation. */
  readonly errors: readonly ErrorCode[];
  /** What may be asked next: for each operation its parameters, as runtime expressions of OpenAPI. */
  readonly links?: Readonly<Partial<Record<OperationId, Readonly<Record<string, string>>>>>;
  /** Administration: without access control, answered only to callers on the loopback address. */
  readonly isLocal?: true;
}

export type OperationId =
  | 'listServices'
  | 'queryService'
  | 'watchService'
  | 'listDeclarations'
  | 'readService'
  | 'declareService'
  | 'withdrawService'
  | 'registerInstance'
  | 'deregisterInstance'
  | 'reportHealth'
  | 'grantLease'
  | 'renewLease'
  | 'endLease'
  | 'listKeys'
  | 'deleteKeys'
  | 'readKey'
  | 'putKey'
  | 'deleteKey'
  | 'transactKeys'
  | 'readStats'
  | 'readPartitions'
  | 'resizePartitions'
  | 'rebalancePartitions'
  | 'readGuard'
  | 'releaseGuard'
  | 'readMetrics'
  | 'listChecks'
  | 'listSwitches'
  | 'setSwitch'
  | 'liftSwitch'
  | 'removeInstance'
  | 'sendAway'
  | 'listSessions'
  | 'inspectService'
  | 'inspectSession'
  | 'readSlots'
  | 'readEndpoints'
  | 'backUp'
  | 'listPolicies'
  | 'putPolicy'
  | 'deletePolicy'
  | 'listTokens'
  | 'createToken'
  | 'rotateToken'
  | 'revokeToken'
  | 'whoAmI'
  | 'checkLive'
  | 'checkStarted'
  | 'checkReady'
  | 'readOpenapi'
  | 'readOpenrpc';

export interface WaitQuery {
  /** Of what the caller has: answer once there is something newer. */
  readonly index?: number | undefined;
  /** How long to wait for that, as `30s`, `500ms` or `5m`. */
  readonly wait?: string | undefined;
}

export interface ServiceQuery extends QueryParams, WaitQuery {}

export interface KeyListQuery extends KeyListParams, WaitQuery {}

export interface WatchQuery extends QueryParams {
  /** By default `snapshot`. */
  readonly mode?: SubscribeMode;
  /** The version that the caller still holds, of the same filter. */
  readonly version?: number;
}

export interface LeaseRegisterBody extends ServiceFields {
  readonly instance: InstanceInput;
  /** A lease to add the registration to; without it a new one is granted. */
  readonly lease?: string;
  readonly ttlMs?: number;
  /** It is to live until it is deregistered, without a lease. */
  readonly persistent?: boolean;
}
export interface LeaseRegisterResult {
  readonly lease: string;
  readonly ttlMs: number;
  readonly version: number;
  readonly id: string;
}
export interface LeaseHealthBody extends HealthParams {
  readonly lease: string;
}
export interface LeaseDeregisterQuery extends ServiceFields {
  readonly id: string;
  readonly lease: string;
}
/** Under a lease, or persistent. */
export interface DeregisterQuery extends ServiceFields {
  readonly id: string;
  readonly lease?: string;
  readonly persistent?: boolean;
}
export interface LeaseResult {
  readonly lease: string;
  readonly ttlMs: number;
}

export interface LeaseGrantBody {
  readonly ttlMs?: number;
}

export interface KeyPutQuery extends Omit<KeyPutParams, 'key' | 'value' | 'acquire' | 'release' | 'ephemeral'> {
  /** A lease that is to hold the key afterwards. */
  readonly acquire?: string;
  /** The lease that holds the key, and no longer does afterwards. */
  readonly release?: string;
}
export interface KeyDeleteQuery {
  readonly cas?: number;
}
export interface KeyTransactBody extends KeyTransactParams {
  /** The lease that holds what the operations acquire. */
  readonly lease?: string;
}

export interface ReleaseBody {
  readonly namespace?: string;
  readonly group?: string;
  readonly service?: string;
}

export interface RemoveInstanceBody extends ServiceFields {
  readonly id: string;
}
export interface SendAwayBody {
  readonly percent?: number;
  readonly spreadMs?: number;
}
export interface SendAwayResult {
  readonly sessions: number;
}

export interface SessionsQuery {
  readonly limit?: number;
  readonly cursor?: string;
}
export interface ServiceInspectionQuery extends ServiceFields {
  readonly id?: string;
  readonly limit?: number;
}
export interface SessionInspectionQuery {
  readonly session: string;
  readonly limit?: number;
}
export interface ResizeBody {
  readonly partitions: number;
}

interface ObjectSchema extends JsonSchema {
  readonly properties: Readonly<Record<string, JsonSchema>>;
}

const leaseSchema: JsonSchema = {
  type: 'string',
  minLength: 1,
  maxLength: 128,
  pattern: '^[A-Za-z0-9_-]+$',
  description: 'A lease. It is a bearer secret: anyone who knows it can renew and end it.',
};
const ttlMs: JsonSchema = {
  type: 'integer',
  minimum: 1,
  description: 'How long the lease is valid without being renewed, in milliseconds.',
};
/** What a path segment stands for, by its name. */
export const pathParameters: Readonly<Record<'lease' | 'service' | 'key', JsonSchema>> = {
  lease: leaseSchema,
  service: serviceNameSchemas.service,
  key: (methodSchemas['kv.get'].params as ObjectSchema).properties['key']!,
};
/** A service's name, and a filter. */
const filteredQuery = methodSchemas['service.query'].params as ObjectSchema;
/** A service's name, and nothing else. */
const serviceQuery = methodSchemas['service.unsubscribe'].params as ObjectSchema;
const keyPutProperties = (methodSchemas['kv.put'].params as ObjectSchema).properties;
const keyDeleteProperties = (methodSchemas['kv.delete'].params as ObjectSchema).properties;
const keyListProperties = (keyListParamsSchema as ObjectSchema).properties;
const transactParams = methodSchemas['kv.transact'].params as ObjectSchema;
const healthParams = methodSchemas['instance.health'].params as ObjectSchema;
const deregisterParams = methodSchemas['instance.deregister'].params as ObjectSchema;
const index: JsonSchema = {
  type: 'integer',
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
  description: "The version of the caller's list: the answer is sent once there is a newer one.",
};
const wait: JsonSchema = {
  type: 'string',
  pattern: '^[0-9]{1,7}(ms|s|m)$',
  description:
    'How long to wait for that, such as `30s`, `500ms` or `5m`; at most `httpWaitMaxMs`, which is also the default. After that the answer is the current list.',
};
/** Of what is read of keys. */
const keyWait: Readonly<Record<string, JsonSchema>> = {
  index: {
    ...index,
    description:
      'The `version` of what the caller has: the answer is sent once something has changed after that, at once if that has happened or is not known any more, or if this is above all versions that there are.',
  },
  wait: {
    ...wait,
    description:
      'How long to wait for that, such as `30s`, `500ms` or `5m`; at most `httpWaitMaxMs`, which is also the default. After that the answer is the same, with the same `version`.',
  },
};
const leaseResult: JsonSchema = {
  type: 'object',
  properties: { lease: leaseSchema, ttlMs },
  required: ['lease', 'ttlMs'],
  additionalProperties: false,
};
const inspectionLimit: JsonSchema = {
  type: 'integer',
  minimum: 1,
  maximum: protocolLimits.listLimitMax,
  description: `How many are listed; by default ${protocolLimits.listLimitDefault}.`,
};
const backupType = 'application/octet-stream';
const anyObject: JsonSchema = { type: 'object' };
/** One event of a stream of them. */
const eventSchema: JsonSchema = {
  type: 'object',
  properties: {
    event: { type: 'string', enum: ['snapshot', 'delta', 'end'] },
    id: { type: 'string', pattern: '^[0-9]{1,16}$', description: 'The version, as `Last-Event-ID` gives it back.' },
    data: { type: 'string', contentMediaType: 'application/json' },
    retry: { type: 'integer', description: 'When to come back, in milliseconds.' },
  },
  required: ['event', 'data'],
  additionalProperties: false,
};
/** Errors of every operation: an invalid query, body or head; a caller that is not allowed; too many callers. */
export const commonErrors: readonly ErrorCode[] = [
  'parse_error',
  'invalid_request',
  'invalid_params',
  'forbidden',
  'unauthorized',
  'busy',
];
/** Of operations that partitions carry out. */
const transient: readonly ErrorCode[] = ['draining', 'internal'];
/** Of what is stored before it is answered. */
const stored: readonly ErrorCode[] = ['limit_exceeded', 'storage_unavailable', ...transient];

export const httpOperations: Readonly<Record<OperationId, HttpOperation>> = {
  listServices: {
    method: 'GET',
    path: '/v1/services',
    summary: 'Lists the services that have instances.',
    query: listParamsSchema,
    result: listSchema,
    isTagged: true,
    audit: 'none',
    errors: transient,
  },
  listDeclarations: {
    method: 'GET',
    path: '/v1/declarations',
    summary: 'Lists what services are declared with, and their persistent instances, page by page.',
    query: declarationListQuerySchema,
    result: declarationListSchema,
    audit: 'none',
    errors: ['storage_unavailable', ...transient],
  },
  readService: {
    method: 'GET',
    path: '/v1/services/{service}',
    summary: 'What a service is declared with, and its persistent instances.',
    query: declarationQuerySchema,
    result: declarationSchema,
    audit: 'none',
    errors: ['not_found', 'storage_unavailable'],
  },
  declareService: {
    method: 'PUT',
    path: '/v1/services/{service}',
    summary:
      'Declares a service: its settings, which replace those before, and, with `instances`, all its persistent instances. They are stored together.',
    body: declarationBodySchema,
    result: declarationSchema,
    audit: 'service.declare',
    errors: stored,
    links: {
      queryService: {
        namespace: '$response.body#/namespace',
        group: '$response.body#/group',
        service: '$response.body#/service',
      },
    },
  },
  withdrawService: {
    method: 'DELETE',
    path: '/v1/services/{service}',
    summary: 'Removes what a service was declared with and all its persistent instances, and returns them.',
    query: declarationQuerySchema,
    result: declarationSchema,
    audit: 'service.withdraw',
    errors: ['not_found', 'storage_unavailable', ...transient],
  },
  queryService: {
    method: 'GET',
    path: '/v1/instances',
    summary:
      'The instances of one service, optionally only those of a zone or with certain metadata. With `index`, once they have changed, or after `wait`.',
    query: {
      ...filteredQuery,
      properties: { ...filteredQuery.properties, index, wait },
    },
    result: snapshotSchema,
    isTagged: true,
    audit: 'none',
    errors: ['limit_exceeded', ...transient],
  },
  watchService: {
    method: 'GET',
    path: '/v1/watch',
    summary:
      'The instances of one service, and then each change, as Server-Sent Events: `snapshot` and `delta` events with the data of `service.changed`, and the version as their id. The header `Last-Event-ID`, or `version`, resumes.',
    query: {
      ...filteredQuery,
      properties: {
        ...filteredQuery.properties,
        mode: {
          type: 'string',
          enum: ['delta', 'snapshot'],
          description: 'What events after the first contain: the whole list (the default), or only what changed.',
        },
        version: { ...index, description: "The version of the caller's list, with the same filter." },
      },
    },
    headers: {
      'Last-Event-ID': {
        type: 'string',
        description:
          'The `id` of the last event that the caller received from an earlier response; other values are ignored.',
      },
    },
    result: eventSchema,
    resultType: 'text/event-stream',
    audit: 'none',
    errors: ['limit_exceeded', ...transient],
  },
  registerInstance: {
    method: 'PUT',
    path: '/v1/instances',
    summary:
      'Registers an instance, or replaces the one with the same id, for as long as its lease is renewed; if it is `persistent`, without a lease, until it is deregistered.',
    body: {
      type: 'object',
      properties: {
        ...serviceQuery.properties,
        instance: instanceInputSchema,
        lease: leaseSchema,
        ttlMs,
        persistent: { type: 'boolean', description: 'Whether it lives without a lease; by default false.' },
      },
      required: ['service', 'instance'],
      additionalProperties: false,
    },
    result: {
      type: 'object',
      properties: {
        lease: leaseSchema,
        ttlMs,
        version: { type: 'integer' },
        id: { type: 'string' },
        weight: {
          type: 'integer',
          description: 'The weight that the service is declared with, if the instance was registered without one.',
        },
        closed: {
          const: true,
          description: 'An operator has switched the client off: what it registers does not show.',
        },
      },
      required: ['version', 'id'],
      additionalProperties: false,
    },
    audit: 'instance.register',
    errors: ['not_found', ...stored],
    links: {
      renewLease: { lease: '$response.body#/lease' },
      endLease: { lease: '$response.body#/lease' },
      deregisterInstance: {
        namespace: '$request.body#/namespace',
        group: '$request.body#/group',
        service: '$request.body#/service',
        id: '$response.body#/id',
        lease: '$response.body#/lease',
      },
      queryService: {
        namespace: '$request.body#/namespace',
        group: '$request.body#/group',
        service: '$request.body#/service',
      },
    },
  },
  deregisterInstance: {
    method: 'DELETE',
    path: '/v1/instances',
    summary:
      'Removes one instance that was registered under a lease, or one that is persistent: one of the two is given.',
    query: {
      type: 'object',
      properties: { ...deregisterParams.properties, lease: leaseSchema },
      required: ['service', 'id'],
      additionalProperties: false,
    },
    result: methodSchemas['instance.deregister'].result,
    audit: 'instance.deregister',
    errors: ['not_found', 'not_owner', 'storage_unavailable', ...transient],
  },
  reportHealth: {
    method: 'PUT',
    path: '/v1/instances/health',
    summary: 'Reports the health of an instance that was registered under a lease, and renews the lease.',
    body: {
      type: 'object',
      properties: { ...healthParams.properties, lease: leaseSchema },
      required: ['service', 'id', 'health', 'lease'],
      additionalProperties: false,
    },
    result: methodSchemas['instance.health'].result,
    audit: 'none',
    errors: ['not_found', ...transient],
  },
  grantLease: {
    method: 'POST',
    path: '/v1/leases',
    summary: 'Grants a lease without a registration, to hold keys with.',
    body: { type: 'object', properties: { ttlMs }, required: [], additionalProperties: false },
    result: leaseResult,
    audit: 'none',
    errors: ['draining'],
  },
  renewLease: {
    method: 'PUT',
    path: '/v1/leases/{lease}',
    summary: 'Renews a lease for another `ttlMs`.',
    result: leaseResult,
    audit: 'none',
    errors: ['not_found', 'draining'],
  },
  endLease: {
    method: 'DELETE',
    path: '/v1/leases/{lease}',
    summary: 'Ends a lease, and removes everything registered under it.',
    result: leaseResult,
    audit: 'none',
    errors: ['not_found', 'draining'],
  },
  listKeys: {
    method: 'GET',
    path: '/v1/keys',
    summary: 'Lists the keys with a prefix, page by page. With `index`, once one of them has changed, or after `wait`.',
    query: { ...(keyListParamsSchema as ObjectSchema), properties: { ...keyListProperties, ...keyWait } },
    result: keyListResult,
    isTagged: true,
    audit: 'none',
    errors: ['storage_unavailable', 'limit_exceeded', ...transient],
  },
  deleteKeys: {
    method: 'DELETE',
    path: '/v1/keys',
    summary: 'Deletes all keys with a prefix, in commits of a limited number of keys each.',
    query: {
      type: 'object',
      properties: { prefix: keyDeleteProperties['prefix']! },
      required: ['prefix'],
      additionalProperties: false,
    },
    result: keyDeleteResult,
    audit: 'keys.delete',
    errors: ['storage_unavailable', ...transient],
  },
  readKey: {
    method: 'GET',
    path: '/v1/keys/{key}',
    summary: 'Returns a key; without `entry` if there is none. With `index`, once it has changed, or after `wait`.',
    query: { type: 'object', properties: keyWait, required: [], additionalProperties: false },
    result: methodSchemas['kv.get'].result,
    isTagged: true,
    audit: 'none',
    errors: ['storage_unavailable', 'limit_exceeded', ...transient],
  },
  putKey: {
    method: 'PUT',
    path: '/v1/keys/{key}',
    summary:
      'Creates or changes a key, answered once that is on disk: the body is the value. A condition that does not hold is a result, not an error.',
    isRaw: true,
    query: {
      type: 'object',
      properties: {
        flags: keyPutProperties['flags']!,
        cas: keyPutProperties['cas']!,
        acquire: { ...leaseSchema, description: 'Only if this lease holds the key afterwards.' },
        release: {
          ...leaseSchema,
          description: 'Only if this lease holds the key, which it no longer does afterwards.',
        },
        onEnd: keyPutProperties['onEnd']!,
        lockDelayMs: keyPutProperties['lockDelayMs']!,
      },
      required: [],
      additionalProperties: false,
    },
    result: keyPutResult,
    audit: 'key.put',
    errors: ['not_found', 'limit_exceeded', 'storage_unavailable', ...transient],
  },
  deleteKey: {
    method: 'DELETE',
    path: '/v1/keys/{key}',
    summary: 'Deletes a key.',
    query: {
      type: 'object',
      properties: { cas: keyDeleteProperties['cas']! },
      required: [],
      additionalProperties: false,
    },
    result: keyDeleteResult,
    audit: 'key.delete',
    errors: ['storage_unavailable', ...transient],
  },
  transactKeys: {
    method: 'POST',
    path: '/v1/transaction',
    summary: 'Carries out all operations on keys or none, in one commit.',
    body: {
      ...transactParams,
      properties: { ...transactParams.properties, lease: leaseSchema },
    },
    result: methodSchemas['kv.transact'].result,
    audit: 'keys.transact',
    errors: ['not_found', 'limit_exceeded', 'storage_unavailable', ...transient],
  },
  readStats: {
    method: 'GET',
    path: '/v1/stats',
    summary: 'What the server holds, and what it has refused, closed and dropped, by reason, since it started.',
    result: statsResult,
    audit: 'none',
    errors: [],
  },
  readPartitions: {
    method: 'GET',
    path: '/v1/partitions',
    summary: 'The partitions, their states, and the progress of the current or last change.',
    result: partitionsResult,
    audit: 'none',
    errors: [],
    isLocal: true,
  },
  resizePartitions: {
    method: 'PUT',
    path: '/v1/partitions',
    summary: 'Starts to change the number of partitions; slots move while they are in use.',
    body: {
      type: 'object',
      properties: {
        partitions: {
          type: 'integer',
          minimum: 1,
          maximum: protocolLimits.partitionsMax,
          description: 'The new number of partitions.',
        },
      },
      required: ['partitions'],
      additionalProperties: false,
    },
    result: partitionsResult,
    audit: 'partitions.resize',
    errors: ['draining', 'storage_unavailable'],
    isLocal: true,
  },
  rebalancePartitions: {
    method: 'PUT',
    path: '/v1/rebalance',
    summary: 'Starts to move slots so that partitions hold about equally many instances.',
    result: partitionsResult,
    audit: 'partitions.rebalance',
    errors: ['draining', 'storage_unavailable'],
    isLocal: true,
  },
  readGuard: {
    method: 'GET',
    path: '/v1/guard',
    summary: 'Whether removals are held back because many connections broke at once, and which.',
    result: guardResult,
    audit: 'none',
    errors: [],
  },
  releaseGuard: {
    method: 'PUT',
    path: '/v1/guard/release',
    summary: 'Removes what is held back: of one service if one is named, otherwise everything.',
    body: {
      type: 'object',
      properties: serviceQuery.properties,
      required: [],
      dependentRequired: { namespace: ['service'], group: ['service'] },
      additionalProperties: false,
    },
    result: guardResult,
    audit: 'guard.release',
    errors: ['draining', 'storage_unavailable'],
    isLocal: true,
  },
  readMetrics: {
    method: 'GET',
    path: '/metrics',
    summary: 'Metrics in the Prometheus text format.',
    result: { type: 'string' },
    resultType: 'text/plain',
    audit: 'none',
    errors: [],
  },
  listChecks: {
    method: 'GET',
    path: '/v1/checks',
    summary: 'The checks of instances that the server makes, of all services or of one, with what they last found.',
    query: checksQuerySchema,
    result: checksSchema,
    audit: 'none',
    errors: transient,
    isLocal: true,
  },
  listSwitches: {
    method: 'GET',
    path: '/v1/switches',
    summary: "Operators' switches in force, in the order in which they were set.",
    result: switchesSchema,
    audit: 'none',
    errors: [],
    isLocal: true,
  },
  setSwitch: {
    method: 'PUT',
    path: '/v1/switches',
    summary:
      'Sets a switch, or replaces the one of the same kind for the same service or instance. It is answered once it is stored and in effect.',
    body: switchBodySchema,
    result: switchSchema,
    audit: 'switch.set',
    errors: ['limit_exceeded', 'storage_unavailable', ...transient],
    isLocal: true,
  },
  liftSwitch: {
    method: 'DELETE',
    path: '/v1/switches',
    summary: 'Lifts a switch, and returns it.',
    query: switchQuerySchema,
    result: switchSchema,
    audit: 'switch.lift',
    errors: ['not_found', 'storage_unavailable', ...transient],
    isLocal: true,
  },
  removeInstance: {
    method: 'POST',
    path: '/v1/instances/remove',
    summary:
      'Removes an instance, whoever has registered it. It comes back when one of those registers it again, as clients do that reconnect.',
    body: {
      type: 'object',
      properties: { ...serviceQuery.properties, id: deregisterParams.properties['id']! },
      required: ['service', 'id'],
      additionalProperties: false,
    },
    result: removalResult,
    audit: 'instance.remove',
    errors: ['not_found', 'storage_unavailable', ...transient],
    isLocal: true,
  },
  sendAway: {
    method: 'POST',
    path: '/v1/sessions/goaway',
    summary: 'Asks sessions to reconnect, each after its own random delay.',
    body: {
      type: 'object',
      properties: {
        percent: {
          type: 'integer',
          minimum: 1,
          maximum: 100,
          description: 'The percentage of sessions, chosen at random; all by default.',
        },
        spreadMs: {
          type: 'integer',
          minimum: 0,
          maximum: protocolLimits.goawayMsMax,
          description:
            'The time over which they reconnect, in milliseconds; by default `reconnectSpreadMs`, or longer for many sessions.',
        },
      },
      required: [],
      additionalProperties: false,
    },
    result: {
      type: 'object',
      properties: { sessions: amount('Sessions that were asked.') },
      required: ['sessions'],
      additionalProperties: false,
    },
    audit: 'sessions.goaway',
    errors: ['draining', 'storage_unavailable'],
    isLocal: true,
  },
  listSessions: {
    method: 'GET',
    path: '/v1/sessions',
    summary: 'The sessions: connections and leases, with their registrations and how far behind they are.',
    query: {
      type: 'object',
      properties: {
        limit: {
          type: 'integer',
          minimum: 1,
          maximum: protocolLimits.listLimitMax,
          description: `Sessions per page; by default ${protocolLimits.listLimitDefault}.`,
        },
        cursor: sessionsCursor,
      },
      required: [],
      additionalProperties: false,
    },
    result: sessionsResult,
    audit: 'none',
    errors: [],
    isLocal: true,
  },
  inspectService: {
    method: 'GET',
    path: '/v1/inspection/service',
    summary: 'Who subscribes to a service, and which sessions claim its instances, or one of them.',
    query: {
      type: 'object',
      properties: { ...serviceQuery.properties, id: deregisterParams.properties['id']!, limit: inspectionLimit },
      required: ['service'],
      additionalProperties: false,
    },
    result: serviceInspection,
    audit: 'none',
    errors: transient,
    isLocal: true,
  },
  inspectSession: {
    method: 'GET',
    path: '/v1/inspection/session',
    summary: 'What a session has registered and subscribed to.',
    query: {
      type: 'object',
      properties: {
        session: { type: 'string', minLength: 1, maxLength: 128, description: 'Its name, as in `/v1/sessions`.' },
        limit: inspectionLimit,
      },
      required: ['session'],
      additionalProperties: false,
    },
    result: sessionInspection,
    audit: 'none',
    errors: ['not_found'],
    isLocal: true,
  },
  readSlots: {
    method: 'GET',
    path: '/v1/slots',
    summary: 'Which partition owns which slots, and those that are frozen.',
    result: slotsResult,
    audit: 'none',
    errors: [],
    isLocal: true,
  },
  readEndpoints: {
    method: 'GET',
    path: '/v1/endpoints',
    summary: 'Where sessions are opened.',
    result: endpointsResult,
    audit: 'none',
    errors: [],
  },
  backUp: {
    method: 'GET',
    path: '/v1/backup',
    summary:
      'A backup of what is stored, as it is at one moment, in the format of `slotcast restore`. It is sent as it is read; whatever does not end with the last block of that format is none.',
    result: { type: 'string', contentMediaType: backupType },
    resultType: backupType,
    audit: 'backup.read',
    errors: ['storage_unavailable'],
    isLocal: true,
  },
  listPolicies: {
    method: 'GET',
    path: '/v1/policies',
    summary: 'The policies: what those to whom they apply may do.',
    result: policiesSchema,
    audit: 'none',
    errors: [],
    isLocal: true,
  },
  putPolicy: {
    method: 'PUT',
    path: '/v1/policies',
    summary: 'Stores a policy, or replaces the one of that name. Sessions whose rights change by that are closed.',
    body: policySchema,
    result: policySchema,
    audit: 'policy.put',
    errors: ['limit_exceeded', 'storage_unavailable', ...transient],
    isLocal: true,
  },
  deletePolicy: {
    method: 'DELETE',
    path: '/v1/policies',
    summary: 'Deletes a policy, and returns it. Credentials that name it lose what it allowed.',
    query: policyQuerySchema,
    result: policySchema,
    audit: 'policy.delete',
    errors: ['not_found', 'storage_unavailable', ...transient],
    isLocal: true,
  },
  listTokens: {
    method: 'GET',
    path: '/v1/tokens',
    summary: 'The tokens, without what is secret of them.',
    result: tokensSchema,
    audit: 'none',
    errors: [],
    isLocal: true,
  },
  createToken: {
    method: 'POST',
    path: '/v1/tokens',
    summary: 'Creates a token. It is shown this once.',
    body: tokenCreateBodySchema,
    result: newTokenSchema,
    audit: 'token.create',
    errors: ['limit_exceeded', 'storage_unavailable', ...transient],
    isLocal: true,
  },
  rotateToken: {
    method: 'POST',
    path: '/v1/tokens/rotate',
    summary: 'Creates a token of the same name and policies; the one before is valid for some time besides.',
    body: tokenRotateBodySchema,
    result: newTokenSchema,
    audit: 'token.rotate',
    errors: ['not_found', 'limit_exceeded', 'storage_unavailable', ...transient],
    isLocal: true,
  },
  revokeToken: {
    method: 'DELETE',
    path: '/v1/tokens',
    summary: 'Revokes a token, and returns it. Sessions that were opened with it are closed.',
    query: tokenQuerySchema,
    result: tokenSchema,
    audit: 'token.revoke',
    errors: ['not_found', 'storage_unavailable', ...transient],
    isLocal: true,
  },
  whoAmI: {
    method: 'GET',
    path: '/v1/whoami',
    summary: 'Who the caller is, by its credentials, and which policies apply to it.',
    result: whoAmISchema,
    audit: 'none',
    errors: [],
  },
  checkLive: {
    method: 'GET',
    path: '/health/live',
    summary: 'Whether the process responds.',
    result: anyObject,
    audit: 'none',
    errors: [],
  },
  checkStarted: {
    method: 'GET',
    path: '/health/started',
    summary: 'Whether clients may connect: every partition is ready and the server is not stopping; 503 if not.',
    result: anyObject,
    isCheck: true,
    audit: 'none',
    errors: [],
  },
  checkReady: {
    method: 'GET',
    path: '/health/ready',
    summary:
      'Whether lists may be read: clients may connect, and those from before the start are back or have had enough time; 503 if not.',
    result: anyObject,
    isCheck: true,
    audit: 'none',
    errors: [],
  },
  readOpenapi: {
    method: 'GET',
    path: '/openapi.json',
    summary: 'The OpenAPI description of the HTTP side.',
    result: anyObject,
    audit: 'none',
    errors: [],
  },
  readOpenrpc: {
    method: 'GET',
    path: '/openrpc.json',
    summary: 'The OpenRPC description of the WebSocket side.',
    result: anyObject,
    audit: 'none',
    errors: [],
  },
};
