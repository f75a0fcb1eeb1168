import { protocolLimits as limits } from './limits.ts';
import { instanceSchema, metadata, serviceNameSchemas, text } from './schemas.ts';
import type { JsonSchema } from './schemas.ts';
import type { InstanceOverride, ServiceFields, ServiceName } from './types.ts';

/**
 * What is registered stays underneath all of these, and shows again when the switch is lifted.
 *
 * - `service-off`: the list of a service is empty, and says that an operator has closed it.
 * - `instance-override`: something is laid over an instance.
 * - `instance-drain`, `host-drain`: the weight of an instance, or of all that live on a host, goes down to 0 in steps, and then they are disabled.
 * - `client-off`: what some clients have registered does not show; what they subscribe to goes on.
 * - `push-freeze`: nothing is pushed, of all services, of a namespace, or of one service; afterwards subscribers get the latest state.
 * - `guard-hold`, `guard-off`: nothing that is lost is removed, or nothing is held back, of all services or of one, whatever the loss guard would decide.
 * - `namespace-limit`: a namespace has at most so many instances, services, sessions that register something, and registrations in a second.
 * - `quarantine`: clients are refused, or what concerns a service is.
 * - `read-only`: nothing is registered or stored, in the whole registry; what there is is served, and ends as it would.
 */
export const switchKinds = [
  'service-off',
  'instance-override',
  'instance-drain',
  'host-drain',
  'client-off',
  'push-freeze',
  'guard-hold',
  'guard-off',
  'namespace-limit',
  'quarantine',
  'read-only',
] as const;

export type SwitchKind = (typeof switchKinds)[number];

/** Whom or what a switch is about, beside services. */
export interface SwitchTarget {
  /** Of the instance; only of `instance-override` and `instance-drain`. */
  readonly id?: string;
  /** Where instances live; only of `host-drain`. */
  readonly host?: string;
  /** From where clients are connected; only of `client-off` and `quarantine`. */
  readonly address?: string;
  /** The application that clients belong to; only of `client-off` and `quarantine`. */
  readonly app?: string;
  /** The name of a session; only of `client-off`. */
  readonly session?: string;
}

/** Which switch is meant: there is one of each kind for whatever it is about. */
export interface SwitchQuery extends Partial<ServiceFields>, SwitchTarget {
  readonly kind: SwitchKind;
}

/** What a namespace may have at most; what is left out is not limited. */
export interface NamespaceLimits {
  readonly instances?: number;
  readonly services?: number;
  /** That have registered something in it, leases among them. */
  readonly sessions?: number;
  readonly registrationsPerSecond?: number;
}

/** What an operator orders. */
export interface SwitchBody extends SwitchQuery {
  /** Only of `instance-override`. */
  readonly override?: InstanceOverride;
  /** Over which time the weight goes down, in milliseconds, by default a minute; only of `instance-drain` and `host-drain`. */
  readonly overMs?: number;
  /** Only of `namespace-limit`. */
  readonly limits?: NamespaceLimits;
  readonly reason?: string;
  /** Who orders it, in their own words. */
  readonly by?: string;
  /** After this time it is lifted; without it, it stays until somebody lifts it. In milliseconds. */
  readonly forMs?: number;
}

/** An operator's standing order. */
export interface Switch extends Partial<ServiceName>, SwitchTarget {
  readonly kind: SwitchKind;
  readonly override?: InstanceOverride;
  readonly overMs?: number;
  readonly limits?: NamespaceLimits;
  readonly reason?: string;
  readonly by?: string;
  /** From where it was ordered. */
  readonly orderedFrom: string;
  /** When it was ordered, in RFC 3339. */
  readonly since: string;
  /** When it is lifted by itself, in RFC 3339. */
  readonly until?: string;
}

export interface SwitchesResult {
  /** In the order in which they were set. */
  readonly switches: readonly Switch[];
}

const kind: JsonSchema = {
  type: 'string',
  enum: switchKinds,
  description:
    '`service-off`: the list of the service is empty, and says `closed`; `instance-override`: `override` is laid over an instance; `instance-drain`, `host-drain`: its weight, or that of all instances on a host, goes down to 0 in steps, and then it is disabled; `client-off`: what clients have registered does not show; `push-freeze`: nothing is pushed, of all services, of those of `namespace`, or of one; `guard-hold`, `guard-off`: nothing that is lost is removed, or nothing is held back, of all services or of one; `namespace-limit`: `limits` apply to `namespace`; `quarantine`: clients, or what concerns a service, are refused; `read-only`: nothing is registered or stored, in the whole registry.',
};
const {
  id: instanceId,
  host: instanceHost,
  zone,
} = (instanceSchema as { readonly properties: Readonly<Record<'id' | 'host' | 'zone', JsonSchema>> }).properties;
const id: JsonSchema = {
  ...instanceId,
  description: 'The instance; only of `instance-override` and `instance-drain`.',
};
const targets = {
  id,
  host: { ...instanceHost, description: 'Where instances live, as they are registered; only of `host-drain`.' },
  address: text('From where clients are connected; only of `client-off` and `quarantine`.', limits.clientBytesMax),
  app: text('The application of clients; only of `client-off` and `quarantine`.', limits.clientBytesMax),
  session: text('The name of a session; only of `client-off`.', limits.clientBytesMax),
};
const override: JsonSchema = {
  type: 'object',
  properties: {
    enabled: { type: 'boolean', description: 'Whether it takes traffic.' },
    weight: { type: 'integer', minimum: 0, maximum: limits.weightMax, description: 'Its share of traffic.' },
    zone,
    metadata,
  },
  required: [],
  additionalProperties: false,
  description: 'What is laid over what the instance was registered with; only of `instance-override`.',
};
const overMs: JsonSchema = {
  type: 'integer',
  minimum: 1,
  maximum: limits.switchMsMax,
  description:
    'The time over which the weight goes down, in milliseconds; by default a minute. Only of `instance-drain` and `host-drain`.',
};
const most = (what: string): JsonSchema => ({ type: 'integer', minimum: 0, maximum: 2 ** 31 - 1, description: what });
const namespaceLimits: JsonSchema = {
  type: 'object',
  properties: {
    instances: most('Instances that are registered in it.'),
    services: most('Services that have instances.'),
    sessions: most('Sessions and leases that have registered something in it.'),
    registrationsPerSecond: most('Registrations in a second, repeated ones among them.'),
  },
  required: [],
  additionalProperties: false,
  description: 'What the namespace may have at most; only of `namespace-limit`.',
};
const described = {
  reason: text('Why.', limits.descriptionBytesMax),
  by: text('Who orders it.', limits.ownerBytesMax),
};
const names = serviceNameSchemas;
/** What a switch is ordered with, and shown with. */
const ordered = { kind, ...names, ...targets, override, overMs, limits: namespaceLimits, ...described };
const time = (description: string): JsonSchema => ({ type: 'string', format: 'date-time', description });

export const switchQuerySchema: JsonSchema = {
  type: 'object',
  properties: { kind, ...names, ...targets },
  required: ['kind'],
  additionalProperties: false,
};

export const switchBodySchema: JsonSchema = {
  type: 'object',
  properties: {
    ...ordered,
    forMs: {
      type: 'integer',
      minimum: 1,
      maximum: limits.switchMsMax,
      description: 'It is lifted by itself after this time, in milliseconds; without it, it stays until it is lifted.',
    },
  },
  required: ['kind'],
  additionalProperties: false,
};

export const switchSchema: JsonSchema = {
  type: 'object',
  properties: {
    ...ordered,
    orderedFrom: { type: 'string', description: 'The address from where it was ordered.' },
    since: time('When it was ordered.'),
    until: time('When it is lifted by itself.'),
  },
  required: ['kind', 'orderedFrom', 'since'],
  additionalProperties: false,
};

export const switchesSchema: JsonSchema = {
  type: 'object',
  properties: {
    switches: { type: 'array', items: switchSchema, description: 'In the order in which they were set.' },
  },
  required: ['switches'],
  additionalProperties: false,
};
