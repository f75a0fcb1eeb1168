import { protocolLimits as limits } from './limits.ts';
import { instanceSchema, metadata, serviceNameSchemas, text } from './schemas.ts';
import type { JsonSchema } from './schemas.ts';
import type { InstanceOverride, ServiceFields, ServiceName } from './types.ts';

/**
 * `service-off`: the list of a service is empty, and says that an operator has closed it. `instance-override`: something is laid over an instance. What is registered stays, and shows again
 * when the switch is lifted. `instance-drain`: the weight of an instance goes down to 0 in steps, and then it is disabled.
 * `read-only`: nothing is registered or stored, in the whole registry; what there is is served, and ends as it would.
 */
export const switchKinds = ['service-off', 'instance-override', 'instance-drain', 'read-only'] as const;

export type SwitchKind = (typeof switchKinds)[number];

/** Which switch is meant: there is one of each kind for a service, for an instance, or for the registry. */
export interface SwitchQuery extends Partial<ServiceFields> {
  readonly kind: SwitchKind;
  /** Of the instance; only of `instance-override` and `instance-drain`. */
  readonly id?: string;
}

/** What an operator orders. */
export interface SwitchBody extends SwitchQuery {
  /** Only of `instance-override`. */
  readonly override?: InstanceOverride;
  /** Over which time the weight goes down, in milliseconds, by default a minute; only of `instance-drain`. */
  readonly overMs?: number;
  readonly reason?: string;
  /** Who orders it, in their own words. */
  readonly by?: string;
  /** After this time it is lifted; without it, it stays until somebody lifts it. In milliseconds. */
  readonly forMs?: number;
}

/** An operator's standing order. */
export interface Switch extends Partial<ServiceName> {
  readonly kind: SwitchKind;
  readonly id?: string;
  readonly override?: InstanceOverride;
  readonly overMs?: number;
  readonly reason?: string;
  readonly by?: string;
  /** From where it was ordered. */
  readonly address: string;
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
    '`service-off`: the list of the service is empty, and says `closed`; `instance-override`: `override` is laid over an instance; `instance-drain`: its weight goes down to 0 in steps, and then it is disabled; `read-only`: nothing is registered or stored, in the whole registry.',
};
const { id: instanceId, zone } = (
  instanceSchema as { readonly properties: Readonly<Record<'id' | 'zone', JsonSchema>> }
).properties;
const id: JsonSchema = {
  ...instanceId,
  description: 'The instance; only of `instance-override` and `instance-drain`.',
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
    'The time over which the weight goes down, in milliseconds; by default a minute. Only of `instance-drain`.',
};
const described = {
  reason: text('Why.', limits.descriptionBytesMax),
  by: text('Who orders it.', limits.ownerBytesMax),
};
const names = serviceNameSchemas;
/** What a switch is ordered with, and shown with. */
const ordered = { kind, ...names, id, override, overMs, ...described };
const time = (description: string): JsonSchema => ({ type: 'string', format: 'date-time', description });

export const switchQuerySchema: JsonSchema = {
  type: 'object',
  properties: { kind, ...names, id },
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
    address: { type: 'string', description: 'From where it was ordered.' },
    since: time('When it was ordered.'),
    until: time('When it is lifted by itself.'),
  },
  required: ['kind', 'address', 'since'],
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
