import { orderCheck } from '../protocol/check-definition.ts';
import { protocolLimits } from '../protocol/limits.ts';
import type { JsonSchema } from '../protocol/schemas.ts';
import { instanceInputSchema, methodSchemas } from '../protocol/schemas.ts';
import { settingsSchemas } from '../protocol/service-declaration.ts';
import type { DeclaredInstance, ServiceSettings } from '../protocol/service-declaration.ts';
import type { InstanceInput, ServiceName } from '../protocol/types.ts';
import { createValidator } from '../sessions/validation.ts';
import type { Validate } from '../sessions/validation.ts';

/** A service with settings of its own. */
export interface ServiceRecord extends ServiceName {
  readonly kind: 'service';
  readonly settings: ServiceSettings;
}

/** An instance that lives until it is removed. */
export interface InstanceRecord extends ServiceName {
  readonly kind: 'instance';
  readonly instance: DeclaredInstance;
}

export interface KeyRecord {
  readonly kind: 'key';
  readonly key: string;
  /** Base64. */
  readonly value: string;
  /** 64 bits, as a decimal number: they do not fit into one of JSON. */
  readonly flags: string;
}

/** What registries have in common: what is imported from one, and exported from one. */
export type ArchiveRecord = ServiceRecord | InstanceRecord | KeyRecord;

type Properties = Readonly<Record<string, JsonSchema>>;

const { properties: nameProperties } = methodSchemas['service.unsubscribe'].params as { properties: Properties };
const { properties: keyProperties } = methodSchemas['kv.put'].params as { properties: Properties };

function object(properties: Properties, required: readonly string[]): JsonSchema {
  return { type: 'object', properties, required, additionalProperties: false };
}

const nameRequired = ['namespace', 'group', 'service'];

export const validateService: Validate<ServiceRecord> = createValidator(
  object({ kind: { const: 'service' }, ...nameProperties, settings: object(settingsSchemas, []) }, [
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
      key: keyProperties['key']!,
      value: keyProperties['value']!,
      flags: { type: 'string', pattern: '^(?:0|[1-9][0-9]{0,19})$' },
    },
    ['kind', 'key', 'value', 'flags'],
  ),
);

/** Paths name services, and proxies resolve some segments of paths. */
export function isDeclarable({ service }: ServiceName): boolean {
  return !service.split(/[/\\]/).some((segment) => segment === '.' || segment === '..');
}

export const undeclarable = 'a service with . or .. between slashes of its name cannot have settings';

/** Whether a decimal number is one of 64 bits. */
export function isFlags(flags: string): boolean {
  return flags.length < 20 || (flags.length === 20 && flags <= '18446744073709551615');
}

/** An instance with its defaults filled in, fields and metadata in one order: equal instances are equal text. */
export function completeInstance({
  id,
  host,
  port,
  weight,
  enabled,
  zone,
  metadata,
  health,
  check,
}: InstanceInput): DeclaredInstance {
  const sorted = sortMetadata(metadata ?? {});
  return {
    id: id ?? `${host}:${port}`,
    host,
    port,
    weight: weight ?? protocolLimits.weightDefault,
    enabled: enabled ?? true,
    ...(zone === undefined ? {} : { zone }),
    ...(Object.keys(sorted).length === 0 ? {} : { metadata: sorted }),
    ...(health === undefined || health === 'passing' ? {} : { health }),
    ...(check === undefined ? {} : { check: orderCheck(check) }),
  };
}

export function sortMetadata(metadata: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1)));
}
