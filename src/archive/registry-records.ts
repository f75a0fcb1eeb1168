import type { ServiceDeclaration, ServiceSettings } from '../protocol/service-declaration.ts';
import type { KeyEntry } from '../protocol/types.ts';
import { completeInstance, sortMetadata } from './records.ts';
import type { InstanceRecord, KeyRecord, ServiceRecord } from './records.ts';

/** A service of a registry: its settings, if it has some or is nothing else, and then its persistent instances. */
export function toServiceRecords({
  namespace,
  group,
  service,
  instances,
  ...declared
}: ServiceDeclaration): (ServiceRecord | InstanceRecord)[] {
  const name = { namespace, group, service };
  const settings = orderSettings(declared);
  const isDeclared = Object.keys(settings).length > 0 || instances.length === 0;
  return [
    ...(isDeclared ? [{ kind: 'service' as const, ...name, settings }] : []),
    ...instances.map((instance) => ({ kind: 'instance' as const, ...name, instance: completeInstance(instance) })),
  ];
}

/** Equal settings are equal text, whoever declared them. */
function orderSettings({
  description,
  owner,
  protectionThreshold,
  healthThreshold,
  defaultWeight,
  metadata,
}: ServiceSettings): ServiceSettings {
  return {
    ...(description === undefined ? {} : { description }),
    ...(owner === undefined ? {} : { owner }),
    ...(protectionThreshold === undefined ? {} : { protectionThreshold }),
    ...(healthThreshold === undefined ? {} : { healthThreshold }),
    ...(defaultWeight === undefined ? {} : { defaultWeight }),
    ...(metadata === undefined ? {} : { metadata: sortMetadata(metadata) }),
  };
}

/** Without its lock, which is held by a session of that registry. */
export function toKeyRecord({ key, value, flags }: Pick<KeyEntry, 'key' | 'value' | 'flags'>): KeyRecord {
  return { kind: 'key', key, value, flags };
}
