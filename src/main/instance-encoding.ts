import fastJson from 'fast-json-stringify';

import { protocolLimits } from '../protocol/limits.ts';
import { instanceSchema } from '../protocol/schemas.ts';
import type { Instance, InstanceInput } from '../protocol/types.ts';

const stringify: (instance: Instance) => string = fastJson(instanceSchema as object as fastJson.Schema);

/**
 * An instance's canonical JSON: defaults filled in, fields in one order, metadata sorted by key, so that equal content is equal text
 * (SE5). This text is what is stored, compared and pushed; it is encoded here once. The input must have passed its schema.
 */
export function encodeInstance(input: InstanceInput): { id: string; fragment: string } {
  const id = input.id ?? `${input.host}:${input.port}`;
  const instance: Instance = {
    id,
    host: input.host,
    port: input.port,
    weight: input.weight ?? protocolLimits.weightDefault,
    enabled: input.enabled ?? true,
    ...(input.zone === undefined ? {} : { zone: input.zone }),
    ...(isEmpty(input.metadata) ? {} : { metadata: sortKeys(input.metadata) }),
  };
  return { id, fragment: stringify(instance) };
}

function isEmpty(metadata: InstanceInput['metadata']): metadata is undefined {
  if (metadata === undefined) return true;
  // A map that the schema let pass has own keys only.
  for (const _ in metadata) return false;
  return true;
}

function sortKeys(metadata: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  let previous = '';
  for (const key in metadata) {
    if (key < previous) return Object.fromEntries(Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1)));
    previous = key;
  }
  return metadata;
}
