import { archiveLimits as limits, protocolLimits } from '../protocol/limits.ts';
import type { JsonSchema } from '../protocol/schemas.ts';
import { instanceInputSchema, methodSchemas } from '../protocol/schemas.ts';
import type { Instance, InstanceInput, ServiceName } from '../protocol/types.ts';
import { createValidator } from '../sessions/validation.ts';
import type { Validate } from '../sessions/validation.ts';

/** What a service is declared with. */
export interface ServiceSettings {
  readonly description?: string;
  readonly owner?: string;
  /** 0 to 1: at least this share of its instances stays when many are lost at once. */
  readonly protectionThreshold?: number;
  /** Of instances that are registered without one. */
  readonly defaultWeight?: number;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** A service with settings of its own. */
export interface ServiceRecord extends ServiceName {
  readonly kind: 'service';
  readonly settings: ServiceSettings;
}

/** An instance that lives until it is removed. */
export interface InstanceRecord extends ServiceName {
  readonly kind: 'instance';
  readonly instance: Instance;
}

export interface KeyRecord {
  readonly kind: 'key';
  readonly key: string;
  /** Base64. */
  readonly value: string;
  /** 64 bits, as a decimal number: they do not fit into one of JSON. */
  readonly flags: string;
}

/** What registries have in common: what is imported from one, and exported to one. */
export type ArchiveRecord = ServiceRecord | InstanceRecord | KeyRecord;

type Properties = Readonly<Record<string, JsonSchema>>;

const { properties: nameProperties } = methodSchemas['service.unsubscribe'].params as { properties: Properties };
const { metadata } = instanceInputSchema['properties'] as Properties;

function object(properties: Record<string, JsonSchema | undefined>, required: readonly string[]): JsonSchema {
  return { type: 'object', properties, required, additionalProperties: false };
}

function text(bytesMax: number): JsonSchema {
  return { type: 'string', 'x-bytesMax': bytesMax, 'x-wellFormed': true };
}

const settingsSchema = object(
  {
    description: text(limits.descriptionBytesMax),
    owner: text(limits.ownerBytesMax),
    protectionThreshold: { type: 'number', minimum: 0, maximum: 1 },
    defaultWeight: { type: 'integer', minimum: 0, maximum: protocolLimits.weightMax },
    metadata,
  },
  [],
);

const nameRequired = ['namespace', 'group', 'service'];

export const validateService: Validate<ServiceRecord> = createValidator(
  object({ kind: { const: 'service' }, ...nameProperties, settings: settingsSchema }, [
    'kind',
    ...nameRequired,
    'settings',
  ]),
);

export const validateInstance: Validate<Omit<InstanceRecord, 'instance'> & { readonly instance: InstanceInput }> =
  createValidator(
    object({ kind: { const: 'instance' }, ...nameProperties, instance: instanceInputSchema }, [
      'kind',
      ...nameRequired,
      'instance',
    ]),
  );

export const validateKey: Validate<KeyRecord> = createValidator(
  object(
    {
      kind: { const: 'key' },
      key: { ...text(limits.keyBytesMax), minLength: 1 },
      value: {
        type: 'string',
        maxLength: Math.ceil(limits.keyValueBytesMax / 3) * 4,
        pattern: '^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$',
      },
      flags: { type: 'string', pattern: '^(?:0|[1-9][0-9]{0,19})$' },
    },
    ['kind', 'key', 'value', 'flags'],
  ),
);

/** Whether a decimal number is one of 64 bits. */
export function isFlags(flags: string): boolean {
  return flags.length < 20 || (flags.length === 20 && flags <= '18446744073709551615');
}

/** An instance with its defaults filled in, fields and metadata in one order: equal instances are equal text. */
export function completeInstance({ id, host, port, weight, enabled, zone, metadata }: InstanceInput): Instance {
  const entries = Object.entries(metadata ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    id: id ?? `${host}:${port}`,
    host,
    port,
    weight: weight ?? protocolLimits.weightDefault,
    enabled: enabled ?? true,
    ...(zone === undefined ? {} : { zone }),
    ...(entries.length === 0 ? {} : { metadata: Object.fromEntries(entries) }),
  };
}
